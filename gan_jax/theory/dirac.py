"""The Dirac-GAN: how our losses and penalties move near equilibrium. Imports JAX, flax, NumPy, adversarial, config.

Data sit at 0, the generator makes the one point theta, and the discriminator is D(x) = psi x + level (Mescheder,
Geiger and Nowozin 2018, section 2), where the level is the logit of one that cannot tell. A point of the game is
(theta, psi), float32 [2]; the equilibrium is (0, 0).
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.adversarial import penalties
from gan_jax.adversarial.game import Game
from gan_jax.adversarial.losses import LOSSES
from gan_jax.adversarial.state import State, init_state
from gan_jax.adversarial.step import make_step
from gan_jax.config import Config

Number = float | jax.Array
Start = tuple[float, float]


class Rules(NamedTuple):
    """Weights of what is added to the loss, as in the config, and instance noise."""

    r1: Number = 0.0
    r2: Number = 0.0
    wgan_gp: Number = 0.0
    dragan: Number = 0.0
    noise: Number = 0.0  # standard deviation of noise on real and fake points (Arjovsky and Bottou 2017)


# ---------------------------------------------------------------- the game, by differentiation of our own functions


def _logits(name: str, rules: Rules, theta: jax.Array, psi: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Real points [4, 1], and logits [4] of real and fake ones."""
    # Four pairs with the first two moments of independent noise; nothing else of it enters the Jacobian.
    noise = rules.noise * jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    level = LOSSES[name].undecided or 0.0
    return noise[:, :1], psi * noise[:, 0] + level, psi * (theta + noise[:, 1]) + level


def d_gradient(name: str, rules: Rules, theta: jax.Array, psi: jax.Array) -> jax.Array:
    """Derivative in psi of what D minimises with the loss of a name, penalties included."""

    def loss(psi: jax.Array) -> jax.Array:
        points, real, fake = _logits(name, rules, theta, psi)

        def critic(x: jax.Array) -> tuple[jax.Array, None]:
            return psi * x[:, 0], None

        # D is linear: its gradient is the same everywhere, so where a penalty looks makes no difference.
        total = 0.5 * (rules.r1 + rules.r2) * penalties.squared_gradient_norms(critic, points)[1]
        total += (rules.wgan_gp + rules.dragan) * penalties.unit_gradient(critic, points)
        return jnp.mean(LOSSES[name].discriminator(real, fake) + total)

    return jax.grad(loss)(psi)


def g_gradient(name: str, rules: Rules, theta: jax.Array, psi: jax.Array) -> jax.Array:
    """Derivative in theta of what G minimises with the loss of a name."""
    return jax.grad(lambda theta: jnp.mean(LOSSES[name].generator(*_logits(name, rules, theta, psi)[1:])))(theta)


def flow_jacobian(name: str, rules: Rules) -> jax.Array:
    """Jacobian [2, 2] at the equilibrium of the vector field (-dG/dtheta, -dD/dpsi), by differentiation."""

    def flow(point: jax.Array) -> jax.Array:
        return -jnp.stack([g_gradient(name, rules, *point), d_gradient(name, rules, *point)])

    return jax.jacfwd(flow)(jnp.zeros(2))


def update_jacobians(flow: np.ndarray, lr: float) -> dict[str, np.ndarray]:
    """Jacobians [2, 2] of both players stepping at once, and of D first and then G, from that of the flow."""
    one = np.eye(2)
    d_step, g_step = one + lr * flow * [[0], [1]], one + lr * flow * [[1], [0]]
    return {"flow": flow, "simultaneous": one + lr * flow, "alternating": g_step @ d_step}


def trajectory(name: str, rules: Rules, lr: float, start: Start, steps: int) -> jax.Array:
    """Points [steps, 2] after each alternating update: D first, then G against the new D, as in our training step."""

    def advance(point: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        theta, psi = point
        psi -= lr * d_gradient(name, rules, theta, psi)
        theta -= lr * g_gradient(name, rules, theta, psi)
        return jnp.stack([theta, psi]), jnp.stack([theta, psi])

    return jax.lax.scan(advance, jnp.asarray(start, jnp.float32), None, steps)[1]


@functools.partial(jax.jit, static_argnames=("name", "lr", "start", "steps"))
def study(name: str, rules: Rules, lr: float, start: Start, steps: int) -> tuple[jax.Array, jax.Array]:
    """`flow_jacobian` [k, 2, 2] and `trajectory` [k, steps, 2] for k rules at once, each weight an array [k]."""
    return jax.vmap(lambda rules: (flow_jacobian(name, rules), trajectory(name, rules, lr, start, steps)))(rules)


# ---------------------------------------------------------------- closed forms

# Of each loss at its level: slope of D's loss and of G's loss in a fake logit, and how strongly instance noise of
# variance 1 curves D's loss in psi (the sum of its second derivatives in real and fake logit).
DERIVATIVES = {
    "minimax": (0.5, -0.5, 0.5),
    "nonsaturating": (0.5, -0.5, 0.5),
    "least_squares": (0.5, -0.5, 2.0),
    "hinge": (1.0, -1.0, 0.0),
    "wasserstein": (1.0, -1.0, 0.0),
    "relativistic": (0.5, -0.5, 0.5),
    "article_squared_error": (0.0, 0.0, 4.0),
}
_ROOT = 1e-6  # |grad D| that `penalties.unit_gradient` sees where the gradient is 0


def damping(name: str, rules: Rules) -> float:
    """The g of d(psi)/dt = -g psi that penalties and noise cause; below 0 they drive D away from 0."""
    unit = 2 * (float(rules.wgan_gp) + float(rules.dragan)) * (1 - 1 / _ROOT)
    return float(rules.r1) + float(rules.r2) + unit + DERIVATIVES[name][2] * float(rules.noise) ** 2


def closed_eigenvalues(name: str, rules: Rules, lr: float) -> dict[str, np.ndarray]:
    """Eigenvalues [2], complex, larger real part first, of the Jacobians that `update_jacobians` names.

    Flow: -g/2 +- sqrt(g^2/4 + ab) with damping g and slopes a, b. Where ab = -f'(0)^2 these are the eigenvalues of
    Mescheder et al. 2018 without penalty (g = 0), with R1 (g = gamma) and with instance noise (g = -2 f''(0) std^2).
    Simultaneous: 1 + lr times those. Alternating: the roots of z^2 - (2 - lr g + lr^2 ab) z + (1 - lr g).
    """
    a, b, _ = DERIVATIVES[name]
    g = damping(name, rules)
    flow = _roots(-g, -a * b)
    return {
        "flow": flow,
        "simultaneous": 1 + lr * flow,
        "alternating": _roots(2 - lr * g + lr**2 * a * b, 1 - lr * g),
    }


def _roots(trace: float, determinant: float) -> np.ndarray:
    """Eigenvalues [2] of a 2 x 2 matrix."""
    root = np.sqrt(complex(trace**2 / 4 - determinant))
    return np.array([trace / 2 + root, trace / 2 - root])


def eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Eigenvalues [2], complex, of a real [2, 2], in the order of `closed_eigenvalues`."""
    found = np.linalg.eigvals(np.asarray(matrix, np.float64)).astype(complex)
    return found[np.lexsort((-found.imag, -np.round(found.real, 6)))]


# ---------------------------------------------------------------- our compiled step on this game


class _Point(nn.Module):
    """The generator: every noise gives theta."""

    start: float

    @nn.compact
    def __call__(self, z: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        return jnp.broadcast_to(self.param("theta", nn.initializers.constant(self.start), ()), (len(z), 1))


class _Line(nn.Module):
    """The discriminator psi x + level."""

    start: float
    level: float
    cross_sample = False

    @nn.compact
    def __call__(
        self, images: jax.Array, labels: jax.Array | None = None, *, train: bool
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        return self.param("psi", nn.initializers.constant(self.start), ()) * images[:, 0] + self.level, {}


def trained_points(name: str, rules: Rules, lr: float, start: Start, steps: int) -> np.ndarray:
    """Points [steps, 2] that our own training step makes of the Dirac-GAN; instance noise is not part of it.

    Adam without memory and with a huge eps is gradient descent: lr' g / (|g| + eps) is lr g for lr' = lr eps.
    """
    eps = 1e6
    weights = {f"penalty.{field}": float(getattr(rules, field)) for field in ("r1", "r2", "wgan_gp", "dragan")}
    descent = {"beta1": 0.0, "beta2": 0.0, "eps": eps, "g_lr": lr * eps, "d_lr": lr * eps}
    config = Config().replace(
        {"loss.name": name, "data.batch_size": 2, "total_images": 2 * steps}
        | weights
        | {f"optimizer.{field}": value for field, value in descent.items()}
    )
    game = Game(_Point(start[0]), _Line(start[1], LOSSES[name].undecided or 0.0), config, lambda x: x)
    state = init_state(game.g, game.d, config.optimizer, (1,), 1, jnp.uint32(0))
    batch = {"image": jnp.zeros((1, 2, 1)), "label": jnp.zeros((1, 2), jnp.int32)}
    step = make_step(game)

    def advance(state: State, _: None) -> tuple[State, jax.Array]:
        state, _metrics = step(state, batch)
        return state, jnp.stack([state.g.params["theta"], state.d.params["psi"]])

    return np.asarray(jax.jit(lambda state: jax.lax.scan(advance, state, None, steps)[1])(state))


def measured_rate(points: np.ndarray) -> float:
    """Factor a step by which points [n, 2] approach (0, 0): least squares through the logarithm of their norms."""
    norms = np.log(np.linalg.norm(np.asarray(points, np.float64), axis=1))
    return float(np.exp(np.polyfit(np.arange(len(norms)), norms, 1)[0]))
