"""Does the generator copy its training set? Nearest training neighbours of samples against held-out reals.

Imports errors, pairwise.
"""

from typing import NamedTuple

import numpy as np
from jax.sharding import NamedSharding
from numpy.typing import ArrayLike

from gan_jax.errors import InputError
from gan_jax.metrics import pairwise

_ROWS = 1024


class Memorisation(NamedTuple):
    """Distances to the training set, samples against held-out real images.

    Attributes:
        nn_ratio: median distance of a sample over that of a held-out image. About 1: no copying. Near 0: copies.
            Above 1: samples are further from the data than real images are.
        copied_share: share of samples nearer to the training set than 99 % of held-out images; 0.01 by chance.
    """

    nn_ratio: float
    copied_share: float


def memorisation(
    samples: ArrayLike,
    held_out: ArrayLike,
    train: ArrayLike,
    *,
    most: int = 2000,
    sharding: NamedSharding | None = None,
) -> Memorisation:
    """Compares how near samples and held-out reals come to the training set.

    Args:
        samples: generated images [N, ...] or features [N, F].
        held_out: real ones that were not trained on, [H, ...].
        train: the training set, [M, ...], always whole.
        most: samples and held-out images looked at, evenly spaced: enough for a median, at a fifth of the time.
        sharding: splits samples and held-out images over devices.

    Raises:
        InputError: shapes or kinds of number differ, a set is empty or not finite, or most held-out images are
            in the training set, so that there is nothing to compare with.
    """
    if most < 1:
        raise InputError(f"memorisation: most={most} must be at least 1")
    sample_distances, _ = nearest_neighbours(
        _spread(samples, most), train, sharding=sharding, names="samples and train"
    )
    held_out_distances, _ = nearest_neighbours(
        _spread(held_out, most), train, sharding=sharding, names="held_out and train"
    )
    middle = float(np.median(held_out_distances))
    if middle == 0:
        raise InputError("memorisation: most held_out images are in train: hold out images that are not trained on")
    return Memorisation(
        nn_ratio=float(np.median(sample_distances)) / middle,
        copied_share=float((sample_distances < np.quantile(held_out_distances, 0.01)).mean()),
    )


def nearest_neighbours(
    queries: ArrayLike,
    points: ArrayLike,
    *,
    sharding: NamedSharding | None = None,
    names: str = "queries and points",
) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distance to the nearest point, and which one it is.

    Args:
        queries: [N, ...], images or features.
        points: [M, ...] of the same shape and the same kind of number (uint8, or floats).
        sharding: splits queries over devices.
        names: what the two are, for messages.

    Returns:
        Distances float64 [N], exact (0 for a copy), and indices int32 [N] into points.

    Raises:
        InputError: shapes or kinds of number differ, or a set is empty or not finite.
    """
    query_rows, point_rows = _rows(queries, names), _rows(points, names)
    if query_rows.shape[1] != point_rows.shape[1]:
        raise InputError(
            f"{names}: {query_rows.shape[1]} and {point_rows.shape[1]} values an example: resize them alike"
        )
    if (query_rows.dtype == np.uint8) != (point_rows.dtype == np.uint8):
        raise InputError(f"{names}: {query_rows.dtype} and {point_rows.dtype}: give both as uint8 or both as floats")
    shift = pairwise.shift_of(point_rows)
    _, indices = pairwise.nearest(
        pairwise.shifted(query_rows, shift), pairwise.shifted(point_rows, shift), sharding=sharding
    )
    distances = np.empty(len(query_rows))
    for start in range(0, len(query_rows), _ROWS):  # float32 found the neighbour; float64 measures it
        part = slice(start, start + _ROWS)
        difference = query_rows[part].astype(np.float64) - point_rows[indices[part, 0]]
        distances[part] = np.sqrt(np.square(difference).sum(axis=1))
    return distances, indices[:, 0]


def _spread(array: ArrayLike, most: int) -> np.ndarray:
    """At most that many entries, evenly spaced."""
    array = np.asarray(array)
    if array.ndim == 0 or len(array) <= most:
        return array
    return array[np.arange(most) * len(array) // most]


def _rows(array: ArrayLike, names: str) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim < 2 or not array.size:
        raise InputError(f"{names}: need shape [N, ...] with N > 0, not {list(array.shape)}")
    if array.dtype != np.uint8 and not np.isfinite(array).all():
        raise InputError(f"{names}: hold NaN or infinity: the images are damaged or the run has diverged")
    return array.reshape(len(array), -1)  # [N, H, W, C] -> [N, H*W*C]
