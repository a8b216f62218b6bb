"""Per-example moves of images as products, rolls and selections, never as gathers. Imports JAX only.

Gathers of another place for each example are slow on TPUs and their gradients are scatters; all of
these are linear maps of the image that accelerators and CPUs run as matrix products or as copies.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax


def resample(images: Array, rows: Array, columns: Array) -> Array:
    """Reads every example at places of its own, linearly interpolated; zeros outside.

    Args:
        images: [B, H, W, C].
        rows: float32 [B, H'], where each row of the result comes from; 0 is the first row, H - 1 the last.
        columns: float32 [B, W'], the same for columns.

    Returns:
        [B, H', W', C]. Whole-numbered places copy pixels exactly.
    """

    def weights(places: Array, size: int) -> Array:  # [B, N'] -> [B, N', N], the hat function of each place
        return jax.nn.relu(1 - jnp.abs(places[:, :, None] - jnp.arange(size)))

    exact = lax.Precision.HIGHEST  # bfloat16 products would cost pixels their low bits
    _, height, width, _ = images.shape
    images = jnp.einsum("bih,bhwc->biwc", weights(rows, height), images, precision=exact)
    return jnp.einsum("bjw,biwc->bijc", weights(columns, width), images, precision=exact)


def reflected(places: Array, size: int) -> Array:
    """Places outside 0..size - 1 mirrored back at the borders, whose pixels are not repeated."""
    period = 2 * (size - 1)
    folded = jnp.mod(places, period)
    return jnp.minimum(folded, period - folded)


def cut_out(images: Array, rows: Array, columns: Array, size: tuple[int, int], chosen: Array) -> Array:
    """Zeros a rectangle of each chosen example.

    Args:
        images: [B, H, W, C].
        rows: int32 [B], first row of the rectangle; it may reach over the border.
        columns: int32 [B], first column.
        size: height and width of the rectangle.
        chosen: bool [B].
    """

    def inside(starts: Array, length: int, extent: int) -> Array:  # [B] -> [B, extent]
        offset = jnp.arange(extent) - starts[:, None]
        return (offset >= 0) & (offset < length)

    _, height, width, _ = images.shape
    hole = inside(rows, size[0], height)[:, :, None] & inside(columns, size[1], width)[:, None] & chosen[:, None, None]
    return jnp.where(hole[..., None], 0, images)


def quarter_turns(images: Array, turns: Array) -> Array:
    """Turns each square image [B, S, S, C] counter-clockwise by 90 degrees times `turns`, int32 [B] in 0..3."""
    wide = turns[:, None, None, None]
    images = jnp.where(wide % 2 == 1, jnp.swapaxes(images, 1, 2), images)
    images = jnp.where((wide == 1) | (wide == 2), images[:, ::-1], images)
    return jnp.where(wide >= 2, images[:, :, ::-1], images)


def rotate(images: Array, angles: Array) -> Array:
    """Turns each square image counter-clockwise about its centre; what comes in is mirrored at the borders.

    Quarter turns, then three shears (Paeth 1986) of the remaining eighth of a turn at most.

    Args:
        images: [B, S, S, C].
        angles: float32 [B], radians; 0 leaves an image exactly as it is.
    """
    turns = jnp.round(angles / (jnp.pi / 2))
    rest = angles - turns * (jnp.pi / 2)
    images = quarter_turns(images, turns.astype(jnp.int32) % 4)
    size = images.shape[1]
    margin = math.ceil(math.tan(math.pi / 8) * size / 2) + 1  # the shears carry no pixel of the result further out
    around = [(0, 0), (margin, margin), (margin, margin), (0, 0)]
    canvas = jnp.pad(images, around, mode="reflect")
    slope = -jnp.tan(rest / 2)
    canvas = _shear(_shear(_shear(canvas, slope, 2), jnp.sin(rest), 1), slope, 2)
    return canvas[:, margin : margin + size, margin : margin + size]


def _shear(images: Array, slopes: Array, axis: int) -> Array:
    """Shifts lines along `axis` (1 or 2) by slope times their distance from the centre, linearly interpolated.

    A line is shifted by whole pixels bit by bit, so that every example and line can have its own shift; it wraps.
    """
    extent, lines = images.shape[axis], images.shape[3 - axis]
    shift = slopes[:, None] * (jnp.arange(lines) - (lines - 1) / 2)  # [B, lines]
    shift = shift[:, :, None, None] if axis == 2 else shift[:, None, :, None]
    whole = jnp.floor(shift)
    steps = whole.astype(jnp.int32) % extent
    for bit in range((extent - 1).bit_length()):
        images = jnp.where((steps >> bit) & 1 == 1, jnp.roll(images, -(1 << bit), axis), images)
    share = shift - whole
    return (1 - share) * images + share * jnp.roll(images, -1, axis)
