"""Convolutions with one meaning and the lowering that suits each platform. Imports JAX and Flax only.

XLA is good at every convolution on TPU and GPU, and at most of them on CPU. The few that it
is slow at there are written in another, mathematically identical form, chosen when the
program is lowered, so that one program serves every platform. All functions take NHWC arrays
and HWIO kernels of one dtype.

The convolution, its input gradient and its weight gradient are three bilinear maps, and each
one's derivatives are the other two. Stating that here, instead of differentiating XLA's form of
each, keeps derivatives of every order (gradient penalties need the second) among these three.
Derivatives are reverse mode; forward mode (`jax.jvp`) is not defined.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

Padding = Literal["SAME", "VALID"]
_LAYOUT = ("NHWC", "HWIO", "NHWC")


class _Geometry(NamedTuple):
    """What a convolution is, apart from its operands; hashable."""

    size: tuple[int, int]  # height and width of the side that is not strided
    kernel: tuple[int, int]
    stride: int
    padding: tuple[tuple[int, int], tuple[int, int]]
    groups: int


def conv(x: Array, kernel: Array, stride: int = 1, padding: Padding = "SAME", groups: int = 1) -> Array:
    """Cross-correlation, as `jax.lax.conv_general_dilated` computes it.

    Args:
        x: [B, H, W, C].
        kernel: [kh, kw, C / groups, D].
        stride: step along height and width.
        padding: "SAME" gives ceil(H / stride) rows, "VALID" uses no padding.
        groups: output channels [i*D/groups, (i+1)*D/groups) see the i-th part of the input channels.

    Returns:
        [B, H', W', D].
    """
    size, window = x.shape[1:3], kernel.shape[:2]
    if window == (1, 1) and stride == 1 and groups == 1:
        return x @ kernel[0, 0]
    (top, bottom), (left, right) = lax.padtype_to_pads(size, window, (stride, stride), padding)
    return _forward(x, kernel, _Geometry(size, window, stride, ((top, bottom), (left, right)), groups))


def up_conv(x: Array, kernel: Array) -> Array:
    """Transposed convolution of stride 2 that doubles height and width.

    It is the adjoint of `conv(_, kernel with its last two axes swapped, stride=2)`: what PyTorch and Keras
    call a transposed convolution, and `jax.lax.conv_transpose(..., "SAME", transpose_kernel=True)`.

    Args:
        x: [B, H, W, C].
        kernel: [kh, kw, C, D].

    Returns:
        [B, 2H, 2W, D].
    """
    height, width = x.shape[1:3]
    size, window = (2 * height, 2 * width), kernel.shape[:2]
    (top, bottom), (left, right) = lax.padtype_to_pads(size, window, (2, 2), "SAME")
    geometry = _Geometry(size, window, 2, ((top, bottom), (left, right)), 1)
    return _input_gradient(x, jnp.swapaxes(kernel, 2, 3), geometry)


# ---------------------------------------------------------------- the three maps and their derivatives


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _forward(x: Array, kernel: Array, geometry: _Geometry) -> Array:
    """x [B, H, W, C], kernel [kh, kw, C/groups, D] -> y [B, H', W', D]."""
    return _lower(_native_forward, x, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input_gradient(g: Array, kernel: Array, geometry: _Geometry) -> Array:
    """g [B, H', W', D], kernel [kh, kw, C/groups, D] -> [B, H, W, C], the adjoint of `_forward` in x."""
    return _lower(_native_input_gradient, g, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _weight_gradient(x: Array, g: Array, geometry: _Geometry) -> Array:
    """x [B, H, W, C], g [B, H', W', D] -> [kh, kw, C/groups, D], the adjoint of `_forward` in the kernel."""
    return _lower(_native_weight_gradient, x, g, geometry)


def _keep(function: Callable[..., Array]) -> Callable[..., tuple[Array, tuple[Array, Array]]]:
    return lambda a, b, geometry: (function(a, b, geometry), (a, b))


_forward.defvjp(
    _keep(_forward),
    lambda geometry, kept, c: (_input_gradient(c, kept[1], geometry), _weight_gradient(kept[0], c, geometry)),
)
_input_gradient.defvjp(
    _keep(_input_gradient),
    lambda geometry, kept, c: (_forward(c, kept[1], geometry), _weight_gradient(c, kept[0], geometry)),
)
_weight_gradient.defvjp(
    _keep(_weight_gradient),
    lambda geometry, kept, c: (_input_gradient(kept[1], c, geometry), _forward(kept[0], c, geometry)),
)


# ---------------------------------------------------------------- XLA's own forms


def _native_forward(x: Array, kernel: Array, geometry: _Geometry) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (geometry.stride, geometry.stride),
        geometry.padding,
        dimension_numbers=_LAYOUT,
        feature_group_count=geometry.groups,
    )


def _native_input_gradient(g: Array, kernel: Array, geometry: _Geometry) -> Array:
    channels = kernel.shape[2] * geometry.groups
    x = jax.ShapeDtypeStruct((g.shape[0], *geometry.size, channels), g.dtype)
    return jax.linear_transpose(lambda x: _native_forward(x, kernel, geometry), x)(g)[0]


def _native_weight_gradient(x: Array, g: Array, geometry: _Geometry) -> Array:
    shape = (*geometry.kernel, x.shape[-1] // geometry.groups, g.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(lambda kernel: _native_forward(x, kernel, geometry), kernel)(g)[0]
