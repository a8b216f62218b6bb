"""Pictures of samples: grids of images, clouds of points, waves, words. Pure functions; imports errors and traces."""

import io
import math

import numpy as np
from PIL import Image, ImageDraw

from gan_jax.errors import InputError
from gan_jax.runtime.traces import is_text, spell, text_page, tiles

_LEAST_SIDE = 48  # pixels of an image in a grid; smaller ones are enlarged, or nobody could see an 8x8 digit
_LINE = 2  # pixels between images
_GREY = 128  # of the lines: seen on black and on white


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Values of [-1, 1] as bytes: -1 is 0, 1 is 255, others are clipped; NaN is 0. Bytes stay as they are."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    scaled = np.nan_to_num((images.astype(np.float32) + 1) * 127.5, nan=0.0)
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Lays images out in rows, with grey lines around them, each pixel enlarged if they are small.

    Args:
        images: [N, H, W, C], C = 1 or 3, float in [-1, 1] or uint8.
        columns: images in a row; None = as near to a square as can be.

    Returns:
        uint8 [rows * (k * H + 2) + 2, columns * (k * W + 2) + 2, C], k the enlargement.

    Raises:
        InputError: no images, or of another shape.
    """
    if np.ndim(images) != 4 or np.shape(images)[-1] not in (1, 3) or not np.size(images):
        raise InputError(f"a grid needs images [N, H, W, 1 or 3], at least one, not {list(np.shape(images))}")
    count, height, width, channels = np.shape(images)
    factor = max(1, math.ceil(_LEAST_SIDE / max(height, width)))
    tiles = to_uint8(images).repeat(factor, axis=1).repeat(factor, axis=2)
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    step_y, step_x = height * factor + _LINE, width * factor + _LINE
    grid = np.full((rows * step_y + _LINE, columns * step_x + _LINE, channels), _GREY, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * step_y + _LINE, index % columns * step_x + _LINE
        grid[top : top + height * factor, left : left + width * factor] = tile
    return grid


def scatter(points: np.ndarray, reference: np.ndarray | None = None, size: int = 448) -> np.ndarray:
    """Draws points of the plane, y upwards, about the origin; the axes are grey lines.

    Args:
        points: float [N, 2], drawn in blue; those that are not finite are left out.
        reference: float [M, 2] drawn in grey beneath (the data); it sets the scale if given.
        size: pixels a side.

    Returns:
        uint8 [size, size, 3].

    Raises:
        InputError: `points` have another shape.
    """
    if np.ndim(points) != 2 or np.shape(points)[1] != 2:
        raise InputError(f"a scatter plot needs points [N, 2], not {list(np.shape(points))}")
    frame = np.asarray(points if reference is None else reference, np.float64)
    extent = 1.15 * np.abs(frame[np.isfinite(frame)]).max(initial=1e-3)
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    draw.line((size / 2, 0, size / 2, size), fill=(225, 225, 225))
    draw.line((0, size / 2, size, size / 2), fill=(225, 225, 225))
    for cloud, colour, radius in ((reference, (170, 170, 170), 1.5), (points, (31, 90, 200), 1.5)):
        if cloud is None:
            continue
        places = np.asarray(cloud, np.float64)
        places = places[np.isfinite(places).all(1) & (np.abs(places) <= extent).all(1)]
        for x, y in (1 + places * (1, -1) / extent) * size / 2:  # plane -> pixels, y upwards
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return np.asarray(picture)


def draw_picture(samples: np.ndarray) -> np.ndarray:
    """A picture of samples, ready for Pillow.

    A grid of images [N, H, W, C], of waves and spectrograms of signals [N, L, C], words in columns, or points [N, 2].

    Returns:
        uint8 [height, width] if it is grey, else [height, width, 3].

    Raises:
        InputError: none of these.
    """
    match np.ndim(samples):
        case 4:
            picture = image_grid(samples)
        case 3:
            picture = text_page(spell(samples)) if is_text(samples) else image_grid(tiles(samples))
        case _:
            picture = scatter(samples)
    return picture[..., 0] if picture.shape[-1] == 1 else picture


def as_data(samples: np.ndarray) -> np.ndarray:
    """Samples as the real examples are: images as bytes, signals in [-1, 1], points as they are."""
    samples = np.asarray(samples)
    if samples.ndim == 4:
        return to_uint8(samples)
    return np.clip(np.nan_to_num(samples), -1, 1) if samples.ndim == 3 else samples


def to_png(picture: np.ndarray) -> bytes:
    """A uint8 picture [height, width] or [height, width, 3] as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
