"""Where arrays live: rows split over the devices of a sharding, everything else copied to each. JAX only.

Every function takes `sharding=None` for one device. Arrays on the host are whole in every process, so the
same code serves one process and many.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec


def row_devices(sharding: NamedSharding | None) -> int:
    """Number of parts that the sharding cuts the first axis into."""
    if sharding is None:
        return 1
    size = sharding.mesh.size
    return size // sharding.shard_shape((size,))[0]


def block_size(count: int, most: int, sharding: NamedSharding | None) -> int:
    """Rows a block: at most `most`, no more than needed for `count`, and a multiple of the devices."""
    devices = row_devices(sharding)
    return -(-min(count, most) // devices) * devices


def copies(sharding: NamedSharding | None) -> NamedSharding | None:
    """The sharding that puts the whole array on every device of the same mesh."""
    return None if sharding is None else NamedSharding(sharding.mesh, PartitionSpec())


def put(array: np.ndarray, sharding: NamedSharding | None) -> jax.Array:
    """Moves a host array to the devices."""
    if sharding is None:
        return jax.device_put(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def put_copies(tree: Any, sharding: NamedSharding | None) -> Any:
    """Moves every leaf of a tree whole to each device."""
    return jax.tree.map(lambda leaf: put(np.asarray(leaf), copies(sharding)), tree)


@functools.cache
def compiled(function: Callable[..., Any], sharding: NamedSharding | None) -> Callable[..., Any]:
    """`function` under jit, its outputs whole on every device; one jit for equal arguments, so it compiles once."""
    if sharding is None:
        return jax.jit(function)
    return jax.jit(function, out_shardings=copies(sharding))


def _same(array: jax.Array) -> jax.Array:
    return array


def to_host(array: jax.Array, sharding: NamedSharding | None) -> np.ndarray:
    """The whole array on the host, also when other processes hold parts of it."""
    return np.asarray(array if array.is_fully_addressable else compiled(_same, sharding)(array))


def padded_blocks(array: np.ndarray, size: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields (start, stop, block); the last block is filled up with zeros, so that one shape is compiled."""
    for start in range(0, len(array), size):
        block = array[start : start + size]
        stop = start + len(block)
        if len(block) < size:
            block = np.concatenate([block, np.zeros((size - len(block), *array.shape[1:]), array.dtype)])
        yield start, stop, block
