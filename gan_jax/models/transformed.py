"""Convolution by transforms, for CPU: fewer products for the same three bilinear maps. Imports JAX and NumPy only.

A correlation of a tile of e x e pixels with t x t taps, with m x m results, can be written

    y = C^T [(A k) * (B x)]        A [R, t*t], B [R, e*e], C [R, m*m]

with R products in place of m*m * t*t. Over channels every product is one of matrices, [B, C] x [C, D], and the
transforms are matrix products, too. The gradients are its two adjoints and use the same three matrices; XLA computes a
transform that two maps share once. Two families of matrices: Toom and Cook's on small tiles (Lavin & Gray 2016), and
the discrete Fourier transform of a whole small image, a complex product done in three real ones, whose rounding
stays small at any size. A convolution of stride 2 is one of stride 1 with four times the channels, by parity of row
and column.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_LARGEST_IMAGE = 8  # side of the largest image that is one tile
_TILES = (2, 4)  # results of a Toom-Cook tile along an axis
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)  # its points, and infinity; with more of them digits are lost
_COUNTS = (2, 3, 5)  # of them; 4 lie lopsided around 0 and lose digits
# Costs in operations of a large matrix product: an operation of a transform, one of XLA's convolution, a number moved.
_TRANSFORM, _NATIVE, _MOVE = 1.6, 1.35, 25.0
_WORTH = 0.8  # share of XLA's estimated cost below which whole steps were measured to gain, see docs/performance.md


class Shape(NamedTuple):
    """A square convolution of square images; hashable."""

    image: int  # side of the images
    result: int  # side of the results
    taps: int  # side of the kernel
    stride: int  # 1 or 2
    low: int  # zeros before the first row


class Plan(NamedTuple):
    """How to compute one, as stride 1, each axis like the other; the three matrices as above."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    shape: Shape
    results: int  # m, results of a tile along an axis
    pixels: int  # e, pixels of a tile along an axis
    tiles: int  # along an axis
    low: int  # zeros before the first pixel, after the split by parity
    lead: int  # zeros before the first tap, before that split


# ---------------------------------------------------------------- the three maps


def forward(x: Array, kernel: Array, plan: Plan) -> Array:
    """x [B, H, H, C], kernel [t, t, C, D] -> y [B, H', H', D]."""
    y = jnp.einsum("rbc,rcd->rbd", _pixel_side(x, plan), _tap_side(kernel, plan))
    return _from_tiles(jnp.einsum("rq,rbd->qbd", plan.c, y), len(x), plan)


def input_gradient(g: Array, kernel: Array, plan: Plan) -> Array:
    """g [B, H', H', D], kernel [t, t, C, D] -> [B, H, H, C]: the adjoint of `forward` in x."""
    x = jax.ShapeDtypeStruct((len(g), plan.shape.image, plan.shape.image, kernel.shape[2]), g.dtype)
    z = jnp.einsum("rbd,rcd->rbc", _result_side(g, plan), _tap_side(kernel, plan))
    z = jnp.einsum("rp,rbc->pbc", plan.b, z)
    return jax.linear_transpose(lambda x: _by_parity(x, plan), x)(_add_tiles(z, len(g), plan))[0]


def weight_gradient(x: Array, g: Array, plan: Plan) -> Array:
    """x [B, H, H, C], g [B, H', H', D] -> [t, t, C, D]: the adjoint of `forward` in the kernel."""
    kernel = jax.ShapeDtypeStruct((plan.shape.taps, plan.shape.taps, x.shape[3], g.shape[3]), x.dtype)
    z = jnp.einsum("rbc,rbd->rcd", _pixel_side(x, plan), _result_side(g, plan))
    z = jnp.einsum("rt,rcd->tcd", plan.a, z)
    return jax.linear_transpose(lambda kernel: _to_taps(kernel, plan), kernel)(z)[0]


def _pixel_side(x: Array, plan: Plan) -> Array:
    """[B, H, H, C] -> [R, B T T, C]."""
    return jnp.einsum("rp,pbc->rbc", plan.b, _to_tiles(x, plan))


def _tap_side(kernel: Array, plan: Plan) -> Array:
    """[t, t, C, D] -> [R, C, D]."""
    return jnp.einsum("rt,tcd->rcd", plan.a, _to_taps(kernel, plan))


def _result_side(g: Array, plan: Plan) -> Array:
    """[B, H', H', D] -> [R, B T T, D]."""
    size = (plan.results**2, len(g) * plan.tiles**2, g.shape[3])
    place = functools.partial(_from_tiles, batch=len(g), plan=plan)
    return jnp.einsum("rq,qbd->rbd", plan.c, jax.linear_transpose(place, jax.ShapeDtypeStruct(size, g.dtype))(g)[0])


# ---------------------------------------------------------------- into tiles and out of them


def _by_parity(x: Array, plan: Plan) -> Array:
    """[B, H, H, C] -> [B, n, n, C] with the zeros outside, and with four times the channels if the stride is 2."""
    batch, size, stride = len(x), plan.shape.image, plan.shape.stride
    low = plan.shape.low + plan.lead
    whole = plan.tiles == 1 and plan.low > 0 and plan.pixels * stride == size  # one tile; its zeros are implied
    if not whole:
        rows = plan.pixels if plan.tiles == 1 else (plan.tiles - 1 + _parts(plan)) * plan.results
        edge = (low, rows * stride - low - size, 0)
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), edge, edge, (0, 0, 0)))
    if stride == 2:
        half, channels = x.shape[1] // 2, x.shape[3]
        x = x.reshape(batch, half, 2, half, 2, channels).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch, half, half, 4 * channels)  # [B, h, w, 2, 2, C] -> [B, h, w, 4 C]
    return x


def _to_tiles(x: Array, plan: Plan) -> Array:
    """[B, H, H, C] -> [e e, B T T, C], with four times the channels if the stride is 2."""
    x, reach = _by_parity(x, plan), plan.pixels
    if plan.tiles == 1:
        places = x.transpose(1, 2, 0, 3)  # -> [e, e, B, C]
    else:
        ends, step = (plan.tiles - 1) * plan.results + 1, plan.results
        places = jnp.stack(
            [x[:, i : i + ends : step, j : j + ends : step] for i in range(reach) for j in range(reach)]
        )  # [e e, B, T, T, C]
    return places.reshape(reach * reach, len(x) * plan.tiles**2, -1)


def _add_tiles(z: Array, batch: int, plan: Plan) -> Array:
    """[e e, B T T, C] -> [B, n, n, C]: the adjoint of cutting into tiles, in few large sums."""
    reach, step, count, parts = plan.pixels, plan.results, plan.tiles, _parts(plan)
    z = z.reshape(reach, reach, batch, count, count, -1)
    if count == 1:
        return z.transpose(2, 0, 3, 1, 4, 5).reshape(batch, reach, reach, -1)  # [e, e, B, 1, 1, C] -> [B, e, e, C]
    zero, total = jnp.zeros((), z.dtype), jnp.zeros((), z.dtype)
    for row in range(parts):
        for column in range(parts):
            block = z[row * step : (row + 1) * step, column * step : (column + 1) * step]
            block = jax.lax.pad(block, zero, (*((0, step - size, 0) for size in block.shape[:2]), *((0, 0, 0),) * 4))
            block = block.transpose(2, 3, 0, 4, 1, 5)  # [m, m, B, T, T, C] -> [B, T, m, T, m, C]
            block = block.reshape(batch, count * step, count * step, -1)
            edges = ((part * step, (parts - 1 - part) * step, 0) for part in (row, column))
            total += jax.lax.pad(block, zero, ((0, 0, 0), *edges, (0, 0, 0)))
    return total


def _parts(plan: Plan) -> int:
    """How many tiles a pixel may lie in along an axis."""
    return -(-plan.pixels // plan.results)


def _from_tiles(y: Array, batch: int, plan: Plan) -> Array:
    """[m m, B T T, D] -> [B, H', H', D]."""
    m, count, size = plan.results, plan.tiles, plan.shape.result
    y = y.reshape(m, m, batch, count, count, -1).transpose(2, 3, 0, 4, 1, 5)  # -> [B, T, m, T, m, D]
    return y.reshape(batch, count * m, count * m, -1)[:, :size, :size]


def _to_taps(kernel: Array, plan: Plan) -> Array:
    """[t, t, C, D] -> [t t, C, D], by parity with four times the channels if the stride is 2."""
    taps, stride = plan.shape.taps, plan.shape.stride
    _, _, channels, features = kernel.shape
    if stride == 1:
        return kernel.reshape(taps * taps, channels, features)
    half = (taps + plan.lead + 1) // 2
    edge = (plan.lead, 2 * half - taps - plan.lead, 0)
    kernel = jax.lax.pad(kernel, jnp.zeros((), kernel.dtype), (edge, edge, (0, 0, 0), (0, 0, 0)))
    kernel = kernel.reshape(half, 2, half, 2, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(half * half, 4 * channels, features)  # [h, w, 2, 2, C, D] -> [h w, 4 C, D]


# ---------------------------------------------------------------- which matrices


def choose_plan(shape: Shape, batch: int, channels: int, features: int) -> Plan | None:
    """The plan for float32 on a CPU, or None where XLA's own convolution is likely to be as quick."""
    plan, share = cheapest_plan(shape, batch, channels, features)
    return plan if share < _WORTH else None


def cheapest_plan(shape: Shape, batch: int, channels: int, features: int) -> tuple[Plan | None, float]:
    """The cheapest plan, if any fits, and its cost as a share of XLA's, by a rough count of work and memory."""
    native = _NATIVE * 2 * batch * (shape.result * shape.taps) ** 2 * channels * features
    plans = {_cost(plan, batch, channels, features): plan for plan in _plans(shape)}
    best = min(plans, default=math.inf)
    return plans.get(best), best / native


def _cost(plan: Plan, batch: int, channels: int, features: int) -> float:
    """In operations of a large matrix product, roughly."""
    products, taps = plan.a.shape
    places, channels = batch * plan.tiles**2, channels * plan.shape.stride**2
    sides = ((places * channels, plan.pixels**2), (channels * features, taps), (places * features, plan.results**2))
    transforms = sum(2 * count * size * products for count, size in sides)
    moved = sum(2 * count * (size + products) for count, size in sides)
    return 2 * products * places * channels * features + _TRANSFORM * transforms + _MOVE * moved


@functools.lru_cache(maxsize=256)
def _plans(shape: Shape) -> tuple[Plan, ...]:
    lead, low, taps, size = 0, shape.low, shape.taps, shape.image
    if shape.stride == 2:
        # A zero tap in front keeps parities of pixels and taps together, unless it makes the kernel longer.
        lead = low % 2 if (taps + low % 2 + 1) // 2 == (taps + 1) // 2 else 0
        low, taps, size = (low + lead) // 2 if (low + lead) % 2 == 0 else 0, (taps + lead + 1) // 2, (size + 1) // 2
    found = []
    if low and shape.image % shape.stride == 0 and shape.result <= _LARGEST_IMAGE and size <= _LARGEST_IMAGE:
        length = max(size + low, shape.result + taps - 1 - low)
        found.append(Plan(*_fourier(length, size, taps, shape.result, low), shape, shape.result, size, 1, low, lead))
    for results in _TILES:
        if results + taps - 2 in _COUNTS:
            tiles = -(-shape.result // results)
            a, b, c = (np.kron(one, one) for one in _toom_cook(results, taps))
            found.append(Plan(a, b, c, shape, results, results + taps - 1, tiles, low, lead))
    return tuple(found)


def _toom_cook(results: int, taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, B and C along one axis: the transpose of multiplying polynomials by their values at points."""
    count = results + taps - 1
    points = np.array(_POINTS[: count - 1])

    def values(degree: int) -> np.ndarray:
        """Of 1, p, p^2, ... below `degree` at the points, and the leading coefficient: infinity."""
        return np.vstack([points[:, None] ** np.arange(degree), np.eye(degree)[-1:]])

    scale = np.abs(values(count)).max(1, keepdims=True)  # of the points, taken from one side to the other
    a, b, c = values(taps), np.linalg.inv(values(count)).T, values(results)
    return (a / scale).astype(np.float32), (b * scale).astype(np.float32), c.astype(np.float32)


def _fourier(length: int, pixels: int, taps: int, results: int, low: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, B and C of a whole image by a circular transform that is long enough for its implied zeros."""
    root = np.exp(-2j * np.pi / length)

    def wave(u: int, v: int, places: np.ndarray) -> np.ndarray:
        return np.outer(root ** (u * places), root ** (v * places)).ravel()

    a: list[np.ndarray] = []
    b: list[np.ndarray] = []
    c: list[np.ndarray] = []
    for u in range(length):
        for v in range(length):
            mirror = (-u % length, -v % length)
            if mirror < (u, v):
                continue  # of real images, the conjugate of one that was taken
            k, x, y = (
                wave(-u, -v, np.arange(taps) - low),
                wave(u, v, np.arange(pixels)),
                wave(-u, -v, np.arange(results)),
            )
            y = y / length**2
            if mirror == (u, v):
                a, b, c = [*a, k.real], [*b, x.real], [*c, y.real]
                continue
            # (x + ix')(k + ik') = p - r + i (p + q), p = (x + x')k, q = x(k' - k), r = x'(k + k'); twice the real part.
            a += [k.real, k.imag - k.real, k.real + k.imag]
            b += [x.real + x.imag, x.real, x.imag]
            c += [2 * (y.real - y.imag), -2 * y.imag, -2 * y.real]
    return np.array(a, np.float32), np.array(b, np.float32), np.array(c, np.float32)
