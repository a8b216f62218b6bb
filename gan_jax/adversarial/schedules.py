"""Scheduled numbers as functions of the share of the run that is done. Imports JAX and the config."""

import jax
import jax.numpy as jnp

from gan_jax.config import Config, Schedule


def value_at(schedule: Schedule, progress: jax.Array) -> jax.Array:
    """The schedule's value, float32, at progress in [0, 1] (clipped beyond)."""
    if schedule.end is None:
        return jnp.float32(schedule.start)
    progress = jnp.clip(progress, 0.0, 1.0)
    share = progress if schedule.shape == "linear" else 0.5 * (1 - jnp.cos(jnp.pi * progress))
    return schedule.start + share * (schedule.end - schedule.start)


def hyperparameters(config: Config, step: jax.Array) -> dict[str, jax.Array]:
    """All scheduled numbers at a step, as float32 scalars (data, not constants: nothing recompiles)."""
    progress = step.astype(jnp.float32) * (config.images_per_step / config.total_images)
    return {
        "g_lr": value_at(config.optimizer.g_lr, progress),
        "d_lr": value_at(config.optimizer.d_lr, progress),
        "beta2": value_at(config.optimizer.beta2, progress),
        "r1": value_at(config.penalty.r1, progress),
        "r2": value_at(config.penalty.r2, progress),
        "ema_half_life": value_at(config.ema_half_life, progress),
    }


def ema_decay(images: float | jax.Array, half_life: jax.Array) -> jax.Array:
    """Weight of the old average after `images` more images: 0.5 after one half-life, 0 when that is 0."""
    return jnp.where(half_life > 0, 0.5 ** (images / jnp.maximum(half_life, 1e-8)), 0.0)
