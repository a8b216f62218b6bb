"""What a game measures when D is optimal: trained on our losses, and in closed form. Imports JAX, NumPy, adversarial.

Distributions live on n places. A game is the table of its pairs [n, n]: the probability that a real example at place
i meets a fake one at place j; its margins are the two distributions.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import ndtr

from gan_jax.adversarial.losses import LOSSES

Normal = tuple[float, float]  # mean and standard deviation
_NODES = np.linspace(-12.0, 12.0, 1201)  # of the closed forms, finer and wider than what D is trained on


def normal_density(points: np.ndarray, normal: Normal) -> np.ndarray:
    """Density at points, same shape."""
    mean, std = normal
    return np.asarray(np.exp(-0.5 * ((points - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi)))


def masses(points: np.ndarray, normal: Normal) -> np.ndarray:
    """A normal distribution on evenly spaced points [n], summing to 1."""
    values = normal_density(points, normal)
    return np.asarray(values / values.sum())


# ---------------------------------------------------------------- by training


def expected_loss(name: str, pairs: jax.Array, logits: jax.Array) -> jax.Array:
    """The discriminator's mean loss over pairs [n, n] for logits [n]."""
    count = len(logits)
    values = LOSSES[name].discriminator(jnp.repeat(logits, count), jnp.tile(logits, count))  # [n * n]
    return jnp.sum(pairs * values.reshape(count, count))


@functools.partial(jax.jit, static_argnames=("name", "steps", "spacing"))
def train_logits(name: str, pairs: jax.Array, steps: int, spacing: float | None = None) -> jax.Array:
    """Logits [n] of a discriminator that is free at every place, trained by Adam on the exact expected loss.

    Args:
        name: of the loss.
        pairs: probabilities [n, n].
        steps: of Adam; its learning rate falls from 0.1 to 0, so that kinks are met too.
        spacing: distance of neighbouring places; if given, D's slope between them stays within [-1, 1].
    """

    def decode(free: jax.Array) -> jax.Array:
        return free if spacing is None else jnp.cumsum(spacing * jnp.tanh(free))

    # Per place, Adam divides by the gradient's own size: places of little mass learn as fast as the others.
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, steps), b1=0.5, b2=0.99, eps=1e-18)
    slope = jax.grad(lambda free: expected_loss(name, pairs, decode(free)))

    def advance(_: int, carry: tuple[jax.Array, optax.OptState]) -> tuple[jax.Array, optax.OptState]:
        free, opt_state = carry
        change, opt_state = optimizer.update(slope(free), opt_state)
        return free + change, opt_state

    free = jnp.zeros(len(pairs))
    return decode(jax.lax.fori_loop(0, steps, advance, (free, optimizer.init(free)))[0])


def trained_generator_gradient(name: str, logits: np.ndarray, points: np.ndarray, fake: Normal) -> float:
    """Derivative in the fakes' mean of the generator's loss under a D that stands still, given at points [n]."""
    values = np.asarray(LOSSES[name].generator(jnp.zeros(len(points)), jnp.asarray(logits)), np.float64)
    return _derivative(lambda mean: float(masses(points, (mean, fake[1])) @ values), fake[0])


# ---------------------------------------------------------------- closed forms


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of masses of any shape, in nats."""
    middle = (p + q) / 2
    return 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle))


def least_loss(name: str, real: Normal, fake: Normal) -> float:
    """The discriminator's loss at its optimum, by quadrature of the closed form.

    minimax: 2 log 2 - 2 JSD (Goodfellow et al. 2014, theorem 1). least_squares: 1/4 - (1/8) int (p - q)^2 / (p + q),
    by inserting D = p / (p + q) in LSGAN's eq. 9 with targets 1 and 0; the integral is twice Pearson's chi square
    of p against (p + q) / 2. hinge: 2 - 2 TV (Lim and Ye 2017). wasserstein, 1-Lipschitz: -W1 (Kantorovich and
    Rubinstein). relativistic, independent pairs: log 2 - JSD(p x q, q x p). article_squared_error: 0.
    """
    p, q = masses(_NODES, real), masses(_NODES, fake)
    if name in ("minimax", "nonsaturating"):
        return 2 * float(np.log(2)) - 2 * jensen_shannon(p, q)
    if name == "least_squares":
        return 0.25 - float(np.sum((p - q) ** 2 / np.maximum(p + q, 1e-300))) / 8
    if name == "hinge":
        return 2 - float(np.abs(p - q).sum())
    if name == "wasserstein":
        gap = np.abs(ndtr((_NODES - real[0]) / real[1]) - ndtr((_NODES - fake[0]) / fake[1]))
        return -float(np.trapezoid(gap, _NODES))
    if name == "relativistic":
        both = np.outer(p, q)
        return float(np.log(2)) - jensen_shannon(both, both.T)
    return 0.0


def closed_generator_gradient(name: str, real: Normal, fake: Normal) -> float:
    """Derivative in the fakes' mean of the generator's loss under the optimal D, which stands still.

    minimax: that of 2 JSD(p, q) (Goodfellow et al. 2014, theorem 1, and the envelope theorem). nonsaturating: that
    of KL(q, p) - 2 JSD(p, q) (Arjovsky and Bottou 2017, theorem 2.5).
    """
    p = masses(_NODES, real)

    def value(mean: float) -> float:
        q = masses(_NODES, (mean, fake[1]))
        twice = 2 * jensen_shannon(p, q)
        return twice if name == "minimax" else _relative_entropy(q, p) - twice

    return _derivative(value, fake[0])


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence KL(p, q) of masses, in nats."""
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], 1e-300))))


def _derivative(function: Callable[[float], float], at: float, step: float = 1e-4) -> float:
    return float((function(at + step) - function(at - step)) / (2 * step))
