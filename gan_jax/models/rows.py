"""Transposed convolutions of signals as matrix products, for CPU. Imports JAX only.

The input gradient of a strided convolution, which is also an up-convolution, fills a signal up with zeros in XLA's own
form and so does several times the work. Here every place gives the samples of its whole window at once, in groups of
`stride` samples, and the groups of neighbours are added where windows overlap.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Row(NamedTuple):
    """A strided convolution of one row.

    Attributes:
        length: of the side that is not strided.
        taps: samples of the window.
        stride: samples a step.
        low: zeros before the signal.
        places: of the strided side.
    """

    length: int
    taps: int
    stride: int
    low: int
    places: int

    @property
    def groups(self) -> int:
        """Groups of `stride` samples that a window spans."""
        return -(-self.taps // self.stride)


def input_gradient(g: Array, kernel: Array, row: Row) -> Array:
    """g [B, 1, T, D], kernel [1, k, C, D] -> [B, 1, L, C], the adjoint of the convolution in its input."""
    weights, channels = _weights(kernel, row), kernel.shape[2]
    parts = []
    for index in range(row.groups):
        part = g[:, 0] @ weights[index].T  # [B, T, s * C]
        parts.append(jnp.pad(part, ((0, 0), (index, row.groups - 1 - index), (0, 0))))
    whole = sum(parts, start=jnp.zeros((), g.dtype))
    flat = whole.reshape(
        -1, (row.places + row.groups - 1) * row.stride, channels
    )  # [B, T + m - 1, s * C] -> [B, (T + m - 1) s, C]
    missing = row.low + row.length - flat.shape[1]
    if missing > 0:  # samples behind the last window
        flat = jnp.pad(flat, ((0, 0), (0, missing), (0, 0)))
    return flat[:, None, row.low : row.low + row.length]


def _weights(kernel: Array, row: Row) -> Array:
    """[1, k, C, D] -> [m, s * C, D], zeros behind the last tap."""
    padded = jnp.pad(kernel[0], ((0, row.groups * row.stride - row.taps), (0, 0), (0, 0)))
    return padded.reshape(row.groups, -1, kernel.shape[3])
