"""Is a dropped mode a trap? The value of a game over where the fakes lie. Imports JAX, NumPy, adversarial, divergence.

n real points at places 0..n-1, n fakes; a configuration is the place of each fake, n standing for "elsewhere". The
discriminator is optimal and free, so a fake elsewhere is always told apart (Sun, Fang and Schwing 2020, section 3).
"""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.adversarial.losses import LOSSES
from gan_jax.theory.divergence import expected_loss, train_logits

Pairing = Callable[[np.ndarray], np.ndarray]


def fixed_pairs(fakes: np.ndarray) -> np.ndarray:
    """Pairs [n + 1, n + 1] when fake i always meets real i, as in the theorem on relativistic pairing."""
    count = len(fakes)
    pairs = np.zeros((count + 1, count + 1))
    pairs[np.arange(count), fakes] = 1 / count
    return pairs


def independent_pairs(fakes: np.ndarray) -> np.ndarray:
    """Pairs [n + 1, n + 1] when real and fake meet at random, as in batches of training."""
    count = len(fakes)
    real = np.append(np.full(count, 1 / count), 0)
    return np.outer(real, np.bincount(fakes, minlength=count + 1) / count)


def configurations(count: int) -> np.ndarray:
    """All places of `count` fakes, int [(count + 1)^count, count]."""
    return np.array(list(itertools.product(range(count + 1), repeat=count)))


@functools.partial(jax.jit, static_argnames=("name", "steps"))
def game_values(name: str, pairs: jax.Array, steps: int) -> jax.Array:
    """What G minimises in the zero-sum game, minus D's least loss, for tables of pairs [m, n, n]: [m]."""
    return jax.vmap(lambda table: -expected_loss(name, table, train_logits(name, table, steps)))(pairs)


def two_points(name: str, pairing: Pairing, steps: int) -> tuple[float, float, float]:
    """Values of collapsed (both fakes on one real point), escaping (one has left it) and covering, for n = 2."""
    stages = np.stack([pairing(np.array(places)) for places in ((0, 0), (0, 2), (0, 1))])
    collapsed, escaping, covering = np.asarray(game_values(name, jnp.asarray(stages, jnp.float32), steps), np.float64)
    return float(collapsed), float(escaping), float(covering)


def trapped(name: str, pairing: Pairing, count: int, steps: int) -> int:
    """From how many configurations no path that never rises leads to one that covers all real points.

    A path moves any number of fakes at once between a place and elsewhere; values within 1e-3 count as equal.
    """
    places = configurations(count)
    tables = np.stack([pairing(place) for place in places])
    values = np.asarray(game_values(name, jnp.asarray(tables, jnp.float32), steps))
    before, after = places[:, None], places[None]
    moves = np.all((before == after) | (before == count) | (after == count), axis=2)
    allowed = moves & (values[None] <= values[:, None] + 1e-3)
    free = np.all(np.sort(places, axis=1) == np.arange(count), axis=1)  # those that cover
    for _ in places:
        free = free | (allowed & free[None]).any(axis=1)
    return int(np.sum(~free))


# ---------------------------------------------------------------- a discriminator that must be smooth


@functools.partial(jax.jit, static_argnames=("name", "fixed"))
def path_values(name: str, fixed: bool, widths: jax.Array, path: jax.Array, ridge: float = 1e-3) -> jax.Array:
    """Value of the game for real points -1 and 1 and fakes -1 and `path` [m], under smooth Ds: [k, m].

    D is in the space of functions of the kernel exp(-(x - y)^2 / (2 width^2)), and ridge / 2 times its squared norm
    there is added to its loss: a small width is nearly the free D. The best D is a sum of kernels at the four points
    (Kimeldorf and Wahba 1971), and its weights, a convex problem, are found by Newton's method.

    Args:
        name: of a loss with second derivatives.
        fixed: whether fake i always meets real i; else each fake meets each real point.
        widths: of the kernels [k].
        path: places of the second fake.
        ridge: above 0.
    """
    pairs = jnp.eye(2) / 2 if fixed else jnp.full((2, 2), 0.25)

    def mean_loss(logits: jax.Array) -> jax.Array:
        values = LOSSES[name].discriminator(jnp.repeat(logits[:2], 2), jnp.tile(logits[2:], 2))
        return jnp.sum(pairs * values.reshape(2, 2))

    def value(width: jax.Array, place: jax.Array) -> jax.Array:
        points = jnp.stack([jnp.float32(-1), jnp.float32(1), jnp.float32(-1), place])
        kernel = jnp.exp(-jnp.square(points[:, None] - points) / (2 * width**2))

        def newton(_: int, weights: jax.Array) -> jax.Array:
            logits = kernel @ weights
            curved = jax.hessian(mean_loss)(logits) @ kernel
            # Zero gradient of the quadratic model, divided by the kernel: solvable where points coincide, too.
            best = jnp.linalg.solve(curved + ridge * jnp.eye(4), curved @ weights - jax.grad(mean_loss)(logits))
            change = best - weights
            length = jnp.sqrt(jnp.maximum(change @ kernel @ change, 0))
            return weights + change / jnp.maximum(1.0, length)  # at most 1 long, or it may overshoot

        weights = jax.lax.fori_loop(0, 30, newton, jnp.zeros(4))
        return -mean_loss(kernel @ weights) - 0.5 * ridge * weights @ kernel @ weights

    return jax.vmap(lambda width: jax.vmap(lambda place: value(width, place))(path))(widths)
