"""Scheduled numbers as functions of the share of the run that is done. Imports JAX and the config."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.config import Config, Schedule

# Numbers that are data and not shape, by their name in the step; the members of a population may differ in them.
NUMBERS = {
    "g_lr": "optimizer.g_lr",
    "d_lr": "optimizer.d_lr",
    "beta1": "optimizer.beta1",
    "beta2": "optimizer.beta2",
    "r1": "penalty.r1",
    "r2": "penalty.r2",
    "wgan_gp": "penalty.wgan_gp",
    "dragan": "penalty.dragan",
    "lecam": "penalty.lecam",
    "bcr": "penalty.bcr",
    "path_length": "penalty.path_length",
    "likelihood": "penalty.likelihood",
    "augment_p": "augment.p",
    "temperature": "model.temperature",
    "ema_half_life": "ema_half_life",
}


def value_at(schedule: Schedule, progress: jax.Array, ends: jax.Array | None = None) -> jax.Array:
    """The schedule's value, float32, at progress in [0, 1] (clipped beyond); `ends` [2] replaces its two values."""
    if ends is None and schedule.end is None:
        return jnp.float32(schedule.start)
    progress = jnp.clip(progress, 0.0, 1.0)
    share = progress if schedule.shape == "linear" else 0.5 * (1 - jnp.cos(jnp.pi * progress))
    start: Any = schedule.start if ends is None else ends[0]
    end: Any = schedule.end if ends is None else ends[1]
    return start * (end / start) ** share if schedule.shape == "geometric" else start + share * (end - start)


def hyperparameters(config: Config, step: jax.Array, numbers: Mapping[str, jax.Array] | None = None) -> dict[str, Any]:
    """All numbers of a step by their names in `NUMBERS`.

    Args:
        config: of the run.
        step: int32 [].
        numbers: what `numbers_of` gives, traced, in place of the config's own values; None = those, as constants of
            the program.
    """
    progress = step.astype(jnp.float32) * (config.images_per_step / config.total_images)
    found: dict[str, Any] = {}
    for name, field in NUMBERS.items():
        value, ends = number_field(config, field), None if numbers is None else numbers[name]
        if isinstance(value, Schedule):
            found[name] = value_at(value, progress, ends)
        else:
            found[name] = value if ends is None else ends[0]
    return found


def numbers_of(config: Config) -> dict[str, np.ndarray]:
    """The config's `NUMBERS`: value at the first and at the last image, float32 [2]."""
    found = {}
    for name, field in NUMBERS.items():
        value = number_field(config, field)
        ends = (value.start, value.end) if isinstance(value, Schedule) else (value, None)
        found[name] = np.array([ends[0], ends[0] if ends[1] is None else ends[1]], np.float32)
    return found


def number_field(config: Config, name: str) -> Any:
    """A field of the config by its dotted name: a `Schedule` or a float."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def calmed(numbers: Mapping[str, Any], rollbacks: jax.Array, factor: float) -> dict[str, Any]:
    """The numbers of a step with learning rates times `factor` from the second rollback on, once for each."""
    share = jnp.float32(factor) ** jnp.maximum(rollbacks - 1, 0)
    return {**numbers, "g_lr": numbers["g_lr"] * share, "d_lr": numbers["d_lr"] * share}


def ema_decay(images: float | jax.Array, half_life: jax.Array) -> jax.Array:
    """Weight of the old average after `images` more images: 0.5 after one half-life, 0 when that is 0."""
    return jnp.where(half_life > 0, 0.5 ** (images / jnp.maximum(half_life, 1e-8)), 0.0)
