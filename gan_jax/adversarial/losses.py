"""Adversarial losses as functions of logits, one value an example. Imports JAX only.

Every function maps real and fake logits, float32 [B] each, to losses [B]; the step takes
the mean. The discriminator's output is a logit: no sigmoid anywhere.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import softplus

Logits = jax.Array


class Loss(NamedTuple):
    """The two sides of a game."""

    discriminator: Callable[[Logits, Logits], jax.Array]  # (real, fake) [B] -> [B]
    generator: Callable[[Logits, Logits], jax.Array]  # (real, fake) [B] -> [B]
    pairs: bool = False  # the generator's loss needs the real logits too
    undecided: float | None = 0.0  # logit of a discriminator that cannot tell; None: only differences have a meaning
    matches_features: bool = False  # the generator looks at D's features in place of its logits, see `matching`


def minimax(real: Logits, fake: Logits) -> jax.Array:
    """Discriminator of Goodfellow et al. 2014, eq. 1: -log D(x) - log(1 - D(G(z)))."""
    return softplus(-real) + softplus(fake)


def minimax_generator(real: Logits, fake: Logits) -> jax.Array:
    """Generator of the zero-sum game: log(1 - D(G(z))). Vanishes where D is sure."""
    return -softplus(fake)


def nonsaturating_generator(real: Logits, fake: Logits) -> jax.Array:
    """Generator that maximises log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return softplus(-fake)


def least_squares(real: Logits, fake: Logits) -> jax.Array:
    """Discriminator of LSGAN (Mao et al. 2017, eq. 9): targets 1 for real, 0 for fake."""
    return 0.5 * (jnp.square(real - 1) + jnp.square(fake))


def least_squares_generator(real: Logits, fake: Logits) -> jax.Array:
    """Generator of LSGAN: fakes should score 1."""
    return 0.5 * jnp.square(fake - 1)


def hinge(real: Logits, fake: Logits) -> jax.Array:
    """Discriminator with margins (Lim & Ye 2017; Miyato et al. 2018, eq. 16)."""
    return jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)


def wasserstein(real: Logits, fake: Logits) -> jax.Array:
    """Critic of WGAN (Arjovsky et al. 2017, eq. 2); needs a Lipschitz bound, e.g. penalty.wgan_gp."""
    return fake - real


def critic_generator(real: Logits, fake: Logits) -> jax.Array:
    """Generator that raises the critic's score of fakes; goes with hinge and wasserstein."""
    return -fake


def relativistic(real: Logits, fake: Logits) -> jax.Array:
    """Discriminator of relativistic pairing (Jolicoeur-Martineau 2019; R3GAN, Huang et al. 2024, eq. 2)."""
    return softplus(fake - real)


def relativistic_generator(real: Logits, fake: Logits) -> jax.Array:
    """Generator of relativistic pairing: the roles of real and fake exchanged."""
    return softplus(real - fake)


def matching(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Generator of feature matching (Salimans et al. 2016, section 3.1): squared distance of the mean features.

    Args:
        real: features of real images, float32 [B, F].
        fake: of generated ones, float32 [B, F].

    Returns:
        float32 [], the mean over features, as in the authors' code.
    """
    return jnp.mean(jnp.square(jnp.mean(real, axis=0) - jnp.mean(fake, axis=0)))


def article_squared_error(real: Logits, fake: Logits) -> jax.Array:
    """Discriminator of the article's listing: D(x)^2 + D(G(z))^2. Not adversarial.

    It looks like least squares with the targets left out. What is really minimised is the
    size of D's output, on real and fake images alike, and the generator minimises the same
    D(G(z))^2: both players descend one function. D = 0 everywhere is its global minimum,
    reached without looking at an image, and there the generator's gradient is zero. No
    term asks D to tell real from fake, so G learns nothing about the data. Kept so that
    the article's claim can be measured; train with "nonsaturating" or "relativistic".
    """
    return jnp.square(real) + jnp.square(fake)


def article_squared_error_generator(real: Logits, fake: Logits) -> jax.Array:
    """Generator of the article's listing: D(G(z))^2, the discriminator's own aim."""
    return jnp.square(fake)


def confidence(loss: Loss, real: Logits, fake: Logits) -> jax.Array:
    """How sure D is of real examples: the mean sign of their logits, in [-1, 1] (Karras et al. 2020a, eq. 1).

    The sign is about the logit at which it cannot tell; where only differences have a meaning, about the logits of
    the fakes. 1 on the training set means that it is known by heart.
    """
    return jnp.mean(jnp.sign(real - (fake if loss.undecided is None else loss.undecided)))


LOSSES: dict[str, Loss] = {
    "minimax": Loss(minimax, minimax_generator),
    "nonsaturating": Loss(minimax, nonsaturating_generator),
    "least_squares": Loss(least_squares, least_squares_generator, undecided=0.5),
    "hinge": Loss(hinge, critic_generator),
    "wasserstein": Loss(wasserstein, critic_generator, undecided=None),
    "relativistic": Loss(relativistic, relativistic_generator, pairs=True, undecided=None),
    # The generator's entry serves where only logits are at hand, as in theory/; `Game.g_loss` matches features.
    "feature_matching": Loss(minimax, nonsaturating_generator, pairs=True, matches_features=True),
    "article_squared_error": Loss(article_squared_error, article_squared_error_generator),
}
