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
POOL = 4  # places a side to which every stage is pooled, as Radford et al. 2016, section 5.1


def stages(gan: Gan) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Every stage of a discriminator, max-pooled to 4x4 (Radford et al. 2016, section 5.1): float32 [N, F] each."""

    def describe(images: np.ndarray) -> list[np.ndarray]:
        parts: list[list[np.ndarray]] = []
        for start in range(0, len(images), _PART):  # whole sets of maps would not fit into memory
            piece = images[start : start + _PART].astype(np.float32)
            piece = piece / 127.5 - 1 if images.ndim == 4 else piece
            named = gan.features(piece, pool=POOL)
            maps = [array for name, array in named.items() if name.startswith("stage_")]
            parts.append([array.reshape(len(piece), -1) for array in maps])  # [N, h, w, C] -> [N, F]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    return describe


def trunk(gan: Gan) -> Describe:
    """All `stages` of a discriminator side by side."""
    describe = stages(gan)
    return lambda images: np.concatenate(describe(images), axis=1)


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
