"""Images in folders: listed and checked once, decoded whenever they are read. Imports arrays and images."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gan_jax.config import DataConfig
from gan_jax.data.arrays import CHUNK, ArraySource, Batch, fits, labelled
from gan_jax.data.images import Size, decode_file
from gan_jax.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
Listing = tuple[list[str], list[int], tuple[str, ...]]  # files, a label each, names of the classes


class FolderSource:
    """Image files that are decoded when they are read.

    Attributes:
        skipped: files that were left out because they cannot be decoded.
    """

    def __init__(
        self,
        files: list[str],
        labels: np.ndarray | None,
        class_names: tuple[str, ...],
        size: Size,
        channels: int,
        skipped: int,
    ) -> None:
        self._files, self._labels, self._size, self._channels = files, labels, size, channels
        self.class_names, self.num_classes = class_names, len(class_names)
        self.shape: tuple[int, ...] = (*size, channels)
        self.skipped = skipped

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: np.ndarray) -> Batch:
        """Decodes images by index, see `Source.read`.

        Raises:
            InputError: a file was changed or taken away since the start.
        """
        images = np.empty((len(indices), *self.shape), np.uint8)
        for row, index in enumerate(indices):
            try:
                images[row] = decode_file(self._files[index], self._size, self._channels)
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
    files, numbers, class_names = list_split(root, split)
    labels = np.array(numbers, np.int32) if class_names else None
    size, channels = config.image_size, config.channels
    keep = fits((*size, channels), len(files), config.residency, config.resident_mb)
    images, good = _decode_all(files, config, keep)
    skipped = len(files) - int(good.sum())
    if skipped:
        first = files[int(np.argmin(good))]
        if skipped == len(files):
            raise InputError(f"{first}: neither this nor any other image can be decoded: give PNG, JPEG or WebP files")
        warnings.warn(
            f"{skipped} of {len(files)} images cannot be decoded and are left out; the first is {first}", stacklevel=3
        )
        files = [file for file, whole in zip(files, good, strict=True) if whole]
        images = None if images is None else images[good]
        labels = None if labels is None else labels[good]
    if images is not None:
        return labelled(images, labels, class_names, skipped)
    return FolderSource(files, labels, class_names, size, channels, skipped)


def list_split(root: Path, split: str) -> Listing:
    """Lists a split; labels are those of the training split."""
    parts = root / "train", root / "test"
    if not all(part.is_dir() for part in parts):
        if split == "test":
            raise InputError(
                f"config.data.path={root} has no test split: put images in its sub-folders train/ and test/"
            )
        return _list_folder(root)
    listing = _list_folder(parts[0])
    if split == "train":
        return listing
    class_names = listing[2]
    files, numbers, names = _list_folder(parts[1])
    if bool(names) != bool(class_names):
        raise InputError(
            f"{root}: one of train/ and test/ has class sub-folders, the other has none: lay out both alike"
        )
    if unknown := sorted(set(names) - set(class_names)):
        raise InputError(f"{parts[1]} has classes that train/ has not ({', '.join(unknown)}): give both the same ones")
    return files, [class_names.index(names[number]) for number in numbers] if names else numbers, class_names


def _list_folder(folder: Path) -> Listing:
    """Lists images by class sub-folder, or all of a flat folder."""
    files = _images_in(folder, deep=False)
    inside = {entry.name: _images_in(entry, deep=True) for entry in folder.iterdir() if entry.is_dir()}
    inside = {name: found for name, found in sorted(inside.items()) if found and name[0] != "."}
    if files and inside:
        raise InputError(
            f"{folder} holds images both itself and in {next(iter(inside))}/:"
            " put all of them in class sub-folders, or none"
        )
    if not files and not inside:
        raise InputError(f"{folder} holds no images: put PNG, JPEG or WebP files there, or one sub-folder a class")
    if files:
        return files, [0] * len(files), ()
    flat = [(file, label) for label, found in enumerate(inside.values()) for file in found]
    return [file for file, _ in flat], [label for _, label in flat], tuple(inside)


def _images_in(folder: Path, deep: bool) -> list[str]:
    """Image files, sorted by path; hidden files are none (macOS writes ._NAME.jpg)."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if deep and name[0] != "."]
        found += [os.path.join(parent, name) for name in names if name.lower().endswith(ENDINGS) and name[0] != "."]
    return sorted(found)


def _decode_all(files: list[str], config: DataConfig, keep: bool) -> tuple[np.ndarray | None, np.ndarray]:
    """Decodes every file; returns images uint8 [N, H, W, C] if kept, and bool [N]: which are whole."""
    images = np.zeros((len(files), *config.image_size, config.channels), np.uint8) if keep else None
    good = np.zeros(len(files), bool)

    def work(start: int) -> None:
        for index in range(start, min(start + CHUNK, len(files))):
            try:
                image = decode_file(files[index], config.image_size, config.channels)
            except Exception:  # Pillow raises a dozen types on damaged files
                continue
            good[index] = True
            if images is not None:
                images[index] = image

    with warnings.catch_warnings(), ThreadPoolExecutor(config.threads) as pool:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what counts is whether they decode
        list(pool.map(work, range(0, len(files), CHUNK)))
    return images, good
