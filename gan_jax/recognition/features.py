"""Images as one vector each: what a discriminator, the pixels or gradient histograms say of them.

Every describer is a function of images uint8 [N, H, W, C], or signals float32 [N, L, C], to float32 [N, F]. Imports
gan, runtime and errors.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from gan_jax.errors import InputError
from gan_jax.gan import Gan

Describe = Callable[[np.ndarray], np.ndarray]
_PART = 4_096  # images described at a time
DESCRIPTION = "rooted, moved by a pixel"  # of `trunk`, for what must be measured anew when it changes
POOL = 4  # places a side to which every stage is pooled, as Radford et al. 2016, section 5.1


def stages(gan: Gan) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Every stage of a discriminator, max-pooled to 4x4 (Radford et al. 2016, section 5.1): float32 [N, F] each."""

    def describe(images: np.ndarray) -> list[np.ndarray]:
        parts = [[_flat(maps) for maps in _look(gan, piece)] for piece in _pieces(images)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    return describe


def trunk(gan: Gan) -> Describe:
    """All stages of a discriminator side by side: those of images `rooted`, and averaged over moves by one pixel.

    What a place says then counts the same however bright it is, as with the blocks of gradient histograms, and the same
    a pixel further on. Those of signals, of which neither was tried, as they are.
    """

    def look(images: np.ndarray) -> np.ndarray:
        normalise = rooted if images.ndim == 4 else np.asarray
        return np.concatenate([_flat(normalise(maps)) for maps in _look(gan, images)], axis=1)

    def describe(images: np.ndarray) -> np.ndarray:
        see = averaged(look) if images.ndim == 4 else look
        return np.concatenate([see(piece) for piece in _pieces(images)])

    return describe


def rooted(maps: np.ndarray) -> np.ndarray:
    """Square roots of what is above 0, each place [..., C] then divided by its length.

    As gradient histograms are normalised (Dalal & Triggs 2005, section 6.4) and rooted (Arandjelovic & Zisserman 2012).

    Args:
        maps: float32 [N, H, W, C] or [N, L, C].
    """
    roots = np.sqrt(np.maximum(maps, 0))
    lengths = np.linalg.norm(roots, axis=-1, keepdims=True)
    common = lengths.mean(axis=tuple(range(1, maps.ndim)), keepdims=True)  # of the image: an empty place stays small
    found: np.ndarray = roots / (lengths + 0.01 * common + 1e-12)
    return found


def averaged(describe: Describe) -> Describe:
    """The mean of a description over images [N, H, W, C] as they are, and one pixel up, left, right and down."""

    def describe_all(images: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.stack([describe(moved) for moved in _moved(images)]).mean(axis=0, dtype=np.float32)
        return found

    return describe_all


def _moved(images: np.ndarray) -> list[np.ndarray]:
    """Images as they are, and moved by one pixel in four directions; borders are repeated."""
    height, width = images.shape[1:3]
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    return [wide[:, y : y + height, x : x + width] for y, x in ((1, 1), (0, 1), (1, 0), (1, 2), (2, 1))]


def _look(gan: Gan, images: np.ndarray) -> list[np.ndarray]:
    """Stages of images, uint8 or signals, float32 [N, h, w, C] each."""
    scaled = images.astype(np.float32) / 127.5 - 1 if images.ndim == 4 else images.astype(np.float32)
    named = gan.features(scaled, pool=POOL)
    return [array for name, array in named.items() if name.startswith("stage_")]


def _pieces(images: np.ndarray) -> list[np.ndarray]:
    """Parts of a set, of which whole sets of maps would not fit into memory."""
    return [images[start : start + _PART] for start in range(0, len(images), _PART)]


def _flat(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(len(maps), -1)  # [N, h, w, C] -> [N, F]


def pixels(images: np.ndarray) -> np.ndarray:
    """The pixels themselves, in [0, 1]; the samples of signals."""
    flat = images.reshape(len(images), -1).astype(np.float32)  # [N, H, W, C] -> [N, H * W * C]
    return flat / 255 if images.ndim == 4 else flat


def histograms(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal & Triggs 2005): 9 directions, blocks of 2x2 cells, about 7 cells a side.

    At 28x28 cells of 4x4 pixels and 1,296 numbers an image.

    Raises:
        InputError: scikit-image is missing.
    """
    hog = _hog()
    cell = max(2, round(min(images.shape[1:3]) / 7))
    axis = -1 if images.shape[-1] > 1 else None
    settings = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (2, 2), "channel_axis": axis}
    return np.stack([hog(image if axis else image[..., 0], **settings) for image in images]).astype(np.float32)


def _hog() -> Callable[..., np.ndarray]:
    try:
        from skimage.feature import hog
    except ImportError:
        raise InputError("histograms of gradients need scikit-image: pip install 'gan_jax[recognition]'") from None
    return hog


@dataclasses.dataclass(frozen=True, eq=False)
class Standardised:
    """Takes out the mean and the spread that features of some unlabelled images have.

    Attributes:
        mean: float32 [F].
        spread: float32 [F], above 0.
    """

    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def to(cls, features: np.ndarray) -> "Standardised":
        """By features [N, F]."""
        spread = features.std(axis=0, dtype=np.float64)
        spread += 1e-3 * spread.mean() + 1e-8  # or what hardly ever varies would rule
        return cls(features.mean(axis=0, dtype=np.float64).astype(np.float32), spread.astype(np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Standardised features [N, F], float32."""
        return (features - self.mean) / self.spread
