"""Gradient penalties of a discriminator, one value an example. Imports JAX only.

A critic here is a function images [B, ...] -> (logits [B], aux). The gradient of the
*sum* of logits is the gradient of each logit at its own image as long as no operation of
the critic mixes examples; with batch normalisation the penalties see the mixture.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Critic = Callable[[jax.Array], tuple[jax.Array, Any]]


def squared_gradient_norms(critic: Critic, images: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    """Logits and their squared input gradients from one forward and one backward pass.

    R1 is the value on real images, R2 on generated ones (Mescheder et al. 2018, eq. 9).

    Args:
        critic: images -> (logits, aux).
        images: float32 [B, ...].

    Returns:
        Logits [B], squared norms summed over all pixels [B], and the critic's aux.
    """
    logits, pull, aux = jax.vjp(critic, images, has_aux=True)
    (gradients,) = pull(jnp.ones_like(logits))
    return logits, jnp.sum(jnp.square(gradients.reshape(len(images), -1)), axis=1), aux  # [B, pixels] -> [B]


def unit_gradient(critic: Critic, images: jax.Array) -> jax.Array:
    """(|grad D| - 1)^2 [B] at the given images: the one-Lipschitz target of WGAN-GP and DRAGAN."""
    _, squared, _ = squared_gradient_norms(critic, images)
    return jnp.square(jnp.sqrt(squared + 1e-12) - 1)  # the root's gradient is infinite at 0


def between(key: jax.Array, real: jax.Array, fake: jax.Array) -> jax.Array:
    """Points on the lines from real to fake, one share an example (Gulrajani et al. 2017, algorithm 1)."""
    share = jax.random.uniform(key, (len(real),) + (1,) * (real.ndim - 1))
    return real + share * (fake - real)


def near(key: jax.Array, real: jax.Array) -> jax.Array:
    """Real images plus uniform noise of half the batch's standard deviation (DRAGAN, Kodali et al. 2017)."""
    return real + 0.5 * jnp.std(real) * jax.random.uniform(key, real.shape)
