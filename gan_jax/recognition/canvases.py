"""Pictures with several objects, whose places are known by construction, and how well places were found.

Imports Pillow only.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

_SCALES = (0.6, 1.2)  # of an object, times its own size
_OVERLAP = 0.3  # intersection over union of two objects, at most
_CLUTTER, _CROP, _NOISE = 6, 7, 0.05  # pieces of other images a canvas, their side, standard deviation of the noise


class Canvas(NamedTuple):
    """One picture.

    Attributes:
        image: uint8 [S, S, 1].
        boxes: float32 [n, 4], (top, left, bottom, right) in pixels, squares.
        labels: int32 [n].
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


class Found(NamedTuple):
    """What a detector says of one picture: boxes float [m, 4], labels int [m], scores [m]."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def make_canvases(images: np.ndarray, labels: np.ndarray, count: int, seed: int, side: int = 64) -> list[Canvas]:
    """Canvases of 1 to 3 objects over clutter and noise.

    Args:
        images: uint8 [N, H, H, 1], bright objects on black.
        labels: int [N].
        count: canvases.
        seed: of everything.
        side: pixels a side, S.
    """
    rng = np.random.default_rng(seed)
    return [_canvas(images, labels, rng, side) for _ in range(count)]


def _canvas(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, side: int) -> Canvas:
    picture = np.zeros((side, side), np.float32)
    crop = min(_CROP, images.shape[1] // 2)
    for _ in range(_CLUTTER):
        piece = images[rng.integers(len(images)), ..., 0]
        top, left = rng.integers(0, piece.shape[0] - crop + 1, 2)
        y, x = rng.integers(0, side - crop + 1, 2)
        patch = picture[y : y + crop, x : x + crop]
        np.maximum(patch, piece[top : top + crop, left : left + crop], out=patch)
    boxes: list[tuple[float, ...]] = []
    kinds: list[int] = []
    for _ in range(rng.integers(1, 4)):
        row = rng.integers(len(images))
        size = round(images.shape[1] * rng.uniform(*_SCALES))
        for _attempt in range(20):
            y, x = rng.integers(0, side - size + 1, 2)
            box = (y, x, y + size, x + size)
            if not boxes or overlaps(np.array([box], float), np.array(boxes)).max() <= _OVERLAP:
                break
        else:
            continue
        item = np.asarray(Image.fromarray(images[row, ..., 0]).resize((size, size), Image.Resampling.BILINEAR))
        patch = picture[y : y + size, x : x + size]
        np.maximum(patch, item, out=patch)
        boxes.append(box)
        kinds.append(int(labels[row]))
    picture += rng.normal(0, 255 * _NOISE, picture.shape)
    image = picture.clip(0, 255).round().astype(np.uint8)[..., None]
    return Canvas(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.int32))


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [n, 4] and [m, 4]: [n, m]."""
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    inner = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - corner, 0).prod(axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b)]
    return inner / (areas[0][:, None] + areas[1][None] - inner)


def suppressed(found: Found, overlap: float = _OVERLAP) -> Found:
    """Without boxes that overlap a surer one, of whatever class, by more than that."""
    kept: list[int] = []
    for row in np.argsort(-found.scores):
        if not kept or overlaps(found.boxes[row : row + 1], found.boxes[kept]).max() <= overlap:
            kept.append(row)
    return Found(*(array[kept] for array in found))


def mean_precision(canvases: list[Canvas], found: list[Found], classes: int, overlap: float = 0.5) -> float:
    """Mean over the classes of the area under precision against recall, percent (Everingham et al. 2015, all points).

    A box counts if its class is right and it overlaps an object, that no surer box took, by at least `overlap`.
    Classes without an object are left out.
    """
    areas = []
    for label in range(classes):
        total = sum(int(np.sum(canvas.labels == label)) for canvas in canvases)
        if total:
            areas.append(_area(_judged(canvases, found, label, overlap), total))
    return float(100 * np.mean(areas))


def _judged(canvases: list[Canvas], found: list[Found], label: int, overlap: float) -> np.ndarray:
    """Whether each box of a class is right, surest first."""
    scores, right = [], []
    for canvas, boxes in zip(canvases, found, strict=True):
        objects = canvas.boxes[canvas.labels == label]
        taken = np.zeros(len(objects), bool)
        rows = np.flatnonzero(boxes.labels == label)
        for row in rows[np.argsort(-boxes.scores[rows])]:
            near = overlaps(boxes.boxes[row : row + 1], objects)[0] if len(objects) else np.zeros(0)
            near = np.where(taken, 0, near)
            hit = bool(len(near) and near.max() >= overlap)
            if hit:
                taken[near.argmax()] = True
            scores.append(boxes.scores[row])
            right.append(hit)
    return np.array(right, bool)[np.argsort(-np.array(scores), kind="stable")] if scores else np.zeros(0, bool)


def _area(right: np.ndarray, total: int) -> float:
    if not len(right):
        return 0.0
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(precision[right]) / total)
