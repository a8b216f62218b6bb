"""Sets that come as whole arrays: what is read is what was written, and damage is named."""

import dataclasses
import gzip
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from gan_jax.config import DataConfig
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError


def idx_bytes(array: np.ndarray) -> bytes:
    """The MNIST format: 0, 0, type uint8, dimensions, lengths in big endian, values."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, packed: bool = True, size: int = 28, count: int = 20) -> dict[str, np.ndarray]:
    """Writes the four files with random pixels and returns their contents by file name."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {}
    for prefix, number in (("train", count), ("t10k", count // 2)):
        contents[f"{prefix}-images-idx3-ubyte"] = random.integers(0, 256, (number, size, size), np.uint8)
        contents[f"{prefix}-labels-idx1-ubyte"] = np.arange(number, dtype=np.uint8) % 10
    for name, array in contents.items():
        data = idx_bytes(array)
        (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return contents


def config_of(source: str, path: object = "", **fields: object) -> DataConfig:
    """A data config; images keep their 28x28 unless said otherwise."""
    return dataclasses.replace(DataConfig(source=source, path=str(path)), **fields)


# ---------------------------------------------------------------- digits


def test_digits_are_split_once_and_by_class() -> None:
    size = {"image_size": (8, 8)}
    parts = [load_source(config_of("digits", **size), split, seed=seed) for split, seed in (("train", 0), ("test", 5))]
    pixels, labels = load_digits(return_X_y=True)
    assert [len(part) for part in parts] == [1437, 360]
    counts = [np.bincount(part.arrays["label"], minlength=10) for part in parts]
    np.testing.assert_array_equal(counts[0] + counts[1], np.bincount(labels))
    np.testing.assert_allclose(counts[1], np.bincount(labels) * 360 / 1797, atol=1)
    # Together they are the set of scikit-learn, and the seed of the run does not move the split.
    joined = np.concatenate([part.arrays["image"].reshape(-1, 64) for part in parts])
    original = np.round(pixels * 255 / 16).astype(np.uint8)
    np.testing.assert_array_equal(np.unique(joined, axis=0), np.unique(original, axis=0))
    again = load_source(config_of("digits", **size), "train", seed=7)
    np.testing.assert_array_equal(again.arrays["image"], parts[0].arrays["image"])


def test_digits_grow_to_the_asked_size() -> None:
    source = load_source(config_of("digits", image_size=(28, 32), channels=3))
    batch = source.read(np.array([3, 1, 3]))
    assert source.shape == (28, 32, 3) and batch["image"].shape == (3, 28, 32, 3)
    assert batch["image"].dtype == np.uint8 and batch["label"].dtype == np.int32
    np.testing.assert_array_equal(batch["image"][0], batch["image"][2])
    np.testing.assert_array_equal(batch["image"][..., 0], batch["image"][..., 2])
    assert source.class_names == tuple("0123456789") and source.num_classes == 10


# ---------------------------------------------------------------- idx


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("source", ["idx", "tfds:mnist"])
def test_idx_round_trip(tmp_path: Path, packed: bool, source: str) -> None:
    contents = write_idx(tmp_path, packed)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        found = load_source(config_of(source, tmp_path), split)
        batch = found.read(np.arange(len(found))[::-1])
        np.testing.assert_array_equal(batch["image"][..., 0], contents[f"{prefix}-images-idx3-ubyte"][::-1])
        np.testing.assert_array_equal(batch["label"], contents[f"{prefix}-labels-idx1-ubyte"][::-1])
        assert found.shape == (28, 28, 1) and found.num_classes == 10


def test_idx_files_named_with_dots(tmp_path: Path) -> None:
    write_idx(tmp_path, packed=False)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(load_source(config_of("idx", tmp_path))) == 20


def test_idx_is_resized_like_pillow_does(tmp_path: Path) -> None:
    contents = write_idx(tmp_path)
    batch = load_source(config_of("idx", tmp_path, image_size=(14, 14))).read(np.arange(2))
    picture = Image.fromarray(contents["train-images-idx3-ubyte"][1])
    np.testing.assert_array_equal(batch["image"][1, ..., 0], picture.resize((14, 14), Image.Resampling.BICUBIC))


def _truncate_gzip(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])


def _flip_gzip(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def _replace(folder: Path, name: str, data: bytes) -> None:
    (folder / f"{name}.gz").write_bytes(gzip.compress(data))


IDX_DAMAGE = {
    "truncated gzip": (_truncate_gzip, "train-images-idx3-ubyte.gz cannot be read"),
    "flipped byte in gzip": (_flip_gzip, "train-images-idx3-ubyte.gz"),
    "no gzip": (
        lambda folder: (folder / "train-images-idx3-ubyte.gz").write_text("<html>not found</html>"),
        "train-images-idx3-ubyte.gz cannot be read",
    ),
    "wrong magic": (
        lambda folder: _replace(folder, "train-images-idx3-ubyte", idx_bytes(np.zeros(5, np.uint8))),
        "magic number 00000801",
    ),
    "empty file": (lambda folder: _replace(folder, "train-labels-idx1-ubyte", b""), "magic number missing"),
    "cut header": (lambda folder: _replace(folder, "train-labels-idx1-ubyte", b"\0\0\x08\x01\0"), "header"),
    "cut values": (
        lambda folder: _replace(folder, "train-images-idx3-ubyte", idx_bytes(np.ones((20, 28, 28), np.uint8))[:-1]),
        "holds only 15679",
    ),
    "too many values": (
        lambda folder: _replace(folder, "train-labels-idx1-ubyte", idx_bytes(np.zeros(20, np.uint8)) + b"x"),
        "holds more",
    ),
    "a header that promises 16 EB": (
        lambda folder: _replace(folder, "train-images-idx3-ubyte", struct.pack(">4B3I", 0, 0, 8, 3, *[2**31] * 3)),
        "2147483648 x 2147483648 pixels are too large",
    ),
    "no examples": (
        lambda folder: _replace(folder, "train-labels-idx1-ubyte", idx_bytes(np.zeros(0, np.uint8))),
        "holds no labels",
    ),
    "counts that differ": (
        lambda folder: _replace(folder, "train-labels-idx1-ubyte", idx_bytes(np.zeros(19, np.uint8))),
        "20 images, train-labels-idx1-ubyte.gz 19 labels",
    ),
    "missing file": (lambda folder: (folder / "train-labels-idx1-ubyte.gz").unlink(), "no train-labels-idx1-ubyte"),
}


@pytest.mark.parametrize("name", IDX_DAMAGE)
def test_damaged_idx_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    damage, message = IDX_DAMAGE[name]
    write_idx(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        load_source(config_of("idx", tmp_path))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_missing_fashion_mnist_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import gan_jax.data.files as files

    monkeypatch.setattr(files, "FASHION_MNIST", tmp_path / "absent")
    with pytest.raises(InputError, match="apt-get install dataset-fashion-mnist"):
        load_source(config_of("idx", tmp_path / "absent"))


@pytest.mark.parametrize("source", ["idx", "folder", "npz"])
def test_a_path_is_asked_for(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="config.data.path is empty"):
        load_source(config_of(source))
    with pytest.raises(InputError, match="no such"):
        load_source(config_of(source, tmp_path / "absent"))


def test_unknown_split() -> None:
    with pytest.raises(InputError, match="validation"):
        load_source(config_of("digits"), "validation")


# ---------------------------------------------------------------- npz


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_npz_round_trip(tmp_path: Path, channels: int | None) -> None:
    shape = (6, 5, 4) if channels is None else (6, 5, 4, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=images, labels=np.array([0, 1, 2, 0, 1, 2]), test_images=images[:2])
    wanted = 3 if channels and channels > 1 else 1
    source = load_source(config_of("npz", path, image_size=(5, 4), channels=wanted))
    batch = source.read(np.arange(6))
    assert source.num_classes == 3 and batch["label"].tolist() == [0, 1, 2, 0, 1, 2]
    if channels == 4:  # opaque white below: c = a x + (1 - a) 255, rounded by Pillow
        alpha = images[..., 3:] / 255
        np.testing.assert_allclose(batch["image"], alpha * images[..., :3] + (1 - alpha) * 255, atol=1)
    else:
        np.testing.assert_array_equal(batch["image"], images.reshape(6, 5, 4, wanted))
    with pytest.raises(InputError, match="test_labels"):
        load_source(config_of("npz", path, image_size=(5, 4)), "test")


def test_npz_without_labels_and_with_test_split(tmp_path: Path) -> None:
    images = np.arange(2 * 9, dtype=np.uint8).reshape(2, 3, 3)
    np.savez(tmp_path / "set.npz", images=images, test_images=images[1:])
    config = config_of("npz", tmp_path / "set.npz", image_size=(3, 3))
    train, test = load_source(config), load_source(config, "test")
    assert (len(train), train.num_classes, train.class_names, len(test)) == (2, 0, (), 1)
    assert set(train.read(np.arange(2))) == {"image"}


def test_npz_splits_have_the_same_classes(tmp_path: Path) -> None:
    images = np.zeros((4, 2, 2), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=[0, 1, 2, 3], test_images=images, test_labels=[0, 0, 1, 5])
    config = config_of("npz", tmp_path / "a.npz", image_size=(2, 2))
    assert load_source(config).num_classes == load_source(config, "test").num_classes == 6


class Bomb:
    """Unpickling it would be noticed."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("unpickled",))


IMAGES = np.zeros((4, 3, 3), np.uint8)


def _false_header(path: Path) -> None:
    """An array whose header promises more than its file holds."""
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 28, 28), }"
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)


def _save_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, IMAGES)


NPZ_DAMAGE = {
    "pickled objects": (
        lambda path: np.savez(path, images=np.array([Bomb()] * 4, dtype=object)),
        "no .npz of plain arrays (Object",
    ),
    "a bare pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "no .npz"),
    "an .npy": (
        lambda path: (np.save(path.with_suffix(".npy"), IMAGES), path.with_suffix(".npy").rename(path)),
        "no .npz",
    ),
    "text": (lambda path: path.write_text("hello"), "no .npz"),
    "cut short": (lambda path: (np.savez(path, images=IMAGES), path.write_bytes(path.read_bytes()[:-30])), "no .npz"),
    "false header": (_false_header, "no .npz"),
    "no images": (lambda path: np.savez(path, pictures=IMAGES), "no array 'images' (it has pictures)"),
    "floats": (lambda path: np.savez(path, images=IMAGES / 2), "'images' is float64"),
    "flat": (lambda path: np.savez(path, images=IMAGES.reshape(4, 9)), "'images' is uint8 [4, 9]"),
    "five channels": (lambda path: np.savez(path, images=np.zeros((4, 3, 3, 5), np.uint8)), "[4, 3, 3, 5]"),
    "no examples": (lambda path: np.savez(path, images=IMAGES[:0]), "[0, 3, 3]"),
    "label count": (lambda path: np.savez(path, images=IMAGES, labels=[0, 1]), "4 images but 2 labels"),
    "label type": (lambda path: np.savez(path, images=IMAGES, labels=[0.5] * 4), "'labels' is float64"),
    "negative label": (lambda path: np.savez(path, images=IMAGES, labels=[0, 1, -1, 0]), "class numbers"),
    "label of an identifier": (lambda path: np.savez(path, images=IMAGES, labels=[0, 1, 10**9, 0]), "class numbers"),
}


@pytest.mark.parametrize("name", NPZ_DAMAGE)
def test_bad_npz_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    write, message = NPZ_DAMAGE[name]
    path = tmp_path / "set.npz"
    write(path)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        load_source(config_of("npz", path, image_size=(3, 3)))
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_npz_without_test_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=IMAGES)
    with pytest.raises(InputError, match="test_images"):
        load_source(config_of("npz", tmp_path / "set.npz"), "test")
