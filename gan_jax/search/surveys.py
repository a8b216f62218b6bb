"""What a set of images is like, from a look at it: how many, how large, in colour, labelled. Imports data."""

import dataclasses
import os
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from gan_jax.config import DataConfig
from gan_jax.data.files import has_idx, idx_file, npz_shape, read_idx
from gan_jax.data.folder import list_split
from gan_jax.data.images import FORMATS, decode_file
from gan_jax.data.records import RecordSource
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError

LOOKED_AT = 500  # files whose size is read, spread over the set
DECODED = 50  # of those, files whose colours are looked at
GREY = 8  # largest difference of two channels, of 255, in an image that passes for grey


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known of a set before it is trained on.

    Attributes:
        source: as `config.data.source` has it.
        path: as `config.data.path` has it.
        count: training images.
        classes: 0 = unlabelled.
        height: of an image; the median, where they differ.
        width: the same.
        uniform: whether all images that were looked at have one size.
        channels: 1 = grey, 3 = colour.
    """

    source: str
    path: str
    count: int
    classes: int
    height: int
    width: int
    uniform: bool
    channels: Literal[1, 3]


def survey(dataset: str | Path) -> Survey:
    """Looks at a set.

    Args:
        dataset: a folder of images, a folder of idx files, an .npz file, "digits" or "tfds:NAME".

    Raises:
        InputError: it is none of these, or cannot be read.
    """
    name = str(dataset)
    path = Path(os.path.expanduser(name))
    if name == "digits":
        return _of_arrays("digits", "", (8, 8, 1))
    if name.startswith("tfds:"):
        return _of_records(name)
    if path.suffix == ".npz":
        return _of_arrays("npz", str(path), npz_shape(path))
    if not path.is_dir():
        raise InputError(
            f"auto:{name}: no such folder: name a folder of images or idx files, an .npz file, digits or tfds:NAME"
        )
    if has_idx(path):
        file = idx_file(path, "train", "images")
        return _of_arrays("idx", str(path), (*read_idx(file, "images").shape[1:], 1) if file else (1, 1, 1))
    return _of_folder(path)


def _of_arrays(source: str, path: str, shape: Sequence[int]) -> Survey:
    height, width, channels = shape
    opened = load_source(DataConfig(source=source, path=path, image_size=(height, width), channels=_known(channels)))
    return Survey(source, path, len(opened), opened.num_classes, height, width, True, _known(channels))


def _of_records(name: str) -> Survey:
    opened = load_source(DataConfig(source=name, residency="stream"))
    assert isinstance(opened, RecordSource)
    sizes = [opened.native_shape(index) for index in _spread(len(opened), DECODED)]
    return _surveyed(name, "", len(opened), opened.num_classes, [size[:2] for size in sizes], max(s[2] for s in sizes))


def _of_folder(path: Path) -> Survey:
    files, _, class_names = list_split(path, "train")
    sizes, colours = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files
        for number, index in enumerate(_spread(len(files), LOOKED_AT)):
            try:
                with Image.open(files[index], formats=FORMATS) as image:
                    sizes.append((image.height, image.width))
                if number % (LOOKED_AT // DECODED) == 0 or len(files) <= DECODED:
                    pixels = decode_file(files[index], (32, 32), 3).astype(int)
                    colours.append(int(np.ptp(pixels, axis=-1).max()))
            except Exception:  # a damaged file; training leaves it out with a warning
                continue
    if not sizes:
        raise InputError(f"{files[0]}: neither this nor any other image can be read: give PNG, JPEG or WebP files")
    colour = max(colours, default=255) > GREY
    return _surveyed("folder", str(path), len(files), len(class_names), sizes, 3 if colour else 1)


def _surveyed(
    source: str, path: str, count: int, classes: int, sizes: Sequence[tuple[int, int]], channels: int
) -> Survey:
    height, width = (round(statistics.median(size[axis] for size in sizes)) for axis in (0, 1))
    return Survey(source, path, count, classes, height, width, len(set(sizes)) == 1, _known(channels))


def _known(channels: int) -> Literal[1, 3]:
    return 1 if channels == 1 else 3


def _spread(count: int, wanted: int) -> list[int]:
    """So many numbers below count, evenly spread."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, wanted))})
