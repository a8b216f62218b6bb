"""Timing in turns, so that what a machine does meanwhile meets all sides alike, and the limit to compare with.

Imports JAX only.
"""

import statistics
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

PRODUCT = 2048  # rows, columns and depth of the matrix product that stands for the machine's limit
_PAUSE = 0.05  # seconds: threads of the side before stop spinning


def alternate(calls: Mapping[str, Callable[[], object]], rounds: int, block_seconds: float) -> dict[str, list[float]]:
    """Times several sides in turns, A B C A B C; every block starts with a call that does not count.

    Args:
        calls: the work of a side, by name; each returns when it is done. It was called once before: compiling is not
            meant to be timed.
        rounds: blocks a side.
        block_seconds: length of a block, at least one call.

    Returns:
        Seconds a call, one for every round, by name.
    """
    counts = {name: max(1, round(block_seconds / max(_seconds(call), 1e-9))) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(_PAUSE)
            call()
            found[name].append(_seconds(call, counts[name]))
    return found


def ratio(one: list[float], other: list[float]) -> float:
    """Median over the rounds of one / other."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def matrix_product() -> Callable[[], object]:
    """A float32 product of two square matrices, compiled, to be timed; see `product_gflop`."""
    a = jnp.full((PRODUCT, PRODUCT), 0.5, jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(a, a))
    return lambda: jax.block_until_ready(product(a, a))


def product_gflop() -> float:
    """GFLOP of one call of `matrix_product`."""
    return 2 * PRODUCT**3 / 1e9


def _seconds(call: Callable[[], object], count: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count
