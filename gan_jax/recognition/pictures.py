"""Pictures of a classifier: its confusions, and images beside their nearest neighbours. Imports metrics, runtime."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan_jax.metrics.pairwise import nearest, shift_of, shifted
from gan_jax.runtime.pictures import image_grid
from gan_jax.runtime.traces import tiles

_CELL, _MARGIN, _TEXT = 44, 140, 14  # pixels
_FULL = np.array([11, 98, 196])  # colour of a whole row in one cell


def confusion(true: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """How many images of class i (rows) were called class j (columns), int64 [K, K]."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (true, said), 1)
    return table


def draw_confusion(table: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """A picture uint8 [H, W, 3]: true classes downwards, answers across, darker the larger the share of the row."""
    count = len(table)
    picture = Image.new("RGB", (_MARGIN + count * _CELL + 10, _MARGIN + count * _CELL + 10), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_TEXT)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    for row in range(count):
        draw.text((6, _MARGIN + row * _CELL + _CELL // 3), class_names[row][:18], fill="black", font=font)
        head = Image.new("RGB", (_MARGIN - 10, _TEXT + 4), "white")  # written upwards
        ImageDraw.Draw(head).text((0, 0), class_names[row][:18], fill="black", font=font)
        picture.paste(head.rotate(90, expand=True), (_MARGIN + row * _CELL + _CELL // 3, 5))
        for column in range(count):
            left, top = _MARGIN + column * _CELL, _MARGIN + row * _CELL
            share = shares[row, column]
            shade = tuple(int(part) for part in share * _FULL + (1 - share) * 255)
            draw.rectangle((left, top, left + _CELL - 2, top + _CELL - 2), fill=shade)
            ink = "white" if share > 0.5 else "black"
            draw.text((left + 6, top + _CELL // 3), str(table[row, column]), fill=ink, font=font)
    return np.asarray(picture)


def draw_neighbours(
    images: np.ndarray, vectors: np.ndarray, known: np.ndarray, known_vectors: np.ndarray, columns: int = 8
) -> np.ndarray:
    """Images in the left column, and in each row the known images nearest by their vectors, nearest first.

    Args:
        images: uint8 [N, H, W, C], or signals float [N, L, C].
        vectors: of them, float [N, F].
        known: the same, [M, ...].
        known_vectors: of them, [M, F].
        columns: neighbours a row.

    Returns:
        uint8 [height, width, C], see `image_grid`.
    """
    shift = shift_of(known_vectors)
    _, found = nearest(shifted(vectors, shift), shifted(known_vectors, shift), min(columns, len(known)))
    rows = np.concatenate([images[:, None], known[found]], axis=1)  # [N, 1 + columns, H, W, C]
    flat = rows.reshape(-1, *images.shape[1:])  # [N, 1 + columns, ...] -> [N * .., ...]
    return image_grid(flat if images.ndim == 4 else tiles(flat), rows.shape[1])
