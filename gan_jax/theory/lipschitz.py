"""Lipschitz constants of small critics, and what WGAN-GP really trains. Imports JAX, flax, optax, adversarial."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import ndtr

from gan_jax.adversarial import penalties
from gan_jax.adversarial.losses import LOSSES
from gan_jax.theory.divergence import Normal

Tree = Any
Apply = Callable[[Tree, jax.Array], jax.Array]  # (params, points [B, N]) -> logits [B]


def product_bound(params: Tree) -> float:
    """Product of the largest singular values of all kernels.

    Bounds |grad D| of layers in a chain whose activations have slopes within [-1, 1] (Miyato et al. 2018, eq. 7).
    """
    kernels = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if path[-1].key == "kernel"]
    matrices = [np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]) for kernel in kernels]
    return float(np.prod([np.linalg.norm(matrix, 2) for matrix in matrices]))


def gradient_norms(critic: Callable[[jax.Array], jax.Array], points: jax.Array) -> np.ndarray:
    """|grad D| [B] at points [B, N]; the largest is a lower bound of the Lipschitz constant."""
    squared = jax.jit(lambda points: penalties.squared_gradient_norms(lambda x: (critic(x), None), points)[1])(points)
    return np.sqrt(np.asarray(squared, np.float64))


def spectral_estimates(layer: nn.Module, kernel: np.ndarray, steps: int) -> np.ndarray:
    """A spectrally normalised linear layer's estimates [steps] of its kernel's largest singular value.

    Args:
        layer: maps [B, C] to [B, D] without bias, and takes one power iteration a call with `train`.
        kernel: [C, D].
        steps: calls, from a vector `u` that knows nothing.
    """
    rows, columns = kernel.shape
    params = {"kernel": jnp.asarray(kernel, jnp.float32)}

    def call(stats: Tree, _: None) -> tuple[Tree, jax.Array]:
        variables = {"params": params, "batch_stats": stats}
        # The identity shows the kernel over its estimate.
        divided, changed = layer.apply(variables, jnp.eye(rows), train=True, mutable=["batch_stats"])
        return changed["batch_stats"], divided

    start = {"u": jnp.ones(columns) / jnp.sqrt(columns)}
    divided = jax.jit(lambda stats: jax.lax.scan(call, stats, None, steps)[1])(start)
    return np.array([np.linalg.norm(kernel, 2) / np.linalg.norm(np.asarray(one, np.float64), 2) for one in divided])


# ---------------------------------------------------------------- WGAN-GP on the line


def train_critic(
    apply: Apply, params: Tree, real: Normal, fake: Normal, weight: float, steps: int, batch: int = 256
) -> Tree:
    """Params of a WGAN-GP critic between two normal distributions, from fresh draws every step.

    Args:
        apply: the critic.
        params: where it starts.
        real: mean and standard deviation.
        fake: the same.
        weight: lambda of the penalty (Gulrajani et al. 2017, algorithm 1).
        steps: of Adam, whose learning rate falls from 0.005 to 0.
        batch: draws a step of each side.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, steps), b1=0.5, b2=0.99)
    critic_loss = LOSSES["wasserstein"].discriminator

    def loss(params: Tree, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 3)
        x, y = (m + s * jax.random.normal(k, (batch, 1)) for (m, s), k in zip((real, fake), keys[:2], strict=True))
        places = penalties.between(keys[2], x, y)
        penalty = penalties.unit_gradient(lambda points: (apply(params, points), None), places)
        return jnp.mean(critic_loss(apply(params, x), apply(params, y))) + weight * jnp.mean(penalty)

    def advance(step: int, carry: tuple[Tree, optax.OptState]) -> tuple[Tree, optax.OptState]:
        params, opt_state = carry
        grads = jax.grad(loss)(params, jax.random.fold_in(jax.random.key(0), step))
        change, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, change), opt_state

    return jax.jit(lambda params: jax.lax.fori_loop(0, steps, advance, (params, optimizer.init(params)))[0])(params)


def penalised_slopes(points: np.ndarray, real: Normal, fake: Normal, weight: float) -> np.ndarray:
    """Slope [n] of WGAN-GP's optimal critic at points [n], where the fakes lie left of the reals.

    Integration by parts turns E_p D - E_q D into int D' (F_q - F_p), and the penalty is weight int r (|D'| - 1)^2
    with the density r of points between real and fake. Point by point the best is D' = 1 + (F_q - F_p) / (2 weight r):
    above 1, so the critic overrates the distance by int (F_q - F_p)^2 / (2 weight r).
    """
    return np.asarray(1 + cdf_gap(points, real, fake) / (2 * weight * _between_density(points, real, fake)))


def cdf_gap(points: np.ndarray, real: Normal, fake: Normal) -> np.ndarray:
    """F_fake - F_real at points, same shape; its integral is W1 where it has one sign."""
    return np.asarray(ndtr((points - fake[0]) / fake[1]) - ndtr((points - real[0]) / real[1]))


def _between_density(points: np.ndarray, real: Normal, fake: Normal) -> np.ndarray:
    """Density [n] of x + a (y - x), independent real x, fake y and uniform a; deviations above a 20th of the way."""
    nodes, weights = np.polynomial.legendre.leggauss(128)
    share, weights = (nodes + 1) / 2, weights / 2
    mean = (1 - share) * real[0] + share * fake[0]
    std = np.sqrt(((1 - share) * real[1]) ** 2 + (share * fake[1]) ** 2)
    values = np.exp(-0.5 * ((points[:, None] - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))  # [n, 128]
    return np.asarray(values @ weights)
