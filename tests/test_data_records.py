"""TensorFlow Datasets: real array_record sets, written and read here without TensorFlow."""

import dataclasses
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource
from gan_jax.data.records import RecordSource
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError

COUNTS = {"train": 300, "test": 40}


def image_of(split: str, index: int) -> np.ndarray:
    """Pixels of an example, of its own size: height 10 to 12."""
    random = np.random.default_rng([COUNTS[split], index])
    return random.integers(0, 256, (10 + index % 3, 9, 3), np.uint8)


class GanJaxPictures(tfds.core.GeneratorBasedBuilder):
    """PNG images of several sizes with named classes."""

    VERSION = tfds.core.Version("1.0.0")
    name = "gan_jax_pictures"

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(None, None, 3))
        features = {"image": image, "label": tfds.features.ClassLabel(names=["cat", "dog", "cow"])}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in COUNTS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(COUNTS[split]):
            file = io.BytesIO()  # pixels as an array would need TensorFlow
            Image.fromarray(image_of(split, index)).save(file, "PNG")
            yield index, {"image": io.BytesIO(file.getvalue()), "label": index % 3}


class GanJaxNumbers(tfds.core.GeneratorBasedBuilder):
    """A set without images."""

    VERSION = tfds.core.Version("1.0.0")
    name = "gan_jax_numbers"

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict({"number": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, int]]]:
        yield 0, {"number": 7}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures are prepared: by `load_source` itself, on first use."""
    folder = tmp_path_factory.mktemp("tfds")
    load_source(config_of(folder))
    return folder


def config_of(path: Path, **fields: object) -> DataConfig:
    """A config of the pictures."""
    fields = {"source": "tfds:gan_jax_pictures", "image_size": (9, 9), "channels": 3} | fields
    return dataclasses.replace(DataConfig(), path=str(path), **fields)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("residency", "kind"), [("device", ArraySource), ("stream", RecordSource)])
def test_records_are_the_examples_that_were_written(data_dir: Path, split: str, residency: str, kind: type) -> None:
    source = load_source(config_of(data_dir, residency=residency), split)
    assert isinstance(source, kind) and len(source) == COUNTS[split]
    assert source.class_names == ("cat", "dog", "cow") and source.num_classes == 3 and source.shape == (9, 9, 3)
    batch = source.read(np.arange(len(source)))
    assert batch["image"].dtype == np.uint8 and batch["label"].dtype == np.int32
    # TFDS shuffles what it writes: compare as sets of (pixels, label).
    expected = set()
    for index in range(COUNTS[split]):
        picture = Image.fromarray(image_of(split, index))
        width, height = picture.size
        top = (height - 9) / 2
        picture = picture.resize((9, 9), Image.Resampling.BICUBIC, box=(0, top, width, top + 9))
        expected.add((np.asarray(picture).tobytes(), index % 3))
    found = {(image.tobytes(), int(label)) for image, label in zip(batch["image"], batch["label"], strict=True)}
    assert found == expected
    some = source.read(np.array([7, 3, 7]))
    np.testing.assert_array_equal(some["image"], batch["image"][[7, 3, 7]])


def test_a_prepared_set_needs_no_builder_code(data_dir: Path) -> None:
    # Another process has the files only; TFDS then reads what dataset_info.json says.
    names = tfds.core.registered._DATASET_REGISTRY
    builder = names.pop("gan_jax_pictures")
    try:
        assert len(load_source(config_of(data_dir))) == COUNTS["train"]
    finally:
        names["gan_jax_pictures"] = builder


def test_unknown_name_split_and_feature(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean fashion_mnist"):
        load_source(config_of(data_dir, source="tfds:fashion_mist"))
    with pytest.raises(InputError, match="has no 'image'"):
        load_source(config_of(tmp_path, source="tfds:gan_jax_numbers"))
    with pytest.raises(InputError, match="no split 'test', only train"):
        load_source(config_of(tmp_path, source="tfds:gan_jax_numbers"), "test")


def test_a_set_that_cannot_be_served_names_three_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Any, **kwargs: Any) -> None:
        logging.getLogger("absl").warning("a remark of TFDS")
        raise OSError("no route to host\n" + "and many more words " * 50)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    with pytest.raises(InputError) as error:
        load_source(config_of(tmp_path, source="tfds:mnist"))
    message = str(error.value)
    assert "\n" not in message and len(message) < 800 and "no route to host" in message
    for way in ("--config.data.path=", "pip install 'gan-jax[prepare]'", "--config.data.source=npz"):
        assert way in message
    assert capfd.readouterr().err == ""


def test_a_damaged_record_file_is_named(data_dir: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(data_dir, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*train*.array_record*"):
        data = bytearray(path.read_bytes())
        data[200 : len(data) // 2] = bytes(len(data) // 2 - 200)
        path.write_bytes(data)
    with pytest.raises(InputError):
        load_source(config_of(tmp_path / "copy"))
