"""Files in folders: listed and checked once, decoded whenever they are read. Imports arrays and images."""

import functools
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan_jax.config import DataConfig
from gan_jax.data.arrays import CHUNK, ArraySource, Batch, fits, labelled
from gan_jax.data.images import decode_file
from gan_jax.errors import InputError

Listing = tuple[list[str], list[int], tuple[str, ...]]  # files, a label each, names of the classes


class Kind(NamedTuple):
    """What files are looked for: their endings, what one and many are called, and the formats that may be given."""

    endings: tuple[str, ...]
    one: str
    noun: str
    formats: str


IMAGES = Kind((".png", ".jpg", ".jpeg", ".webp"), "image", "images", "PNG, JPEG or WebP files")


class FolderSource:
    """Files that are decoded when they are read.

    Attributes:
        skipped: files that were left out because they cannot be decoded.
    """

    def __init__(
        self,
        files: list[str],
        labels: np.ndarray | None,
        class_names: tuple[str, ...],
        shape: tuple[int, ...],
        decode: Callable[[str], np.ndarray],
        skipped: int,
    ) -> None:
        self._files, self._labels, self._decode = files, labels, decode
        self.class_names, self.num_classes = class_names, len(class_names)
        self.shape = shape
        self.skipped = skipped

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: np.ndarray) -> Batch:
        """Decodes images by index, see `Source.read`.

        Raises:
            InputError: a file was changed or taken away since the start.
        """
        images = np.empty((len(indices), *self.shape), _dtype(self.shape))
        for row, index in enumerate(indices):
            try:
                images[row] = self._decode(self._files[index])
            except Exception as error:  # Pillow raises a dozen types on damaged files
                raise InputError(
                    f"{self._files[index]} can no longer be read ({error}): restore it, then resume"
                ) from None
        return {"image": images} if self._labels is None else {"image": images, "label": self._labels[indices]}


def load_folder(root: Path, split: str, config: DataConfig) -> ArraySource | FolderSource:
    """Images of a folder: in one sub-folder a class, or flat and unlabelled.

    If the folder holds train/ and test/ they are the splits, each laid out in this way; otherwise
    every image is for training. File names decide the order, sub-folder names the labels. Every
    file is decoded once here, so that the set is fixed before training: damaged and huge images
    are left out, with a warning.

    Args:
        root: the folder.
        split: "train" or "test".
        config: size, channels and residency; sets that are to stay in memory come as an `ArraySource`.

    Raises:
        InputError: folder or split is missing, or no image can be decoded.
    """
    if not root.is_dir():
        raise InputError(f"config.data.path={root}: no such folder: name a folder of PNG, JPEG or WebP images")
    decode = functools.partial(decode_file, size=config.image_size, channels=config.channels)
    listing = list_split(root, split)
    return from_files(listing, (*config.image_size, config.channels), decode, config)


def from_files(
    listing: Listing,
    shape: tuple[int, ...],
    decode: Callable[[str], np.ndarray],
    config: DataConfig,
    kind: Kind = IMAGES,
    report: Callable[[], None] | None = None,
) -> ArraySource | FolderSource:
    """The examples of listed files, each decoded once; those that cannot be are left out, with a warning.

    Args:
        listing: see `list_split`.
        shape: of one example.
        decode: file -> example, uint8 [H, W, C] or float32 [L, C]; any exception means that it is damaged.
        config: threads and residency.
        kind: of the files.
        report: says what was left out, in place of the warning.

    Raises:
        InputError: no file can be decoded.
    """
    files, numbers, class_names = listing
    labels = np.array(numbers, np.int32) if class_names else None
    keep = fits(shape, len(files) * _dtype(shape).itemsize, config.residency, config.resident_mb)
    images, good = _decode_all(files, shape, decode, config.threads, keep)
    skipped = len(files) - int(good.sum())
    if skipped == len(files):
        raise InputError(f"{files[0]}: neither this nor any other {kind.one} can be decoded: give {kind.formats}")
    if report:
        report()
    elif skipped:
        first = files[int(np.argmin(good))]
        warnings.warn(
            f"{skipped} of {len(files)} {kind.noun} cannot be decoded and are left out; the first is {first}",
            stacklevel=4,
        )
    if skipped:
        files = [file for file, whole in zip(files, good, strict=True) if whole]
        images = None if images is None else images[good]
        labels = None if labels is None else labels[good]
    if images is not None:
        return labelled(images, labels, class_names, skipped)
    return FolderSource(files, labels, class_names, shape, decode, skipped)


def _dtype(shape: tuple[int, ...]) -> np.dtype:
    return np.dtype(np.uint8 if len(shape) == 3 else np.float32)


def list_split(root: Path, split: str, kind: Kind = IMAGES) -> Listing:
    """Lists a split; labels are those of the training split."""
    parts = root / "train", root / "test"
    if not all(part.is_dir() for part in parts):
        if split == "test":
            raise InputError(
                f"config.data.path={root} has no test split: put {kind.noun} in its sub-folders train/ and test/"
            )
        return _list_folder(root, kind)
    listing = _list_folder(parts[0], kind)
    if split == "train":
        return listing
    class_names = listing[2]
    files, numbers, names = _list_folder(parts[1], kind)
    if bool(names) != bool(class_names):
        raise InputError(
            f"{root}: one of train/ and test/ has class sub-folders, the other has none: lay out both alike"
        )
    if unknown := sorted(set(names) - set(class_names)):
        raise InputError(f"{parts[1]} has classes that train/ has not ({', '.join(unknown)}): give both the same ones")
    return files, [class_names.index(names[number]) for number in numbers] if names else numbers, class_names


def _list_folder(folder: Path, kind: Kind) -> Listing:
    """Lists files by class sub-folder, or all of a flat folder."""
    files = _files_in(folder, kind, deep=False)
    inside = {entry.name: _files_in(entry, kind, deep=True) for entry in folder.iterdir() if entry.is_dir()}
    inside = {name: found for name, found in sorted(inside.items()) if found and name[0] != "."}
    if files and inside:
        raise InputError(
            f"{folder} holds {kind.noun} both itself and in {next(iter(inside))}/:"
            " put all of them in class sub-folders, or none"
        )
    if not files and not inside:
        raise InputError(f"{folder} holds no {kind.noun}: put {kind.formats} there, or one sub-folder a class")
    if files:
        return files, [0] * len(files), ()
    flat = [(file, label) for label, found in enumerate(inside.values()) for file in found]
    return [file for file, _ in flat], [label for _, label in flat], tuple(inside)


def _files_in(folder: Path, kind: Kind, deep: bool) -> list[str]:
    """Files of a kind, sorted by path; hidden files are none (macOS writes ._NAME.jpg)."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if deep and name[0] != "."]
        found += [
            os.path.join(parent, name) for name in names if name.lower().endswith(kind.endings) and name[0] != "."
        ]
    return sorted(found)


def _decode_all(
    files: list[str], shape: tuple[int, ...], decode: Callable[[str], np.ndarray], threads: int, keep: bool
) -> tuple[np.ndarray | None, np.ndarray]:
    """Decodes every file; returns examples [N, *shape] if kept, and bool [N]: which are whole."""
    images = np.zeros((len(files), *shape), _dtype(shape)) if keep else None
    good = np.zeros(len(files), bool)

    def work(start: int) -> None:
        for index in range(start, min(start + CHUNK, len(files))):
            try:
                image = decode(files[index])
            except Exception:  # Pillow raises a dozen types on damaged files
                continue
            good[index] = True
            if images is not None:
                images[index] = image

    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what counts is whether they decode
        list(pool.map(work, range(0, len(files), CHUNK)))
    return images, good
