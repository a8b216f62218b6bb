"""Distances between two sets in blocks, on the devices: the ground under manifold and memorisation metrics.

No matrix of all pairs is ever held. Imports errors and placement.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gan_jax.metrics import placement

ROWS, COLUMNS = 1024, 4096  # pairs in a block; 16 MB of float32


def shift_of(points: np.ndarray) -> np.ndarray:
    """A point [F] near the mean, to be subtracted from both sets before distances are taken in float32.

    |x|^2 + |y|^2 - 2xy loses digits far from the origin. Each coordinate is rounded to a power of two near
    the spread, so that points on a coarse grid stay exact and equal distances stay equal.
    """
    spread = float(points.std(axis=0, dtype=np.float64).max())
    step = 2.0 ** math.floor(math.log2(max(spread, 1e-30)))
    return np.round(points.mean(axis=0, dtype=np.float64) / step) * step


def shifted(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """points - shift as float32; float64 points are subtracted before they are rounded."""
    if points.dtype == np.float64:
        return (points - shift).astype(np.float32)
    return points.astype(np.float32, copy=False) - shift.astype(np.float32)


def squared_distances(rows: jax.Array, columns: jax.Array) -> jax.Array:
    """|x - y|^2 for x [R, F] and y [C, F]: float32 [R, C], not below 0. Full precision on every platform."""
    product = jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)  # TPUs and GPUs round products else
    squares = jnp.sum(rows**2, axis=1)[:, None] + jnp.sum(columns**2, axis=1)[None, :]
    return jnp.maximum(squares - 2 * product, 0)


def nearest(
    queries: np.ndarray,
    points: np.ndarray,
    k: int = 1,
    *,
    skip_self: bool = False,
    sharding: NamedSharding | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each query.

    Args:
        queries: float [N, F], already shifted near the origin.
        points: float [M, F], shifted alike.
        k: neighbours asked for, <= M (M - 1 with skip_self).
        skip_self: queries and points are one set, and a point is no neighbour of its own.
        sharding: splits the queries over devices.

    Returns:
        Squared distances float32 [N, k], ascending, and indices int32 [N, k] into points.
    """
    rows = placement.block_size(len(queries), ROWS, sharding)
    blocks = _column_blocks(points, sharding)
    merge = _merge_compiled(k, skip_self, sharding)
    distances = np.empty((len(queries), k), np.float32)
    indices = np.empty((len(queries), k), np.int32)
    for start, stop, block in placement.padded_blocks(queries.astype(np.float32, copy=False), rows):
        ids = placement.put(np.arange(start, start + rows, dtype=np.int32), sharding)
        best = placement.put(np.full((rows, k), np.inf, np.float32), sharding)
        best_ids = placement.put(np.full((rows, k), -1, np.int32), sharding)
        placed = placement.put(block, sharding)
        for column_ids, columns in blocks:
            best, best_ids = merge(best, best_ids, placed, ids, columns, column_ids)
        distances[start:stop] = placement.to_host(best, sharding)[: stop - start]
        indices[start:stop] = placement.to_host(best_ids, sharding)[: stop - start]
    return distances, indices


def _column_blocks(points: np.ndarray, sharding: NamedSharding | None) -> list[tuple[jax.Array, jax.Array]]:
    """All points on every device, in blocks of one shape, with their numbers; -2 marks padding."""
    size = min(len(points), COLUMNS)
    everywhere = placement.copies(sharding)
    blocks = []
    for start, stop, block in placement.padded_blocks(points.astype(np.float32, copy=False), size):
        ids = np.full(size, -2, np.int32)
        ids[: stop - start] = np.arange(start, stop)
        blocks.append((placement.put(ids, everywhere), placement.put(block, everywhere)))
    return blocks


def _merge(
    best: jax.Array,
    best_ids: jax.Array,
    rows: jax.Array,
    row_ids: jax.Array,
    columns: jax.Array,
    column_ids: jax.Array,
    *,
    k: int,
    skip_self: bool,
) -> tuple[jax.Array, jax.Array]:
    """The k best of those known and one more block."""
    distances = squared_distances(rows, columns)
    hidden = column_ids[None, :] < 0
    if skip_self:
        hidden = hidden | (row_ids[:, None] == column_ids[None, :])
    distances = jnp.concatenate([best, jnp.where(hidden, jnp.inf, distances)], axis=1)
    ids = jnp.concatenate([best_ids, jnp.broadcast_to(column_ids, (len(rows), len(column_ids)))], axis=1)
    negative, places = jax.lax.top_k(-distances, k)
    return -negative, jnp.take_along_axis(ids, places, axis=1)


@functools.cache
def _merge_compiled(k: int, skip_self: bool, sharding: NamedSharding | None) -> Callable[..., Any]:
    function = functools.partial(_merge, k=k, skip_self=skip_self)
    if sharding is None:
        return jax.jit(function)
    rows, everywhere = sharding.spec, PartitionSpec()  # left to itself, the partitioner gathers all pairs for top_k
    return jax.jit(
        jax.shard_map(
            function,
            mesh=sharding.mesh,
            in_specs=(rows, rows, rows, rows, everywhere, everywhere),
            out_specs=(rows, rows),
            check_vma=False,
        )
    )
