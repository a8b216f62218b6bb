"""Kernel distance (KID): squared maximum mean discrepancy with a cubic kernel. Imports checks, placement."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from numpy.typing import ArrayLike

from gan_jax.errors import InputError
from gan_jax.metrics import placement
from gan_jax.metrics.checks import check_features, check_pair

_ROWS, _COLUMNS = 1024, 4096


class KernelDistance(NamedTuple):
    """Mean and standard deviation of the kernel distance over subsets."""

    mean: float
    std: float


def kernel_distance(real: ArrayLike, fake: ArrayLike, *, sharding: NamedSharding | None = None) -> float:
    """Unbiased squared MMD between two whole sets, kernel (x.y / F + 1)^3 (KID, Bińkowski et al. 2018, section 4).

    Its expectation is 0 for equal distributions, so it may be slightly negative.

    Args:
        real: features [N, F].
        fake: features [M, F].
        sharding: splits the first axis over devices.

    Raises:
        InputError: fewer than two rows, different numbers of features, or features that are not finite.
    """
    real, fake = _checked(real, fake)
    return _unbiased(real, fake, sharding)


def kernel_distance_subsets(
    real: ArrayLike,
    fake: ArrayLike,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
    *,
    sharding: NamedSharding | None = None,
) -> KernelDistance:
    """Mean and spread of the unbiased squared MMD over random subsets, as KID is usually quoted.

    Args:
        real: features [N, F].
        fake: features [M, F].
        subsets: how many pairs of subsets are drawn.
        subset_size: rows of each, without repetition; fewer if a set is smaller.
        seed: of the draws; the defaults draw the very subsets of torch-fidelity.
        sharding: splits the first axis over devices.

    Raises:
        InputError: subsets < 1, subset_size < 2, or features as in `kernel_distance`.
    """
    if subsets < 1 or subset_size < 2:
        raise InputError(
            f"kernel_distance_subsets: subsets={subsets}, subset_size={subset_size}: give at least 1 and 2"
        )
    real, fake = _checked(real, fake)
    size = min(subset_size, len(real), len(fake))
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        real_part = real[random.choice(len(real), size, replace=False)]
        fake_part = fake[random.choice(len(fake), size, replace=False)]
        values.append(_unbiased(real_part, fake_part, sharding))
    return KernelDistance(float(np.mean(values)), float(np.std(values)))


def _checked(real: ArrayLike, fake: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    real, fake = check_features(real, "real"), check_features(fake, "fake")
    check_pair(real, fake, "real and fake")
    return real.astype(np.float32, copy=False), fake.astype(np.float32, copy=False)


def _unbiased(real: np.ndarray, fake: np.ndarray, sharding: NamedSharding | None) -> float:
    # A constant taken off every kernel value cancels in the result and keeps the digits that matter in float32.
    mean = np.concatenate([real, fake]).mean(axis=0, dtype=np.float64)
    offset = (float(mean @ mean) / len(mean) + 1) ** 3
    within = _mean_kernel(real, real, offset, True, sharding) + _mean_kernel(fake, fake, offset, True, sharding)
    return within - 2 * _mean_kernel(real, fake, offset, False, sharding)


def _mean_kernel(
    first: np.ndarray, second: np.ndarray, offset: float, one_set: bool, sharding: NamedSharding | None
) -> float:
    """Mean of k(x, y) - offset over all pairs; of one set, over pairs of different rows."""
    rows, columns = placement.block_size(len(first), _ROWS, sharding), min(len(second), _COLUMNS)
    everywhere = placement.copies(sharding)
    blocks = [
        (start, stop, placement.put(block, everywhere))
        for start, stop, block in placement.padded_blocks(second, columns)
    ]
    row_sums = placement.compiled(_row_sums, sharding)
    total = 0.0
    for start, stop, block in placement.padded_blocks(first, rows):
        ids = placement.put(np.arange(start, start + rows, dtype=np.int32), sharding)
        placed = placement.put(block, sharding)
        for column, end, points in blocks:
            sums = row_sums(placed, ids, points, np.int32(column), np.int32(end), np.float32(offset), one_set)
            total += float(np.asarray(sums)[: stop - start].sum(dtype=np.float64))
    pairs = len(first) * (len(first) - 1) if one_set else len(first) * len(second)
    return total / pairs


def _row_sums(
    rows: jax.Array,
    row_ids: jax.Array,
    columns: jax.Array,
    start: jax.Array,
    stop: jax.Array,
    offset: jax.Array,
    one_set: jax.Array,
) -> jax.Array:
    """Sums of k(x, y) - offset over the real columns of a block: float32 [R]."""
    product = jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)
    ids = start + jnp.arange(len(columns))
    counted = (ids < stop)[None, :] & ~(one_set & (row_ids[:, None] == ids[None, :]))
    return jnp.sum(jnp.where(counted, (product / rows.shape[1] + 1) ** 3 - offset, 0), axis=1)
