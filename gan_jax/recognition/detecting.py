"""A study of detection: canvases of a labelled set, a GAN of canvases, detectors, mean average precision.

Imports config, data, gan, program, runtime and this room.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from gan_jax.config import Config
from gan_jax.data.arrays import ArraySource
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.program import Program, build
from gan_jax.recognition.canvases import Canvas, make_canvases, mean_precision
from gan_jax.recognition.controls import train_on, untrained
from gan_jax.recognition.detection import teach_detector
from gan_jax.recognition.probe import Labelled
from gan_jax.recognition.windows import teach_windows
from gan_jax.runtime.mesh import make_mesh

METHODS = {
    "ours": "a small one-stage detector; its trunk is the discriminator of a GAN of canvases, taught further",
    "frozen": "as ours, the trunk left as it is",
    "random": "the same detector from random weights",
    "hog": "histograms of gradients, linear SVM, sliding window of three sizes, hard negatives: the traditional method",
}
# The first seeds of the canvases' draws; training ones also by the seed of the figure.
_TEST, _UNLABELLED, _LABELLED = 10_000_000, 20_000_000, 30_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Detecting:
    """The rules.

    Attributes:
        data: gives the labelled grey set that canvases are made of; test canvases of test images.
        config: seed -> config of the GAN, but for the size of its images and its length.
        side: pixels of a canvas, at least twice the side of an image.
        unlabelled: canvases that the GAN sees.
        images: how many it sees in all.
        tested: test canvases.
        steps: of the detector, of 16 canvases.
    """

    data: Callable[[], Labelled]
    config: Callable[[int], Config]
    side: int = 64
    unlabelled: int = 10_000
    images: int = 40_000
    tested: int = 1_000
    steps: int = 600

    def gan_config(self, seed: int) -> Config:
        """Of the GAN of canvases."""
        return self.config(seed).replace({"data.image_size": self.side, "total_images": self.images})

    def program(self, seed: int) -> Program:
        """Of that GAN.

        Raises:
            InputError: its discriminator has no stages of a quarter and an eighth of the side.
        """
        config = self.gan_config(seed)
        if config.model.architecture != "dcgan":
            raise InputError(
                f"config.model.architecture={config.model.architecture}: detection needs the stages of a dcgan"
            )
        return build(config, (self.side, self.side, 1), 0, make_mesh())

    @functools.cache  # noqa: B019, the rules live as long as the process
    def gan(self, seed: int) -> Gan:
        """A GAN of unlabelled canvases."""
        canvases = self._canvases(self.data().train, self.data().labels, self.unlabelled, _UNLABELLED + seed)
        return train_on(self.program(seed), ArraySource({"image": _stacked(canvases)}))

    @functools.cached_property
    def test(self) -> list[Canvas]:
        """The canvases that figures are of."""
        return self._canvases(self.data().test, self.data().test_labels, self.tested, _TEST)

    def measure(self, method: str, count: int, seed: int) -> dict[str, float]:
        """Mean average precision at an overlap of one half in percent, "map50"; "ap50_any" whatever the class.

        Args:
            method: of `METHODS`.
            count: labelled canvases.
            seed: of their draw, the GAN and the detector.
        """
        data, classes = self.data(), self.data().num_classes
        canvases = self._canvases(data.train, data.labels, count, _LABELLED + seed)
        if method == "hog":
            detector = teach_windows(canvases, classes, data.train.shape[1], seed)
        else:
            gan = untrained(self.program(seed), seed) if method == "random" else self.gan(seed)
            detector = teach_detector(gan, canvases, classes, self.steps, seed, frozen=method == "frozen")
        found = detector(_stacked(self.test))
        blind = [canvas._replace(labels=np.zeros_like(canvas.labels)) for canvas in self.test]
        places = [boxes._replace(labels=np.zeros_like(boxes.labels)) for boxes in found]
        return {"map50": mean_precision(self.test, found, classes), "ap50_any": mean_precision(blind, places, 1)}

    def _canvases(self, images: np.ndarray, labels: np.ndarray, count: int, seed: int) -> list[Canvas]:
        if images.shape[-1] != 1 or images.shape[1] != images.shape[2] or 2 * images.shape[1] > self.side:
            raise InputError(
                f"canvases of {self.side} pixels need square grey images of half that side at most, not"
                f" {list(images.shape[1:])}"
            )
        return make_canvases(images, labels, count, seed, self.side)


def _stacked(canvases: list[Canvas]) -> np.ndarray:
    return np.stack([canvas.image for canvas in canvases])
