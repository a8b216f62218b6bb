"""The traditional detector: gradient histograms, a linear SVM, a sliding window, hard negatives (Dalal & Triggs 2005).

Imports scikit-learn and this room.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from sklearn.svm import LinearSVC

from gan_jax.recognition.canvases import Canvas, Found, overlaps, suppressed
from gan_jax.recognition.features import histograms

_SIDES = (0.65, 0.85, 1.1)  # of the window, times the side of an object
_STEP = 4  # pixels from window to window
_NEGATIVES, _HARD = 5, 10  # windows without an object a canvas: at random, and the most misleading ones
_C = 0.1  # of the machine: what the table of baselines found best
_FREE = 0.3  # overlap with any object up to which a window counts as empty


def windows(side: int, size: int) -> np.ndarray:
    """All boxes that are looked at in a picture of `side` pixels for objects of `size`: float [n, 4]."""
    boxes = []
    for factor in _SIDES:
        window = round(size * factor)
        places = range(0, side - window + 1, _STEP)
        boxes += [(y, x, y + window, x + window) for y in places for x in places]
    return np.array(boxes, float)


def crops(image: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Parts of a picture uint8 [S, S, 1], resized: uint8 [n, size, size, 1]."""
    picture = Image.fromarray(image[..., 0])
    parts = [
        picture.resize((size, size), Image.Resampling.BILINEAR, box=(box[1], box[0], box[3], box[2])) for box in boxes
    ]
    return np.stack([np.asarray(part) for part in parts])[..., None]


def teach_windows(canvases: list[Canvas], classes: int, size: int, seed: int) -> Callable[[np.ndarray], list[Found]]:
    """Trains one linear machine a class against the others and empty windows, twice: once more with hard negatives.

    Args:
        canvases: labelled.
        classes: K; empty windows are one more.
        size: pixels a side of a crop, the objects' own.
        seed: of the random windows.

    Returns:
        A function from pictures uint8 [N, S, S, 1] to one `Found` each.
    """
    rng = np.random.default_rng(seed)
    grid = windows(canvases[0].image.shape[0], size)
    vectors, labels, empty = [], [], []
    for canvas in canvases:
        vectors.append(histograms(crops(canvas.image, canvas.boxes, size)))
        labels.append(canvas.labels)
        free = grid[overlaps(grid, canvas.boxes).max(axis=1) <= _FREE]
        empty.append(free)
        chosen = free[rng.permutation(len(free))[:_NEGATIVES]]
        vectors.append(histograms(crops(canvas.image, chosen, size)))
        labels.append(np.full(len(chosen), classes))
    machine = _fit(vectors, labels)
    for canvas, free in zip(canvases, empty, strict=True):
        some = free[rng.permutation(len(free))[: 4 * _HARD]]
        found = histograms(crops(canvas.image, some, size))
        worst = np.argsort(-machine.decision_function(found)[:, :classes].max(axis=1))[:_HARD]
        vectors.append(found[worst])
        labels.append(np.full(len(worst), classes))
    machine = _fit(vectors, labels)

    def detect(images: np.ndarray) -> list[Found]:
        return [_look(machine, image, grid, classes, size) for image in images]

    return detect


def _fit(vectors: list[np.ndarray], labels: list[np.ndarray]) -> LinearSVC:
    return LinearSVC(C=_C, random_state=0).fit(np.concatenate(vectors), np.concatenate(labels))


def _look(machine: LinearSVC, image: np.ndarray, grid: np.ndarray, classes: int, size: int) -> Found:
    scores = machine.decision_function(histograms(crops(image, grid, size)))
    margin = scores[:, :classes].max(axis=1) - scores[:, classes]
    labels = scores[:, :classes].argmax(axis=1)
    order = np.argsort(-margin)[:100]
    return suppressed(Found(grid[order], labels[order], margin[order]))
