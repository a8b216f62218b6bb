"""Toy sets whose modes can be counted: ring of 8, grid of 25, stacked images with 1,000. Imports arrays.

Sizes and figures are those of PacGAN (Lin, Khetan, Fanti and Oh, NeurIPS 2018, section 4), which follows
VEEGAN (Srivastava et al., NeurIPS 2017).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gan_jax.data.arrays import ArraySource
from gan_jax.errors import InputError

POINTS = {"train": 100_000, "test": 10_000}
STACKS = {"train": 128_000, "test": 26_000}
STREAM = {"train": 0, "test": 1}  # each split draws from its own random stream


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ToySource(ArraySource):
    """Points of a mixture of equally likely Gaussians in the plane; the label is the component.

    Attributes:
        centers: float32 [K, 2], the means.
        std: standard deviation of every component along both axes.
    """

    centers: np.ndarray
    std: float


def load_ring(split: str, seed: int) -> ToySource:
    """8 Gaussians of standard deviation 0.01, evenly spaced on the unit circle."""
    angles = np.arange(8) * (2 * np.pi / 8)
    return _mixture(np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.01, split, seed)


def load_grid(split: str, seed: int) -> ToySource:
    """25 Gaussians of standard deviation 0.05, centred on {-4, -2, 0, 2, 4} x {-4, -2, 0, 2, 4}."""
    line = np.arange(-4.0, 5.0, 2.0)
    return _mixture(np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(25, 2), 0.05, split, seed)


def _mixture(centers: np.ndarray, std: float, split: str, seed: int) -> ToySource:
    random = np.random.default_rng([seed, STREAM[split]])
    labels = random.integers(len(centers), size=POINTS[split])
    points = centers[labels] + std * random.standard_normal((len(labels), 2))
    return ToySource(
        arrays={"image": points.astype(np.float32), "label": labels.astype(np.int32)},
        num_classes=len(centers),
        class_names=tuple(str(number) for number in range(len(centers))),
        centers=centers.astype(np.float32),
        std=std,
    )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StackedSource(ArraySource):
    """Triples of grey images as RGB, composed when they are read.

    `arrays` holds the grey images [N, H, W, 1], their labels [N] and the table int32 [M, 3] of triples.
    The label of a triple of classes a, b, c is 100 a + 10 b + c.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        height, width, _ = self.arrays["image"].shape[1:]
        return height, width, 3

    def __len__(self) -> int:
        return len(self.arrays["table"])

    def part(self, rows: np.ndarray) -> Self:
        """The triples at rows int64 [N]; the grey images are shared."""
        return dataclasses.replace(self, arrays={**self.arrays, "table": self.arrays["table"][rows]})

    @staticmethod
    def gather(arrays: Mapping[str, Any], indices: Any) -> dict[str, Any]:
        """Composes examples by index, see `ArraySource.gather`."""
        triples = arrays["table"][indices]  # [..., 3]
        images = arrays["image"][triples][..., 0]  # [..., 3, H, W]
        labels = arrays["label"][triples]  # [..., 3]
        return {
            "image": images.swapaxes(-3, -2).swapaxes(-2, -1),  # [..., 3, H, W] -> [..., H, W, 3]
            "label": labels[..., 0] * 100 + labels[..., 1] * 10 + labels[..., 2],
        }


def load_stacked(base: ArraySource, split: str, seed: int) -> StackedSource:
    """Three random images of a set of ten classes, as the channels of one: 1,000 modes.

    Args:
        base: grey images of ten classes, of the same split.
        split: "train" or "test".
        seed: of the draw.

    Raises:
        InputError: the base set has not ten classes.
    """
    if base.num_classes != 10:
        raise InputError(f"config.data.path: stacked needs a set of 10 classes, this one has {base.num_classes}")
    random = np.random.default_rng([seed, STREAM[split]])
    table = random.integers(len(base), size=(STACKS[split], 3), dtype=np.int32)
    names = tuple(f"{number:03d}" for number in range(1000))
    return StackedSource(arrays={**base.arrays, "table": table}, num_classes=1000, class_names=names)
