"""Noise, walks through it, and batches of it: what a generator is fed. Imports JAX and errors only."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.errors import InputError

BATCH = 256  # images in a call of a network, at most


def draw_noise(key: jax.Array, num: int, size: int, truncation: float | None = None) -> jax.Array:
    """Noise z ~ N(0, I), float32 [num, size].

    Args:
        key: a `jax.random.key`.
        num: how many.
        size: of the latent space.
        truncation: redraw components beyond +-truncation (Brock et al. 2019, section 3.1); None = never.

    Raises:
        InputError: truncation is not above 0.
    """
    if truncation is None:
        return jax.random.normal(key, (num, size))
    if not truncation > 0:
        raise InputError(f"truncation={truncation} must be above 0: 0.5 is strong, 2 is weak")
    return jax.random.truncated_normal(key, -truncation, truncation, (num, size))


def great_circle(start: jax.Array, end: jax.Array, columns: int) -> jax.Array:
    """Points on the way from one noise to another, ends included.

    Along the great circle (White 2016), since a straight line leaves the shell where noise lives.

    Args:
        start: [rows, Z].
        end: [rows, Z].
        columns: points a row, at least 2.

    Returns:
        [rows, columns, Z].
    """
    ends = jnp.stack([start, end])[:, :, None]  # [2, rows, 1, Z]
    share = jnp.linspace(0, 1, columns)[None, :, None]
    units = ends / jnp.linalg.norm(ends, axis=-1, keepdims=True)
    angle = jnp.arccos(jnp.clip(jnp.sum(units[0] * units[1], -1, keepdims=True), -1, 1))
    near = angle < 1e-3  # parallel ends have no angle to divide by; there a straight line is the arc
    sine = jnp.where(near, 1.0, jnp.sin(angle))
    first = jnp.where(near, 1 - share, jnp.sin((1 - share) * angle) / sine)
    second = jnp.where(near, share, jnp.sin(share * angle) / sine)
    return first * ends[0] + second * ends[1]


def resolve_labels(given: Any, num: int, classes: int) -> np.ndarray:
    """Labels int32 [num]: the given ones repeated in turn, or all classes in turn.

    Args:
        given: class numbers, or None for all classes.
        num: how many.
        classes: of the generator; 0 = unconditional.

    Raises:
        InputError: labels for an unconditional generator, or out of range.
    """
    if given is None:
        return np.arange(num, dtype=np.int32) % max(classes, 1)
    if not classes:
        raise InputError("labels need a class-conditional generator: train with --config.model.conditional=true")
    labels = np.asarray(given, np.int32).reshape(-1)
    if labels.size == 0 or labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"labels must lie in 0..{classes - 1}, not {labels.tolist()}")
    return np.resize(labels, num)


def in_batches(call: Callable[..., Any], *arrays: np.ndarray, size: int = BATCH) -> Any:
    """Applies a function to arrays with one leading axis in batches of one size, so that it compiles once.

    Args:
        call: takes a batch of each array; returns arrays, in any pytree, with the same leading axis. NumPy arrays are
            joined on the host, which has room for more.
        *arrays: [N, ...], N > 0.
        size: of a batch, at most; the last one is filled up with copies of the first example.

    Returns:
        What `call` returns, [N, ...].
    """
    num = len(arrays[0])
    size = min(size, num)
    padded = [np.concatenate([array, array[:1].repeat(-num % size, 0)]) for array in arrays]
    parts = [call(*(array[i : i + size] for array in padded)) for i in range(0, num, size)]

    def join(*pieces: Any) -> Any:
        return (np if isinstance(pieces[0], np.ndarray) else jnp).concatenate(pieces)[:num]

    return jax.tree.map(join, *parts)


class Drawing(abc.ABC):
    """What draws images from noise: a pair with the code that trained it (`gan_jax.Gan`) or without (`Exported`)."""

    @property
    @abc.abstractmethod
    def _sizes(self) -> dict[str, int]:
        """Of the generator: "latent_size", and "classes", 0 if it is unconditional."""

    @abc.abstractmethod
    def generate(self, z: jax.Array | np.ndarray, labels: np.ndarray | None = None) -> jax.Array:
        """Images float32 [N, *shape] in [-1, 1] from noise [N, latent_size]."""

    def latents(self, key: jax.Array, num: int, truncation: float | None = None) -> jax.Array:
        """Noise z ~ N(0, I), float32 [num, latent_size].

        Args:
            key: a `jax.random.key`.
            num: how many.
            truncation: redraw components beyond +-truncation (Brock et al. 2019, section 3.1); None = never.
        """
        return draw_noise(key, num, self._sizes["latent_size"], truncation)

    def check_labels(self, labels: Sequence[int] | np.ndarray | None, num: int) -> np.ndarray:
        """Labels int32 [num]: the given ones repeated in turn, or all classes in turn.

        Raises:
            InputError: labels for an unconditional generator, or out of range.
        """
        return resolve_labels(labels, num, self._sizes["classes"])

    def sample(
        self,
        key: jax.Array,
        num: int,
        labels: Sequence[int] | np.ndarray | None = None,
        truncation: float | None = None,
    ) -> jax.Array:
        """Draws images, float32 [num, *shape] in [-1, 1] (toys: as the data).

        Args:
            key: a `jax.random.key`; the same key gives the same images.
            num: how many.
            labels: classes, repeated in turn; None = all classes in turn. Needs model.conditional.
            truncation: see `latents`.
        """
        return self.generate(
            self.latents(key, num, truncation), None if labels is None else self.check_labels(labels, num)
        )

    def interpolate(self, key: jax.Array, rows: int, columns: int) -> jax.Array:
        """Images [rows * columns, *shape]: each row walks from one sample to another, in one class.

        Along the great circle, see `latents.great_circle`.
        """
        ends = self.latents(key, 2 * rows).reshape(2, rows, -1)  # [2 * rows, Z] -> [2, rows, Z]
        path = great_circle(ends[0], ends[1], columns)
        labels = np.repeat(self.check_labels(None, rows), columns) if self._sizes["classes"] else None
        return self.generate(path.reshape(rows * columns, -1), labels)  # [rows, columns, Z] -> [rows * columns, Z]
