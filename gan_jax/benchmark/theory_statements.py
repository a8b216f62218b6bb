"""The statements of suite `theory`: what each measures and what it should be. Imports theory and models."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.models.layers import Dense
from gan_jax.models.mlp import Discriminator
from gan_jax.theory import dirac, divergence, landscape, lipschitz

Metrics = dict[str, float]
PAIRINGS = {
    "minimax": ("minimax", landscape.independent_pairs),
    "least_squares": ("least_squares", landscape.independent_pairs),
    "hinge": ("hinge", landscape.independent_pairs),
    "relativistic_fixed": ("relativistic", landscape.fixed_pairs),
    "relativistic_independent": ("relativistic", landscape.independent_pairs),
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What the statements are tried on.

    Attributes:
        real: mean and standard deviation of the real normal distribution; `fake` of the other.
        places: of the grid that its discriminator lives on.
        train_steps: of Adam for a free discriminator.
        lr: of gradient descent on the Dirac-GAN.
        gamma: weight of R1 and of R2 there; `unit` of WGAN-GP and DRAGAN, `noise` the instance noise's deviation.
        start: (theta, psi) of the trajectories.
        dirac_steps: their length; `rate_steps` of those of our own training step.
        points: real points of the mode landscape.
        critic_real: normal distributions between which a WGAN-GP critic is trained; `critic_fake` the other.
        critic_steps: of its training; `critic_weight` the weight of its penalty.
    """

    real: divergence.Normal = (0.0, 1.0)
    fake: divergence.Normal = (1.5, 0.8)
    places: int = 66
    train_steps: int = 2000
    lr: float = 0.1
    gamma: float = 0.4
    unit: float = 1.0
    noise: float = 1.0
    start: tuple[float, float] = (1.0, 0.25)
    dirac_steps: int = 1000
    rate_steps: int = 600
    points: int = 3
    critic_real: divergence.Normal = (1.0, 0.5)
    critic_fake: divergence.Normal = (-1.0, 0.5)
    critic_steps: int = 1500
    critic_weight: float = 10.0

    @property
    def rules(self) -> dict[str, dirac.Rules]:
        """What is added to the losses of the Dirac-GAN."""
        return {
            "none": dirac.Rules(),
            "r1": dirac.Rules(r1=self.gamma),
            "r2": dirac.Rules(r2=self.gamma),
            "r1r2": dirac.Rules(r1=self.gamma, r2=self.gamma),
            "wgan_gp": dirac.Rules(wgan_gp=self.unit),
            "dragan": dirac.Rules(dragan=self.unit),
            "noise": dirac.Rules(noise=self.noise),
        }


# ---------------------------------------------------------------- the parts that several statements and figures share


@functools.cache
def dirac_study(protocol: Protocol, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Jacobians of the flow [k, 2, 2] and trajectories [k, steps, 2] for the protocol's k rules."""
    columns = zip(*protocol.rules.values(), strict=True)
    stacked = dirac.Rules(*(jnp.asarray(weights, jnp.float32) for weights in columns))
    flows, points = dirac.study(name, stacked, protocol.lr, protocol.start, protocol.dirac_steps)
    return np.asarray(flows, np.float64), np.asarray(points)


@functools.cache
def grid_game(protocol: Protocol, name: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Places [n], logits [n] trained there, and the loss they reach."""
    sides = protocol.real, protocol.fake
    low, high = min(mean - 6 * std for mean, std in sides), max(mean + 6 * std for mean, std in sides)
    places = np.linspace(low, high, protocol.places)
    pairs = jnp.asarray(np.outer(*(divergence.masses(places, side) for side in sides)), jnp.float32)
    spacing = float(places[1] - places[0]) if name == "wasserstein" else None
    logits = divergence.train_logits(name, pairs, protocol.train_steps, spacing)
    return places, np.asarray(logits, np.float64), float(divergence.expected_loss(name, pairs, logits))


@functools.cache
def _init(critic: Discriminator, size: int) -> Any:
    """Random variables of a critic of points [B, size]."""
    return jax.jit(lambda key: critic.init(key, jnp.zeros((1, size)), train=False))(jax.random.key(0))


@functools.cache
def penalised_critic(protocol: Protocol) -> Callable[[jax.Array], jax.Array]:
    """A WGAN-GP critic of our architecture `mlp`, trained on the line: points [B, 1] -> logits [B]."""
    critic = Discriminator(width=32, blocks=2)

    def apply(params: Any, points: jax.Array) -> jax.Array:
        logits: jax.Array = critic.apply({"params": params}, points, train=True)[0]
        return logits

    start = _init(critic, 1)["params"]
    sides = protocol.critic_real, protocol.critic_fake
    params = lipschitz.train_critic(apply, start, *sides, protocol.critic_weight, protocol.critic_steps)
    return functools.partial(apply, params)


@functools.cache
def power_iteration(steps: int = 60) -> tuple[np.ndarray, float]:
    """Estimates [steps] of our spectral norm for a random kernel, and its largest singular value by NumPy."""
    kernel = np.random.default_rng(0).normal(size=(20, 12))
    largest = float(np.linalg.svd(kernel, compute_uv=False)[0])
    return lipschitz.spectral_estimates(Dense(12, use_bias=False, spectral=True), kernel, steps), largest


# ---------------------------------------------------------------- what an arm measures


def compared(value: float, closed_form: float, **more: float) -> Metrics:
    """The metrics of a statement; the error is relative where the closed form is above 1."""
    error = abs(value - closed_form) / max(1.0, abs(closed_form))
    return {"value": float(value), "closed_form": float(closed_form), "error": error, **more}


def _optimal_discriminator(protocol: Protocol, name: str) -> Metrics:
    """Largest deviation of D from p / (p + q) where a thousandth of the mass lies."""
    places, logits, _ = grid_game(protocol, name)
    p, q = (divergence.masses(places, side) for side in (protocol.real, protocol.fake))
    if name == "relativistic":  # only differences of logits have a meaning: the level is free
        logits = logits - np.average(logits - np.log(p / q), weights=p * q)
    output = logits if name == "least_squares" else 1 / (1 + np.exp(-logits))
    return compared(np.abs(output - p / (p + q))[p + q > 1e-3].max(), 0.0)


def _game_value(protocol: Protocol, name: str) -> Metrics:
    return compared(grid_game(protocol, name)[2], divergence.least_loss(name, protocol.real, protocol.fake))


def _generator_gradient(protocol: Protocol, name: str) -> Metrics:
    places, logits, _ = grid_game(protocol, name)
    value = divergence.trained_generator_gradient(name, logits, places, protocol.fake)
    return compared(value, divergence.closed_generator_gradient(name, protocol.real, protocol.fake))


def _dirac(protocol: Protocol, name: str, rule: str) -> Metrics:
    """Eigenvalues of the flow and of both updates; `end`: distance from equilibrium at the end over that at start."""
    flows, points = dirac_study(protocol, name)
    number = list(protocol.rules).index(rule)
    closed = dirac.closed_eigenvalues(name, protocol.rules[rule], protocol.lr)
    matrices = dirac.update_jacobians(flows[number], protocol.lr)
    found = {kind: dirac.eigenvalues(matrix) for kind, matrix in matrices.items()}
    errors = [np.abs(found[kind] - closed[kind]).max() / max(1, np.abs(closed[kind]).max()) for kind in closed]
    last = points[number, -protocol.dirac_steps // 10 :]
    return {
        "value": float(found["flow"][0].real) + 0.0,  # no minus zero
        "closed_form": float(closed["flow"][0].real),
        "error": float(max(errors)),
        "imaginary": float(found["flow"][0].imag),
        "radius_simultaneous": float(np.abs(found["simultaneous"]).max()),
        "radius_alternating": float(np.abs(found["alternating"]).max()),
        "end": float(np.linalg.norm(last, axis=1).max() / np.linalg.norm(protocol.start)),
    }


def _rate(protocol: Protocol, name: str, rule: str) -> Metrics:
    rules = protocol.rules[rule]
    points = dirac.trained_points(name, rules, protocol.lr, (0.01, 0.005), protocol.rate_steps)
    closed = dirac.closed_eigenvalues(name, rules, protocol.lr)["alternating"]
    return compared(dirac.measured_rate(points), float(np.abs(closed).max()))


def _rest(protocol: Protocol, name: str) -> Metrics:
    """Where the generator's point comes to rest with WGAN-GP, far from the data at 0."""
    _, points = dirac_study(protocol, name)
    end = abs(float(points[list(protocol.rules).index("wgan_gp"), -1, 0]))
    return compared(end, 2 * protocol.unit / dirac.DERIVATIVES[name][0])


def _barrier(protocol: Protocol, name: str, closed_form: float) -> Metrics:
    loss, pairing = PAIRINGS[name]
    collapsed, escaping, covering = landscape.two_points(loss, pairing, protocol.train_steps)
    metrics = compared(escaping - collapsed, closed_form)
    return {**metrics, "collapsed": collapsed, "escaping": escaping, "covering": covering}


def _trapped(protocol: Protocol, name: str) -> Metrics:
    loss, pairing = PAIRINGS[name]
    count = protocol.points
    free = name in ("hinge", "relativistic_fixed")
    closed_form = 0 if free else count**count - int(np.prod(range(1, count + 1)))
    return compared(landscape.trapped(loss, pairing, count, protocol.train_steps), closed_form)


def _bounded(norm: Literal["none", "spectral"]) -> Metrics:
    """Largest gradient of a random critic in the plane; the error is what it has above the bound."""
    critic = Discriminator(width=16, blocks=2, norm=norm)
    line = np.linspace(-3, 3, 61)
    points = jnp.asarray(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), jnp.float32)
    variables = _init(Discriminator(width=16, blocks=2, norm="spectral"), 2)  # the same kernels for both
    largest = float(lipschitz.gradient_norms(lambda x: critic.apply(variables, x, train=False)[0], points).max())
    bound = 1.0 if norm == "spectral" else lipschitz.product_bound(variables["params"])
    return {"value": largest, "closed_form": bound, "error": max(0.0, largest / bound - 1)}


def _spectral_norm() -> Metrics:
    estimates, largest = power_iteration()
    return compared(float(estimates[-1]), largest)


def _critic_slope(protocol: Protocol) -> Metrics:
    """Mean slope between the two means."""
    line = np.linspace(protocol.critic_fake[0], protocol.critic_real[0], 201)
    slopes = lipschitz.gradient_norms(penalised_critic(protocol), jnp.asarray(line, jnp.float32)[:, None])
    sides = protocol.critic_real, protocol.critic_fake
    return compared(slopes.mean(), lipschitz.penalised_slopes(line, *sides, protocol.critic_weight).mean())


def _critic_distance(protocol: Protocol) -> Metrics:
    """E_p D - E_q D of the trained critic; `w1` is the true distance."""
    line = np.linspace(-5, 5, 2001)
    real, fake = protocol.critic_real, protocol.critic_fake
    logits = np.asarray(penalised_critic(protocol)(jnp.asarray(line, jnp.float32)[:, None]), np.float64)
    value = float(logits @ (divergence.masses(line, real) - divergence.masses(line, fake)))
    gap = lipschitz.cdf_gap(line, real, fake)
    slopes = lipschitz.penalised_slopes(line, real, fake, protocol.critic_weight)
    return compared(value, float(np.trapezoid(gap * slopes, line)), w1=float(np.trapezoid(gap, line)))


# ---------------------------------------------------------------- the statements

Statement = tuple[str, Callable[[], Metrics], float]  # text, measurement, largest error


def statements(protocol: Protocol) -> dict[str, Statement]:
    """Every statement by its name."""
    do = functools.partial
    found: dict[str, Statement] = {}
    for name in ("minimax", "least_squares", "relativistic"):
        text = f"largest deviation of a discriminator trained with {name} from p / (p + q)."
        found[f"optimal_discriminator_{name}"] = text, do(_optimal_discriminator, protocol, name), 3e-3
    for name in ("minimax", "least_squares", "hinge", "wasserstein", "relativistic", "article_squared_error"):
        text = f"least loss of the discriminator with {name}, against its divergence."
        # A kink between two places costs hinge the square of their distance.
        found[f"game_value_{name}"] = text, do(_game_value, protocol, name), 5e-3 if name == "hinge" else 1e-4
    for name in ("minimax", "nonsaturating"):
        text = f"gradient of the generator's {name} loss under the trained D, against that of its divergence."
        found[f"generator_gradient_{name}"] = text, do(_generator_gradient, protocol, name), 1e-3
    for name in dirac.DERIVATIVES:
        for rule in protocol.rules:
            text = f"Dirac-GAN with {name}, {rule}: real part of the flow's leading eigenvalue."
            found[f"dirac_{name}_{rule}"] = text, do(_dirac, protocol, name, rule), 1e-5
    for name, rule in (("relativistic", "r1r2"), ("nonsaturating", "r1"), ("minimax", "none")):
        text = f"Dirac-GAN with {name}, {rule}: factor a step by which our training step nears the equilibrium."
        found[f"rate_{name}_{rule}"] = text, do(_rate, protocol, name, rule), 1e-3
    text = "Dirac-GAN with relativistic, wgan_gp: distance from the data at which the generator's point comes to rest."
    found["rest_relativistic_wgan_gp"] = text, do(_rest, protocol, "relativistic"), 0.02
    heights = {
        "minimax": 1.5 * np.log(3) - 2 * np.log(2),
        "relativistic_fixed": 0.0,
        "relativistic_independent": np.log(2) / 4,
    }
    for name, height in heights.items():
        text = f"two modes, {name}: rise of the game's value when a fake leaves the mode that both sit on."
        found[f"barrier_{name}"] = text, do(_barrier, protocol, name, float(height)), 1e-3
    for name in PAIRINGS:
        text = f"{protocol.points} modes, {name}: configurations that every way to full cover leads uphill from."
        found[f"trapped_{name}"] = text, do(_trapped, protocol, name), 0.0
    text = "largest gradient of a random critic, against the product of its kernels' spectral norms."
    found["lipschitz_plain"] = text, do(_bounded, "none"), 1e-3
    text = "the same with spectral normalisation, against 1."
    found["lipschitz_spectral"] = text, do(_bounded, "spectral"), 1e-3
    found["spectral_norm"] = "power iteration of our layer, against NumPy's SVD.", _spectral_norm, 1e-4
    text = "mean slope of a critic trained with WGAN-GP, against 1 + (F_q - F_p) / (2 lambda r)."
    found["wgan_gp_slope"] = text, do(_critic_slope, protocol), 0.03
    text = "distance by the same critic, against W1 + int (F_q - F_p)^2 / (2 lambda r); the true W1 is `w1`."
    found["wgan_gp_distance"] = text, do(_critic_distance, protocol), 0.03
    return found
