"""Penalties: of a discriminator's gradients and logits, of a generator's paths; one value an example. Imports JAX only.

A critic here is a function images [B, ...] -> (logits [B], aux). The gradient of the
*sum* of logits is the gradient of each logit at its own image as long as no operation of
the critic mixes examples; with batch normalisation the penalties see the mixture.
"""

import math
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
        Logits [B], squared norms summed over all pixels [B], and the critic's aux. A critic of packs gives [B / m]
        logits, and the norms are those of whole packs.
    """
    logits, pull, aux = jax.vjp(critic, images, has_aux=True)
    (gradients,) = pull(jnp.ones_like(logits))
    return logits, jnp.sum(jnp.square(gradients.reshape(len(logits), -1)), axis=1), aux  # [B, pixels] -> [B]


def unit_gradient(critic: Critic, images: jax.Array) -> jax.Array:
    """(|grad D| - 1)^2 [B] at the given images: the one-Lipschitz target of WGAN-GP and DRAGAN."""
    _, squared, _ = squared_gradient_norms(critic, images)
    return jnp.square(jnp.sqrt(squared + 1e-12) - 1)  # the root's gradient is infinite at 0


def between(key: jax.Array, real: jax.Array, fake: jax.Array, pack: int = 1) -> jax.Array:
    """Points on the lines from real to fake, one share an example or pack (Gulrajani et al. 2017, algorithm 1)."""
    share = jax.random.uniform(key, (len(real) // pack,) + (1,) * (real.ndim - 1))
    if pack > 1:
        share = jnp.repeat(share, pack, 0)
    return real + share * (fake - real)


def near(key: jax.Array, real: jax.Array) -> jax.Array:
    """Real images plus uniform noise of half the batch's standard deviation (DRAGAN, Kodali et al. 2017)."""
    return real + 0.5 * jnp.std(real) * jax.random.uniform(key, real.shape)


def lecam(real: jax.Array, fake: jax.Array, real_anchor: jax.Array, fake_anchor: jax.Array) -> jax.Array:
    """(D(x) - mean D(fake))^2 + (D(G(z)) - mean D(real))^2, the means being moving ones (Tseng et al. 2021, eq. 4).

    Args:
        real: logits [B].
        fake: logits [B].
        real_anchor: float32 [], moving average of the real logits.
        fake_anchor: float32 [], of the fake ones.

    Returns:
        [B].
    """
    return jnp.square(real - fake_anchor) + jnp.square(fake - real_anchor)


def path_lengths(paint: Callable[[jax.Array], jax.Array], styles: jax.Array, noise: jax.Array) -> jax.Array:
    """|J^T y| of the map from styles to images, in a random direction (Karras et al. 2020b, eq. 4).

    Args:
        paint: styles [B, W] -> images [B, ...], each example by itself.
        styles: [B, W].
        noise: y, standard normal, in the shape of the images; it is divided by the root of height x width.

    Returns:
        [B].
    """
    places = math.prod(noise.shape[1:-1])  # pixels an image
    _, pull = jax.vjp(paint, styles)
    (slopes,) = pull(noise / jnp.sqrt(places))
    return jnp.sqrt(jnp.sum(jnp.square(slopes), axis=1) + 1e-12)  # the root's gradient is infinite at 0
