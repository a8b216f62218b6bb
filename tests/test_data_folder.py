"""Folders of images: any format, size and colour; order and labels by name; damage is counted, not fatal."""

import dataclasses
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource
from gan_jax.data.folder import FolderSource
from gan_jax.data.images import decode_file, fit_array, fit_image
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError

RESIDENCIES = ("device", "stream")


def config_of(path: Path, **fields: object) -> DataConfig:
    """A folder config of small RGB images."""
    fields = {"image_size": (6, 6), "channels": 3} | fields
    return dataclasses.replace(DataConfig(source="folder", path=str(path)), **fields)


def write(path: Path, color: object, mode: str = "RGB", size: tuple[int, int] = (6, 6)) -> None:
    """Writes an image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A grey PNG with a true header of any size and the given compressed pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- one image


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 55, 51), (255, 204, 215)),  # a fifth of the colour, four fifths of white
        ("1", 1, (255, 255, 255)),
        ("I;16", 0x6400, (100, 100, 100)),
    ],
)
@pytest.mark.parametrize("size", [(6, 6), (13, 9), (1, 40), (3, 2)])
def test_colours(tmp_path: Path, mode: str, color: object, expected: tuple[int, ...], size: tuple[int, int]) -> None:
    write(tmp_path / "a.png", color, mode, size)
    image = decode_file(tmp_path / "a.png", (6, 6), 3)
    assert image.shape == (6, 6, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.broadcast_to(expected, (6, 6, 3)))
    grey = decode_file(tmp_path / "a.png", (6, 6), 1)
    luma = round(float(np.dot((0.299, 0.587, 0.114), expected)))
    np.testing.assert_allclose(grey, np.full((6, 6, 1), luma), atol=1)


@pytest.mark.parametrize("name", ["a.webp", "a.jpg", "a.JPEG", "a.PNG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats(tmp_path: Path, name: str, mode: str) -> None:
    color = 90 if mode == "L" else (90, 90, 90)
    write(tmp_path / name, color, mode, (17, 11))
    image = load_source(config_of(tmp_path)).read(np.array([0]))["image"]
    np.testing.assert_allclose(image.astype(int), np.full((1, 6, 6, 3), 90), atol=2)


def test_palette_with_transparency_and_cmyk(tmp_path: Path) -> None:
    palette = Image.new("P", (6, 6), 3)
    palette.putpalette(range(30))  # ten dark colours
    palette.save(tmp_path / "a.png", transparency=3)
    assert (decode_file(tmp_path / "a.png", (6, 6), 3) == 255).all()
    Image.new("CMYK", (8, 8), (0, 0, 0, 255)).save(tmp_path / "b.jpg")
    assert decode_file(tmp_path / "b.jpg", (6, 6), 3).max() < 10


@pytest.mark.parametrize(("size", "whole", "left", "top"), [((40, 20), (12, 6), 3, 0), ((20, 40), (6, 12), 0, 3)])
def test_the_shorter_side_is_scaled_then_the_centre_is_cropped(
    size: tuple[int, int], whole: tuple[int, int], left: int, top: int
) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, size[::-1], np.uint8))
    expected = image.resize(whole, Image.Resampling.BICUBIC).crop((left, top, left + 6, top + 6))
    np.testing.assert_allclose(fit_image(image, (6, 6), 1)[..., 0], np.asarray(expected, int), atol=1)


def test_shrinking_is_antialiased() -> None:
    # One-pixel stripes average to grey; a resize without a wide filter would keep black and white.
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = fit_image(Image.fromarray(stripes), (8, 8), 1).astype(float)
    assert np.abs(small[:, 1:-1] - 127.5).max() < 2


def test_an_array_is_fitted_image_by_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 9, 7, 3), np.uint8)
    fitted = fit_array(images, (4, 4), 1, threads=3)
    for image, one in zip(images, fitted, strict=True):
        np.testing.assert_array_equal(one, fit_image(Image.fromarray(image), (4, 4), 1))


def test_orientation_is_honoured(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255  # upper half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: the upper half becomes the right
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=100)
    image = decode_file(tmp_path / "a.jpg", (8, 8), 1)
    assert image[:, 5:].min() > 200 and image[:, :3].max() < 50


# ---------------------------------------------------------------- a folder


@pytest.mark.parametrize("residency", RESIDENCIES)
def test_labels_are_sorted_folder_names(tmp_path: Path, residency: str) -> None:
    for number, name in enumerate(["zebra/b.png", "ant/2.png", "ant/10.png", "zebra/deep/a.png"]):
        write(tmp_path / name, (number, 0, 0))
    write(tmp_path / ".cache" / "x.png", 0, "L")
    write(tmp_path / "ant" / "._2.png", 0, "L")
    write(tmp_path / "ant" / ".thumbnails" / "2.png", 0, "L")
    (tmp_path / "notes").mkdir()
    (tmp_path / "ant" / "readme.txt").write_text("no image")
    source = load_source(config_of(tmp_path, residency=residency))
    assert isinstance(source, ArraySource if residency == "device" else FolderSource)
    batch = source.read(np.arange(4))
    assert source.class_names == ("ant", "zebra") and source.num_classes == 2 and len(source) == 4
    assert batch["label"].tolist() == [0, 0, 1, 1] and batch["label"].dtype == np.int32
    assert batch["image"][:, 0, 0, 0].tolist() == [2, 1, 0, 3]  # 10 before 2: by characters
    assert source.shape == (6, 6, 3)


@pytest.mark.parametrize("residency", RESIDENCIES)
def test_a_flat_folder_is_unlabelled(tmp_path: Path, residency: str) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.png", number, "L")
    source = load_source(config_of(tmp_path, residency=residency, channels=1))
    batch = source.read(np.array([2, 0, 2]))
    assert set(batch) == {"image"} and source.num_classes == 0 and source.class_names == ()
    assert batch["image"][:, 0, 0, 0].tolist() == [2, 0, 2]


def test_auto_streams_what_is_larger_than_resident_mb(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.png", number, "L")
    large = config_of(tmp_path, image_size=(600, 600), resident_mb=1)  # 3 x 600 x 600 x 3 = 3.1 MB
    assert isinstance(load_source(large), FolderSource)
    assert isinstance(load_source(dataclasses.replace(large, resident_mb=4)), ArraySource)


def test_train_and_test_folders(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a" / "1.png", 1, "L")
    write(tmp_path / "train" / "b" / "1.png", 2, "L")
    write(tmp_path / "test" / "b" / "1.png", 3, "L")
    train, test = load_source(config_of(tmp_path)), load_source(config_of(tmp_path), "test")
    assert len(train) == 2 and len(test) == 1
    assert test.read(np.array([0]))["label"].tolist() == [1]  # b is class 1, though alone
    assert train.class_names == test.class_names == ("a", "b")
    write(tmp_path / "test" / "c" / "1.png", 3, "L")
    with pytest.raises(InputError, match=r"train/ has not \(c\)"):
        load_source(config_of(tmp_path), "test")


def test_train_and_test_laid_out_differently(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a" / "1.png", 1, "L")
    write(tmp_path / "test" / "1.png", 3, "L")
    with pytest.raises(InputError, match="lay out both alike"):
        load_source(config_of(tmp_path), "test")


def _empty(root: Path) -> None:
    (root / "class").mkdir()


def _text(root: Path) -> None:
    (root / "a.txt").write_text("hello")


def _text_called_png(root: Path) -> None:
    (root / "a.png").write_text("hello")
    (root / "b.jpg").write_text("")


def _mixed(root: Path) -> None:
    write(root / "a.png", 0, "L")
    write(root / "class" / "b.png", 0, "L")


def _gif(root: Path) -> None:
    Image.new("L", (6, 6)).save(root / "a.png", format="GIF")


BAD_FOLDERS: list[tuple[Callable[[Path], None], str]] = [
    (lambda root: None, "holds no images"),
    (_empty, "holds no images"),
    (_text, "holds no images"),
    (_text_called_png, "neither this nor any other image"),
    (_gif, "neither this nor any other image"),
    (_mixed, "both itself and in class/"),
]


@pytest.mark.parametrize(("build", "message"), BAD_FOLDERS)
def test_bad_folder_is_named_in_one_line(tmp_path: Path, build: Callable[[Path], None], message: str) -> None:
    build(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        load_source(config_of(tmp_path))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_absent_test_split(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 0, "L")
    with pytest.raises(InputError, match="no test split"):
        load_source(config_of(tmp_path), "test")


# ---------------------------------------------------------------- damage


def _half(path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(random).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _flipped(path: Path) -> None:
    write(path, 7, "L", (64, 64))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 0xFF
    path.write_bytes(bytes(data))


def _other_format(path: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (6, 6)).save(data, "BMP")
    path.write_bytes(data.getvalue())


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "half a JPEG": ("m.jpg", _half),
    "half a PNG": ("m.png", _half),
    "half a WebP": ("m.webp", _half),
    "flipped byte": ("m.png", _flipped),
    "empty": ("m.jpg", lambda path: path.write_bytes(b"")),
    "text": ("m.png", lambda path: path.write_text("no image")),
    "bitmap": ("m.png", _other_format),
    "30,000 x 30,000": ("m.png", lambda path: path.write_bytes(png(30_000, 30_000, zlib.compress(b"\0" * 100)))),
    "9,500 x 9,500": ("m.png", lambda path: path.write_bytes(png(9_500, 9_500, zlib.compress(b"\0" * 100)))),
    "no pixels": ("m.png", lambda path: path.write_bytes(png(0, 0))),
    "dangling link": ("m.png", lambda path: path.symlink_to("nowhere")),
    "folder": ("m.png/m.png", lambda path: (path.parent.mkdir(), path.write_text("x"))),
}


@pytest.mark.parametrize("residency", RESIDENCIES)
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_image_is_left_out(tmp_path: Path, name: str, residency: str) -> None:
    for number, file in enumerate(["a", "b", "x", "y"]):
        write(tmp_path / "one" / f"{file}.png", number, "L")
    write(tmp_path / "two" / "z.png", 9, "L")
    file, damage = DAMAGE[name]
    damage(tmp_path / "one" / file)
    config = config_of(tmp_path, residency=residency)
    with pytest.warns(UserWarning, match=f"1 of 6 images.*{file}") as caught:
        source = load_source(config)
    assert len(caught) == 1
    batch = source.read(np.arange(len(source)))
    assert source.skipped == 1 and batch["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 9]
    assert batch["label"].tolist() == [0, 0, 0, 0, 1]


def test_a_set_that_is_whole_warns_of_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 0, "L")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_source(config_of(tmp_path)).skipped == 0


def test_a_file_that_vanishes_while_streaming_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 0, "L")
    source = load_source(config_of(tmp_path, residency="stream"))
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png can no longer be read"):
        source.read(np.array([0]))
