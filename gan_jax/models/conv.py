"""Convolutions with one meaning and the lowering that suits each platform. Imports JAX, `rows`, `transformed`.

XLA is good at every convolution on TPU and GPU, and at most of them on CPU. The few that it
is slow at there are written in another, mathematically identical form, chosen when the
program is lowered, so that one program serves every platform. All functions take NHWC arrays
and HWIO kernels of one dtype.

The convolution, its input gradient and its weight gradient are three bilinear maps, and each
one's derivatives are the other two. Stating that here keeps derivatives of every order (gradient
penalties need the second) among these three. JAX's own rules would meet the weight gradient of a
transposed convolution, in an up-convolution and in the penalty of a strided one, in a form that
XLA runs 25 times slower on CPU. Derivatives are reverse mode; forward mode (`jax.jvp`) is not defined.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from gan_jax.models import rows, transformed

Padding = Literal["SAME", "VALID"]
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_any_batch = ContextVar("any_batch", default=False)


class _Geometry(NamedTuple):
    """What a convolution is, apart from its operands; hashable."""

    size: tuple[int, int]  # height and width of the side that is not strided
    kernel: tuple[int, int]
    stride: int
    padding: tuple[tuple[int, int], tuple[int, int]]
    groups: int
    any_batch: bool  # whether the form may not depend on the batch


@contextmanager
def same_for_any_batch() -> Iterator[None]:
    """Convolutions traced inside have one form whatever the batch, also a symbolic one: no transforms on CPU.

    For programs that draw and look: an exported one, whose batch is open, then gives the same bits.
    """
    token = _any_batch.set(True)
    try:
        yield
    finally:
        _any_batch.reset(token)


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
    if kernel.shape[:2] == (1, 1) and stride == 1 and groups == 1:
        return x @ kernel[0, 0]
    return _forward(x, kernel, _geometry(x.shape[1:3], kernel.shape[:2], stride, padding, groups))


def up_conv(x: Array, kernel: Array, stride: int = 2) -> Array:
    """Transposed convolution that multiplies height and width by the stride.

    It is the adjoint of `conv(_, kernel with its last two axes swapped, stride)`: what PyTorch and Keras
    call a transposed convolution, and `jax.lax.conv_transpose(..., "SAME", transpose_kernel=True)`.

    Args:
        x: [B, H, W, C]. Signals are one row, [B, 1, L, C], and stay one row under a kernel of one row: XLA's two-
            dimensional form is as quick on CPU as its own for signals, and quicker than products of shifted copies.
        kernel: [kh, kw, C, D].
        stride: 2 or more.

    Returns:
        [B, stride * H, stride * W, D].
    """
    height = 1 if x.shape[1] == kernel.shape[0] == 1 else stride * x.shape[1]
    geometry = _geometry((height, stride * x.shape[2]), kernel.shape[:2], stride, "SAME", 1)
    return _input_gradient(x, jnp.swapaxes(kernel, 2, 3), geometry)


def _geometry(size: Sequence[int], window: Sequence[int], stride: int, padding: Padding, groups: int) -> _Geometry:
    pads = lax.padtype_to_pads(size, window, (stride, stride), padding)
    return _Geometry((size[0], size[1]), (window[0], window[1]), stride, (pads[0], pads[1]), groups, _any_batch.get())


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


# ---------------------------------------------------------------- forms for CPU, and the choice


@partial(jax.jit, static_argnums=(0, 3), inline=True)  # traced once a shape, not once a layer
def _lower(native: Callable[..., Array], a: Array, b: Array, geometry: _Geometry) -> Array:
    """One of the three maps: XLA's form, except on CPU. The choice is made when the program is lowered."""

    @custom_vmap
    def on_cpu(a: Array, b: Array) -> Array:
        return _cpu_form(native, a, b, geometry)

    @on_cpu.def_vmap
    def _(size: int, batched: list[bool], a: Array, b: Array) -> tuple[Array, bool]:
        if not all(batched):  # XLA merges the new axis with the batch
            one = partial(_cpu_form, native, geometry=geometry)
            return jax.vmap(one, [0 if it else None for it in batched])(a, b), True
        # Many networks at once. XLA would make a grouped convolution of them, ten times slower on CPU.
        return jnp.stack([on_cpu(a[i], b[i]) for i in range(size)]), True

    return lax.platform_dependent(a, b, cpu=on_cpu, default=partial(native, geometry=geometry))


def _cpu_form(native: Callable[..., Array], a: Array, b: Array, geometry: _Geometry) -> Array:
    if geometry.groups > 1:
        # A dense convolution a group: XLA's grouped ones are 4 times slower, their weight gradients 100 times.
        pairs = zip(jnp.split(a, geometry.groups, -1), jnp.split(b, geometry.groups, -1), strict=True)
        one = geometry._replace(groups=1)
        return jnp.concatenate([_cpu_form(native, part_a, part_b, one) for part_a, part_b in pairs], -1)
    row = _row(geometry)
    if row is not None and native is _native_input_gradient:  # XLA is good at the other two
        return rows.input_gradient(a, b, row)
    plan = _plan(native, a, b, geometry)
    if plan is not None:
        return _TRANSFORMED[native](a, b, plan)
    return native(a, b, geometry)


_TRANSFORMED = {
    _native_forward: transformed.forward,
    _native_input_gradient: transformed.input_gradient,
    _native_weight_gradient: transformed.weight_gradient,
}


def _row(geometry: _Geometry) -> rows.Row | None:
    """A strided convolution of signals, or None."""
    if geometry.size[0] != 1 or geometry.kernel[0] != 1 or geometry.stride == 1:
        return None
    length, taps, (low, high) = geometry.size[1], geometry.kernel[1], geometry.padding[1]
    return rows.Row(length, taps, geometry.stride, low, (length + low + high - taps) // geometry.stride + 1)


def _plan(native: Callable[..., Array], a: Array, b: Array, geometry: _Geometry) -> transformed.Plan | None:
    """The transform to use, the same for the three maps of a layer, or None."""
    (height, width), (taps, across) = geometry.size, geometry.kernel
    square = height == width and taps == across and geometry.padding[0] == geometry.padding[1]
    exact = a.dtype == jnp.float32  # with fewer digits a transform loses too many
    if geometry.any_batch or not (square and exact and taps > 1 and geometry.stride <= 2):
        return None
    channels = b.shape[2] if native is not _native_weight_gradient else a.shape[3]
    low, high = geometry.padding[0]
    result = (height + low + high - taps) // geometry.stride + 1
    shape = transformed.Shape(height, result, taps, geometry.stride, low)
    return transformed.choose_plan(shape, len(a), channels, b.shape[3])
