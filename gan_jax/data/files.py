"""Sets that come as whole arrays: digits, the MNIST format (idx) and .npz. Imports arrays and images."""

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource, labelled
from gan_jax.data.images import MAX_PIXELS, fit_array
from gan_jax.errors import InputError

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # where Debian's dataset-fashion-mnist puts its files
PREFIX = {"train": "train", "test": "t10k"}
KINDS = {"images": (0x803, "idx3"), "labels": (0x801, "idx1")}  # magic number (type uint8, dimensions), file type
PIECE = 1 << 20  # bytes read at a time


def load_digits(split: str, config: DataConfig) -> ArraySource:
    """The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships (UCI ML hand-written digits).

    The split is the same in every run: 1,437 train, 360 test, every class in its share.

    Args:
        split: "train" or "test".
        config: image size and channels; grey levels 0..16 are scaled to 0..255.
    """
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    images, labels = load(return_X_y=True)
    parts = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    rows = parts[0] if split == "train" else parts[1]
    pictures = np.round(images[rows].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # [N, 64] -> [N, 8, 8]
    fitted = fit_array(pictures, config.image_size, config.channels, config.threads)
    return labelled(fitted, labels[rows], tuple("0123456789"))


# ---------------------------------------------------------------- idx


def idx_file(folder: Path, split: str, kind: str) -> Path | None:
    """The file of a split ("train", "test") and a kind ("images", "labels"), or None if the folder has none."""
    for joint in "-.":
        for ending in ("", ".gz"):
            path = folder / f"{PREFIX[split]}-{kind}{joint}{KINDS[kind][1]}-ubyte{ending}"
            if path.is_file():
                return path
    return None


def has_idx(folder: Path) -> bool:
    """Whether a folder holds any of the four files."""
    return any(idx_file(folder, split, kind) for split in PREFIX for kind in KINDS)


def read_idx(path: Path, kind: str) -> np.ndarray:
    """Reads one file of the format of Yann LeCun's MNIST page.

    Args:
        path: the file; gzip if it ends in .gz.
        kind: "images" or "labels".

    Returns:
        uint8 [N, height, width] or [N].

    Raises:
        InputError: the file cannot be read, is cut short or too long, or is of another kind.
    """
    magic, _ = KINDS[kind]
    opener = gzip.open if path.suffix == ".gz" else open
    # The header is not believed: what is kept in memory never exceeds what the file yields.
    pieces: list[bytes] = []
    try:
        with opener(path, "rb") as file:
            head = file.read(4)
            if head != magic.to_bytes(4, "big"):
                raise InputError(
                    f"{path}: magic number {head.hex() or 'missing'}, but idx {kind} begin with {magic:08x}:"
                    " fetch the file again or give the right one that name"
                )
            header = file.read(4 * (magic & 0xFF))
            shape = [int.from_bytes(header[at : at + 4], "big") for at in range(0, len(header), 4)]
            wanted = 1
            for length in shape:
                wanted *= length
            _check_pixels(path, shape[1:])
            size = 0
            while size <= wanted and (piece := file.read(min(PIECE, wanted - size + 1))):
                pieces.append(piece)
                size += len(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}): fetch the file again") from None
    if len(header) < 4 * (magic & 0xFF) or size != wanted:
        found = f"only {size}" if size < wanted else "more"
        raise InputError(f"{path}: its header promises {wanted} bytes, it holds {found}: fetch the file again")
    if not wanted:
        raise InputError(f"{path} holds no {kind}: fetch the file again")
    return np.frombuffer(b"".join(pieces), np.uint8).reshape(shape)


def _check_pixels(path: Path, size: Sequence[int]) -> None:
    """Refuses images that would take gigabytes to resize; `size` begins with height and width."""
    if len(size) > 1 and size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"{path}: images of {size[0]} x {size[1]} pixels are too large: give at most {MAX_PIXELS}")


def load_idx(folder: Path, split: str, config: DataConfig) -> ArraySource:
    """Images and labels of the four files {train,t10k}-{images-idx3,labels-idx1}-ubyte, gzipped or not.

    Args:
        folder: that holds them.
        split: "train" or "test".
        config: image size and channels.

    Raises:
        InputError: a file is missing or damaged, or images and labels do not belong together.
    """
    if not folder.is_dir():
        debian = "`apt-get install dataset-fashion-mnist`, or " if folder == FASHION_MNIST else ""
        tfds = ", or take --config.data.source=tfds:fashion_mnist" if folder == FASHION_MNIST else ""
        raise InputError(
            f"config.data.path={folder}: no such folder: {debian}name a folder with the four idx files"
            f" (train-images-idx3-ubyte.gz and so on) by --config.data.path{tfds}"
        )
    paths = {kind: _needed(folder, split, kind) for kind in KINDS}
    images, labels = (read_idx(paths[kind], kind) for kind in KINDS)
    if len(images) != len(labels):
        raise InputError(
            f"{paths['images']} holds {len(images)} images, {paths['labels'].name} {len(labels)} labels:"
            " fetch both files from one place"
        )
    # Both splits count the classes of both, so that a small test set has the same number.
    others = [path for other in PREFIX if other != split and (path := idx_file(folder, other, "labels"))]
    classes = 1 + max(int(part.max()) for part in [labels, *(read_idx(path, "labels") for path in others)])
    fitted = fit_array(images, config.image_size, config.channels, config.threads)
    return labelled(fitted, labels, tuple(str(number) for number in range(classes)))


def _needed(folder: Path, split: str, kind: str) -> Path:
    path = idx_file(folder, split, kind)
    if path is None:
        name = f"{PREFIX[split]}-{kind}-{KINDS[kind][1]}-ubyte"
        raise InputError(f"config.data.path={folder} holds no {name}[.gz]: put the four idx files there")
    return path


# ---------------------------------------------------------------- npz


def load_npz(path: Path, split: str, config: DataConfig) -> ArraySource:
    """A NumPy archive: "images" and, if there are any, "labels", "test_images", "test_labels", "class_names".

    Never unpickled.

    Signals come as "signals" and "test_signals" in place of images.

    Args:
        path: the .npz file; images are uint8 [N, h, w] or [N, h, w, c] with c of 1, 3 or 4, signals floats [N, L] or
            [N, L, C] in [-1, 1], labels integers [N] that count from 0.
        split: "train" or "test".
        config: image size and channels; signals stay as they are.

    Raises:
        InputError: the file cannot be read, a key is missing, or an array has another type or shape.
    """
    if not path.is_file():
        raise InputError(f"config.data.path={path}: no such file: name an .npz file")
    kind = "signals" if _holds_signals(path) else "images"
    image_key, label_key = (kind, "labels") if split == "train" else (f"test_{kind}", "test_labels")
    arrays = _read_npz(path, (image_key, "labels", "test_labels", "class_names"))
    given = arrays.pop("class_names", None)
    images, labels = arrays[image_key], arrays.get(label_key)
    if kind == "images":
        _check_images(path, image_key, images)
    else:
        images = _checked_signals(path, image_key, images)
    if labels is None and arrays.keys() - {image_key}:
        raise InputError(f"{path} has labels but no {label_key!r}: save both or neither")
    if labels is not None and len(labels) != len(images):
        raise InputError(f"{path}: {len(images)} {image_key} but {len(labels)} {label_key}: save as many")
    # Both splits count the classes of both, so that a small test set has the same number.
    classes = 1 + max((_last_class(path, key, arrays[key]) for key in arrays.keys() - {image_key}), default=-1)
    names = tuple(str(number) for number in range(classes))
    if given is not None and classes:
        if given.dtype.kind != "U" or given.ndim != 1 or len(given) < classes or len(set(given)) < len(given):
            raise InputError(f"{path}: 'class_names' must be {classes} different texts, one a class")
        names = tuple(map(str, given))
    if kind == "images":
        images = fit_array(images, config.image_size, config.channels, config.threads)
    return labelled(images, labels, names)


def _holds_signals(path: Path) -> bool:
    """Whether an archive names signals; one that cannot be read is left to `_read_npz`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return bool({"signals.npy", "test_signals.npy"} & set(archive.namelist()))
    except (OSError, zipfile.BadZipFile):
        return False


def _checked_signals(path: Path, key: str, signals: np.ndarray) -> np.ndarray:
    """Signals as float32 [N, L, C]."""
    signals = signals[..., None] if signals.ndim == 2 else signals
    if not np.issubdtype(signals.dtype, np.floating) or signals.ndim != 3 or not signals.size:
        raise InputError(
            f"{path}: {key!r} is {signals.dtype} {list(signals.shape)}:"
            " save floats [N, length] or [N, length, channels]"
        )
    if not np.abs(signals).max() <= 1:  # NaN fails too
        raise InputError(f"{path}: {key!r} has values outside [-1, 1], or NaN: divide by the largest")
    return signals.astype(np.float32)


def npz_shape(path: Path) -> tuple[int, int, int]:
    """(height, width, channels) of the training images of an .npz file, see `load_npz`; transparency counts as colour.

    Raises:
        InputError: the file cannot be read or holds no images.
    """
    if not path.is_file():
        raise InputError(f"config.data.path={path}: no such file: name an .npz file")
    images = _read_npz(path, ("images",))["images"]
    _check_images(path, "images", images)
    return images.shape[1], images.shape[2], 1 if images.ndim == 3 or images.shape[3] == 1 else 3


def _read_npz(path: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The wanted arrays that a file has; the first one must be there."""
    try:
        with zipfile.ZipFile(path):  # an .npy file or a pickle is no archive
            pass
        with np.load(path, allow_pickle=False) as archive:
            keys = archive.files
            arrays = {key: archive[key] for key in wanted if key in keys}
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen types on damaged files
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is no .npz of plain arrays ({why}): write it by np.savez(path, images=...)") from None
    if wanted[0] not in arrays:
        raise InputError(
            f"{path} has no array {wanted[0]!r} (it has {', '.join(keys) or 'none'}): save one by that name"
        )
    return arrays


def _check_images(path: Path, key: str, images: np.ndarray) -> None:
    channels_fit = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (1, 3, 4))
    if images.dtype != np.uint8 or not channels_fit or not images.size:
        raise InputError(
            f"{path}: {key!r} is {images.dtype} {list(images.shape)}: save uint8 [N, height, width] or"
            " [N, height, width, 1, 3 or 4], values 0 to 255"
        )
    _check_pixels(path, images.shape[1:])


def _last_class(path: Path, key: str, labels: np.ndarray) -> int:
    """The highest label, after a check that the labels are class numbers."""
    whole = labels.ndim == 1 and labels.size and np.issubdtype(labels.dtype, np.integer)
    if not whole or labels.min() < 0 or labels.max() >= max(len(labels), 1000):
        raise InputError(f"{path}: {key!r} is {labels.dtype} {list(labels.shape)}: save class numbers 0, 1, 2, ... [N]")
    return int(labels.max())
