"""Scalars that a regulariser carries from step to step, in `State.running`. Imports JAX, this room and the config.

Only those of techniques in use are there; without any, the state is what it is without this file.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from gan_jax.adversarial.schedules import ema_decay
from gan_jax.config import Config

Scalars = dict[str, jax.Array]
_PATH_DECAY = 0.99  # of the mean path length a step of the penalty (Karras et al. 2020b, appendix B)


def initial(config: Config) -> Scalars:
    """Their values before the first step, float32 [].

    "augment_p": adaptive probability of ADA. "lecam_real", "lecam_fake": LeCam's moving averages of the logits.
    "path_mean": moving average of the path length.
    """
    start: dict[str, float] = {}
    if config.augment.adaptive:
        start["augment_p"] = config.augment.p.start
    if config.penalty.lecam:
        start |= {"lecam_real": 0.0, "lecam_fake": 0.0}
    if config.penalty.path_length:
        start["path_mean"] = 0.0
    return {name: jnp.float32(value) for name, value in start.items()}


def follow(config: Config, running: Mapping[str, jax.Array], metrics: Mapping[str, jax.Array]) -> Scalars:
    """Their values after a discriminator update with these metrics."""
    after, batch = dict(running), config.data.batch_size
    if "augment_p" in running:
        after["augment_p"] = adapted(
            running["augment_p"], metrics["confidence"], config.augment.target, batch / config.augment.adaptive_images
        )
    if "lecam_real" in running:
        decay = ema_decay(batch, jnp.float32(config.penalty.lecam_half_life))
        for name, logit in (("lecam_real", "real_logit"), ("lecam_fake", "fake_logit")):
            after[name] = decay * running[name] + (1 - decay) * metrics[logit]
    return after


def adapted(p: jax.Array, confidence: jax.Array, target: float, pace: float) -> jax.Array:
    """p one pace up where D is surer of real examples than the target, else down; in [0, 1] (Karras et al. 2020a)."""
    return jnp.clip(p + pace * jnp.sign(confidence - target), 0.0, 1.0)


def blended(mean: jax.Array, length: jax.Array) -> jax.Array:
    """The moving average of path lengths after one more batch of this mean length."""
    return _PATH_DECAY * mean + (1 - _PATH_DECAY) * length
