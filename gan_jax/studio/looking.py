"""What a person may do with a trained pair: sample, walk, edit, recognise. Imports data, gan, runtime; no web library.

Pictures are uint8 [height, width, 3]. All that can be wrong with what a person gives is an InputError with one line.
"""

import dataclasses
import functools
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from gan_jax.data.images import FORMATS, decode_file
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.gan import Gan, load
from gan_jax.latents import great_circle
from gan_jax.runtime.pictures import image_grid, to_uint8

MOST_SAMPLES = 100
STEPS = 8  # of a walk
SLIDERS = 6  # latent directions that can be edited
_NEIGHBOURS = 8
_SEARCHED = 5_000  # training images among which neighbours are looked for
_SIDE = 192  # pixels of a picture shown alone, at least


@dataclasses.dataclass(frozen=True)
class Recognition:
    """What the discriminator makes of a picture.

    Attributes:
        text: in words, Markdown.
        seen: the picture as the networks see it, beside its reconstruction.
        neighbours: the training images nearest in the discriminator's features.
    """

    text: str
    seen: np.ndarray
    neighbours: np.ndarray


class Studio:
    """A pair and what is computed once for it."""

    def __init__(self, gan: Gan) -> None:
        """Takes a pair.

        Args:
            gan: of images.

        Raises:
            InputError: it draws points or signals.
        """
        if len(gan.shape) != 3:
            kind = "points" if len(gan.shape) == 1 else "signals"
            raise InputError(f"this run draws {kind}, not images: look at it with gan_jax.report")
        self.gan = gan
        self._lock = threading.Lock()  # the page calls from several threads; what is kept is computed once

    @property
    def class_names(self) -> tuple[str, ...]:
        """That can be asked for; empty for an unconditional generator."""
        return self.gan.class_names if self.gan.config.model.conditional else ()

    def sample(self, num: float, seed: float, truncation: float | None, label: str | None) -> np.ndarray:
        """A grid of samples.

        Args:
            num: how many, up to `MOST_SAMPLES`.
            seed: of the noise.
            truncation: of the noise; None = none.
            label: a class name; None = all in turn.
        """
        count = _whole("number of samples", num, 1, MOST_SAMPLES)
        key = jax.random.key(_whole("seed", seed, 0, 2**31 - 1))
        images = self.gan.sample(key, count, self._labels(label), truncation)
        return _colour(image_grid(np.asarray(images)))

    def walk(self, first: float, second: float, label: str | None) -> np.ndarray:
        """`STEPS` pictures from the sample of one seed to that of another, along the great circle."""
        ends = [self._noise(seed) for seed in (first, second)]
        path = np.asarray(great_circle(ends[0], ends[1], STEPS)).reshape(STEPS, -1)  # [1, STEPS, Z] -> [STEPS, Z]
        return _colour(image_grid(np.asarray(self.gan.generate(path, self._one_label(label, STEPS))), STEPS))

    def edit(self, seed: float, amounts: Sequence[float], label: str | None) -> np.ndarray:
        """A sample, and beside it the same one moved along the directions that change images most."""
        start = np.asarray(self._noise(seed))
        directions = self._directions[: len(amounts)]
        moved = start + np.asarray(amounts[: len(directions)], np.float32) @ directions
        images = np.asarray(self.gan.generate(np.concatenate([start, moved]), self._one_label(label, 2)))
        return _colour(image_grid(_enlarged(images), 2))

    def recognise(self, path: str | Path) -> Recognition:
        """What the discriminator sees in a picture file, and what the generator makes of it.

        Raises:
            InputError: it is no picture, or the run's data are gone.
        """
        image = self._read(path)[None] / np.float32(127.5) - 1  # [1, H, W, C]
        nearest, share = self._nearest(image)
        words = [f"The discriminator finds it more real than **{100 * share:.0f} %** of the training images."]
        if self._training[1] is not None:
            votes = Counter(self.gan.class_names[label] for label in self._training[1][nearest])
            told = ", ".join(f"**{name}** {count} of {len(nearest)}" for name, count in votes.most_common(3))
            words.append(f"What it recognises, by the classes of its nearest training images: {told}.")
        inversion = self.gan.invert(image)
        words.append(f"The generator comes within {inversion.error[0]:.2g} a pixel (values from -1 to 1).")
        both = _enlarged(np.concatenate([image, inversion.images]))
        return Recognition(
            "\n\n".join(words),
            _colour(image_grid(both, 2)),
            _colour(image_grid(self._training[0][nearest], _NEIGHBOURS)),
        )

    def _read(self, path: str | Path) -> np.ndarray:
        height, width, channels = self.gan.shape
        name = Path(path).name
        try:
            return decode_file(path, (height, width), channels)
        except Exception as error:  # Pillow's, of many kinds
            reason = str(error) if isinstance(error, ValueError) else "it cannot be decoded"
            raise InputError(
                f"{name} is no picture for this page ({reason}): give a {' or '.join(FORMATS)} file"
            ) from None

    def _nearest(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Indices of the nearest training images, and the share of them that D finds less real."""
        found = self.gan.features(image)
        features, logits = self._features
        scale = features.std(0) + 1e-6
        apart = (features - found["pooled"]) / scale  # [N, F]; each feature counts alike
        nearest = np.argsort(np.square(apart).sum(1), kind="stable")[:_NEIGHBOURS]
        return nearest, float((logits < found["logits"][0]).mean())

    def _noise(self, seed: float) -> jax.Array:
        return self.gan.latents(jax.random.key(_whole("seed", seed, 0, 2**31 - 1)), 1)

    def _labels(self, label: str | None) -> list[int] | None:
        if label is None:
            return None
        if label not in self.class_names:
            raise InputError(f"{label!r} is no class of this run")
        return [self.class_names.index(label)]

    def _one_label(self, label: str | None, count: int) -> np.ndarray | None:
        """One class for all pictures: a walk between classes is none of styles."""
        if not self.class_names:
            return None
        return np.full(count, (self._labels(label) or [0])[0], np.int32)

    @property
    def _directions(self) -> np.ndarray:
        with self._lock:
            return self._kept_directions

    @property
    def _training(self) -> tuple[np.ndarray, np.ndarray | None]:
        with self._lock:
            return self._kept_training

    @property
    def _features(self) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            return self._kept_features

    @functools.cached_property
    def _kept_directions(self) -> np.ndarray:
        return self.gan.directions()[0][:SLIDERS]

    @functools.cached_property
    def _kept_training(self) -> tuple[np.ndarray, np.ndarray | None]:
        source = load_source(self.gan.config.data, "train", self.gan.config.seed)
        count = min(len(source), _SEARCHED)
        batch = source.read(np.arange(count, dtype=np.int64) * len(source) // count)
        return batch["image"], batch.get("label")

    @functools.cached_property
    def _kept_features(self) -> tuple[np.ndarray, np.ndarray]:
        found = self.gan.features(self._kept_training[0].astype(np.float32) / 127.5 - 1)
        return found["pooled"], found["logits"]


def open_studio(workdir: str | Path, checkpoint: str = "newest") -> Studio:
    """The studio of a run.

    Raises:
        InputError: no such run, no usable checkpoint, or a run of points.
    """
    return Studio(load(workdir, checkpoint))


def _whole(name: str, value: float | None, low: int, high: int) -> int:
    if value is None or value != value or int(value) != value or not low <= value <= high:
        raise InputError(f"the {name} must be a whole number in {low}..{high}, not {value}")
    return int(value)


def _enlarged(images: np.ndarray) -> np.ndarray:
    """Pixels repeated until the longer side has `_SIDE` of them."""
    factor = max(1, -(-_SIDE // max(images.shape[1:3])))
    return to_uint8(images).repeat(factor, axis=1).repeat(factor, axis=2)


def _colour(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(3, axis=2) if picture.shape[2] == 1 else picture
