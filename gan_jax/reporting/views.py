"""What a trained pair shows on a page: walks, classes, nearest training images. Imports data, gan, metrics, runtime."""

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from gan_jax.config import Config
from gan_jax.data.arrays import Source
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.metrics.memorisation import nearest_neighbours
from gan_jax.runtime.pictures import draw_picture, image_grid, to_png, to_uint8

_ROWS, _COLUMNS = 4, 8  # of interpolations and classes: eight pictures are still seen on a phone
_PAIRS = 8  # samples shown with their neighbours
_COMPARED = 256  # samples whose distances are summed up
_MOST = 20_000  # training images that are searched, so that a page takes seconds and not minutes
_FRAMES = 60  # pictures of the slider, at most


@dataclasses.dataclass(frozen=True)
class Frame:
    """A picture of the slider."""

    step: int
    images: int
    source: str  # data URI


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Samples beside the training images that they resemble most.

    Attributes:
        picture: first row samples, second row their neighbours; a data URI.
        sample_distance: median distance of a sample to its nearest training image.
        real_distance: the same for real images that were not trained on, or, where there are none, for training images
            and the nearest other one.
        held_out: whether real_distance is of held-out images.
        searched: training images searched.
        total: training images there are.
    """

    picture: str
    sample_distance: float
    real_distance: float
    held_out: bool
    searched: int
    total: int

    @property
    def ratio(self) -> float:
        """Of the two distances: about 1 or more, no copying; near 0, copies."""
        return self.sample_distance / self.real_distance if self.real_distance else float("inf")


def data_uri(png: bytes) -> str:
    """A PNG file as an address that needs no network."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def frames(samples: Path, images_per_step: int) -> list[Frame]:
    """The run's own pictures in order, at most `_FRAMES`, evenly chosen, the last one always among them."""
    found = []
    for path in sorted(samples.glob("step_*.png")):
        number = path.stem.removeprefix("step_")
        content = path.read_bytes()
        if number.isdecimal() and content.startswith(b"\x89PNG"):
            found.append((int(number), content))
    count = min(len(found), _FRAMES)
    chosen = [found[round(index * (len(found) - 1) / max(count - 1, 1))] for index in range(count)]
    return [Frame(step, step * images_per_step, data_uri(content)) for step, content in chosen]


def pictures(workdir: Path, files: Mapping[str, str]) -> list[tuple[str, str]]:
    """(Name, data URI) of those PNG files that there are."""
    paths = {name: workdir / file for name, file in files.items()}
    return [(name, data_uri(path.read_bytes())) for name, path in paths.items() if path.is_file()]


def interpolation(gan: Gan, seed: int) -> str:
    """Walks between samples, one a row."""
    images = np.asarray(gan.interpolate(jax.random.key(seed), _ROWS, _COLUMNS))
    return data_uri(to_png(_grey(image_grid(images, _COLUMNS))))


def latest(gan: Gan, seed: int) -> str:
    """Fresh samples or points, of other noise than the run's own pictures."""
    key = jax.random.fold_in(jax.random.key(seed), 1)
    return data_uri(to_png(draw_picture(np.asarray(gan.sample(key, 64)))))


def per_class(gan: Gan, seed: int, most: int = 20) -> list[tuple[str, str]]:
    """(Name, picture) of samples of each class; empty for an unconditional generator."""
    if not gan.config.model.conditional:
        return []
    noise = np.asarray(gan.latents(jax.random.key(seed), _COLUMNS))
    rows = []
    for label, name in enumerate(gan.class_names[:most]):
        images = np.asarray(gan.generate(noise, np.full(_COLUMNS, label, np.int32)))
        rows.append((name, data_uri(to_png(_grey(image_grid(images, _COLUMNS))))))
    return rows


def neighbours(gan: Gan, seed: int) -> Neighbours:
    """Samples and their nearest training images, by Euclidean distance of pixels.

    Raises:
        InputError: the data cannot be had any more.
    """
    source = load_source(gan.config.data, "train", gan.config.seed)
    train = training_images(source)
    samples = to_uint8(np.asarray(gan.sample(jax.random.key(seed), _COMPARED)))
    distances, indices = nearest_neighbours(samples, train)
    reference = _held_out(gan.config)
    if reference is not None:
        real, _ = nearest_neighbours(reference, train)
    else:
        chosen = np.random.default_rng(0).permutation(len(train))
        part = min(_COMPARED, max(1, len(train) // 2))
        real, _ = nearest_neighbours(train[chosen[:part]], train[chosen[part:]])
    order = np.argsort(distances, kind="stable")[:_PAIRS]  # the nearest ones: what copying there is shows first
    picture = image_grid(np.concatenate([samples[order], train[indices[order]]]), len(order))
    return Neighbours(
        data_uri(to_png(_grey(picture))),
        float(np.median(distances)),
        float(np.median(real)),
        reference is not None,
        len(train),
        len(source),
    )


def training_images(source: Source, most: int = _MOST) -> np.ndarray:
    """Training images uint8 [M, H, W, C]: all, or `most` of them, evenly spaced."""
    return read_some(source, most)["image"]


def read_some(source: Source, most: int = _MOST) -> dict[str, np.ndarray]:
    """A batch of all examples, or `most` of them, evenly spaced."""
    count = min(len(source), most)
    return source.read(np.arange(count, dtype=np.int64) * len(source) // count)


def _held_out(config: Config) -> np.ndarray | None:
    try:
        source = load_source(config.data, "test", config.seed)
    except InputError:
        return None
    return training_images(source, _COMPARED)


def _grey(picture: np.ndarray) -> np.ndarray:
    """Without the channel axis if there is but one colour, as Pillow wants it."""
    return picture[..., 0] if picture.shape[-1] == 1 else picture
