"""The one interface of feature networks, and the extraction that feeds every metric. Imports errors, placement."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from gan_jax.errors import InputError
from gan_jax.metrics import placement

Apply = Callable[[Any, jax.Array], tuple[jax.Array, jax.Array | None]]


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """What turns images into features.

    Attributes:
        name: for tables, e.g. "inception", "classifier", "pca64".
        digest: sha256 of the weights: equal digests give equal scores.
        size: number of features F.
        num_classes: number of logits K; 0 if there are none.
        image_shape: (H, W, C) or, of signals, (L, C) that the network is made for; None takes images of any size, grey
            or RGB.
        variables: tree of weights.
        apply: pure function (variables, images float32 [B, H, W, C] or signals [B, L, C] in [-1, 1]) -> (features
            float32 [B, F], logits float32 [B, K] or None). A function of a module, not a closure: it compiles once.
    """

    name: str
    digest: str
    size: int
    num_classes: int
    image_shape: tuple[int, ...] | None
    variables: Any
    apply: Apply


class Activations(NamedTuple):
    """Features float32 [N, F] and logits float32 [N, K], or None if the network has none."""

    features: np.ndarray
    logits: np.ndarray | None


def extract(
    network: FeatureNetwork,
    images: np.ndarray | jax.Array | Iterable[np.ndarray | jax.Array],
    *,
    batch_size: int = 256,
    sharding: NamedSharding | None = None,
) -> Activations:
    """Features of images, batch by batch; the result does not depend on batch size or devices.

    Batches are cut and filled up to one size, so that the network compiles once.

    Args:
        network: made by `inception`, `classifier` or `pca`.
        images: [N, H, W, C], uint8 or float in [-1, 1], signals [N, L, C], floats, or an iterable of such batches of
            any sizes. To score floats as if they had been saved, turn them into uint8 first.
        batch_size: images at a time, over all devices; rounded up to a multiple of the devices.
        sharding: splits each batch over devices.

    Raises:
        InputError: no images, batch_size < 1, or images that are not of the right shape, type or range.
    """
    if batch_size < 1:
        raise InputError(f"extract: batch_size={batch_size} must be at least 1")
    if isinstance(images, (np.ndarray, jax.Array)):
        batch_size = min(batch_size, max(len(images), 1))
        images = _slices(images, batch_size)
    size = placement.block_size(batch_size, batch_size, sharding)
    variables = placement.put_copies(network.variables, sharding)
    run = placement.compiled(_applied(network.apply), sharding)
    features, logits = [], []
    for count, batch in _fixed_batches(images, size, network):
        found, scores = run(variables, placement.put(batch, sharding))
        features.append(np.asarray(found)[:count])
        if scores is not None:
            logits.append(np.asarray(scores)[:count])
    if not features:
        raise InputError(f"extract: no images were given to {network.name}")
    return Activations(np.concatenate(features), np.concatenate(logits) if logits else None)


def to_float(images: jax.Array) -> jax.Array:
    """uint8 images as float32 in [-1, 1]; floats stay as they are."""
    return images.astype(jnp.float32) / 127.5 - 1 if images.dtype == jnp.uint8 else images.astype(jnp.float32)


def _slices(images: Any, size: int) -> Iterator[Any]:
    return (images[start : start + size] for start in range(0, len(images), size))


@functools.cache
def _applied(apply: Apply) -> Apply:
    return lambda variables, images: apply(variables, to_float(images))


def _fixed_batches(batches: Iterable[Any], size: int, network: FeatureNetwork) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (count, batch of `size` images); only the first `count` are real."""
    kept: list[np.ndarray] = []
    held = 0
    for batch in batches:
        batch = _checked(np.asarray(batch), network)
        if kept and (batch.shape[1:] != kept[0].shape[1:] or batch.dtype != kept[0].dtype):
            raise InputError(f"extract: batches of different shape or type, {batch.shape[1:]} and {kept[0].shape[1:]}")
        kept.append(batch)
        held += len(batch)
        if held >= size:
            joined = np.concatenate(kept) if len(kept) > 1 else batch
            whole = held - held % size
            for start in range(0, whole, size):
                yield size, joined[start : start + size]
            kept, held = [joined[whole:]], held - whole
    if held:
        for start, stop, block in placement.padded_blocks(np.concatenate(kept), size):
            yield stop - start, block


def _checked(images: np.ndarray, network: FeatureNetwork) -> np.ndarray:
    signals = images.ndim == 3 and network.image_shape is not None and len(network.image_shape) == 2
    if not signals and (images.ndim != 4 or images.shape[-1] not in (1, 3)):
        raise InputError(f"extract: images must be [N, H, W, 1 or 3], not {list(images.shape)}")
    if network.image_shape is not None and images.shape[1:] != tuple(network.image_shape):
        raise InputError(
            f"extract: {network.name} is made for images {tuple(network.image_shape)}, not {images.shape[1:]}"
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"extract: images must be uint8, or floats in [-1, 1], not {images.dtype}")
    if images.size and not np.abs(images).max() <= 1.001:  # NaN fails too
        raise InputError("extract: float images must lie in [-1, 1]; one is outside, or NaN")
    return images.astype(np.float32, copy=False)
