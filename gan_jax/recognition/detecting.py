"""A study of detection: canvases of a labelled set, detectors on a GAN's trunk, mean average precision.

Imports config, gan, program, runtime and this room.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.program import build
from gan_jax.recognition.canvases import Canvas, make_canvases, mean_precision
from gan_jax.recognition.controls import transplanted, untrained
from gan_jax.recognition.detection import teach_detector
from gan_jax.recognition.probe import Labelled
from gan_jax.recognition.windows import teach_windows
from gan_jax.runtime.mesh import make_mesh

METHODS = {
    "ours": "a small one-stage detector; its trunk is the discriminator of a GAN of single objects, taught further",
    "frozen": "as ours, the trunk left as it is",
    "random": "the same detector from random weights",
    "hog": "histograms of gradients, linear SVM, sliding window of three sizes, hard negatives: the traditional method",
}
_TEST, _LABELLED = 10_000_000, 30_000_000  # first seeds of the canvases' draws; training ones also by the figure's seed


@dataclasses.dataclass(frozen=True, eq=False)
class Detecting:
    """The rules.

    Attributes:
        data: gives the labelled grey set that canvases are made of; test canvases of test images.
        config: seed -> config of the GAN of those images.
        gan: seed -> that GAN, trained without labels.
        side: pixels of a canvas, at least twice the side of an image.
        tested: test canvases.
        steps: of the detector, of 16 canvases.
    """

    data: Callable[[], Labelled]
    config: Callable[[int], Config]
    gan: Callable[[int], Gan]
    side: int = 64
    tested: int = 1_000
    steps: int = 1_200

    def trunk(self, method: str, seed: int) -> Gan:
        """A pair for canvases; but for `random` its discriminator has the convolutions of the GAN.

        Raises:
            InputError: its discriminator has no stages of a quarter and an eighth of the side.
        """
        config = self.config(seed).replace({"data.image_size": self.side})
        if config.model.architecture != "dcgan":
            raise InputError(
                f"config.model.architecture={config.model.architecture}: detection needs the stages of a dcgan"
            )
        fresh = untrained(build(config, (self.side, self.side, 1), self.data().num_classes, make_mesh()), seed)
        return fresh if method == "random" else transplanted(fresh, self.gan(seed))

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
            trunk = self.trunk(method, seed)
            detector = teach_detector(trunk, canvases, classes, self.steps, seed, frozen=method == "frozen")
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
