"""Toy sets: their statistics against the closed form, and stacked images against their parts."""

import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats

import gan_jax.data.sources as sources
from gan_jax.config import DataConfig
from gan_jax.data.sources import load_source
from gan_jax.data.toy import StackedSource, ToySource
from gan_jax.errors import InputError


@pytest.mark.parametrize(("name", "modes", "std"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
@pytest.mark.parametrize(("split", "points"), [("train", 100_000), ("test", 10_000)])
def test_mixture_statistics(name: str, modes: int, std: float, split: str, points: int) -> None:
    source = load_source(DataConfig(source=name), split, seed=3)
    assert isinstance(source, ToySource) and len(source) == points
    assert source.shape == (2,) and source.num_classes == modes == len(source.class_names)
    batch = source.read(np.arange(points))
    assert batch["image"].dtype == np.float32 and batch["label"].dtype == np.int32
    # Every mode equally likely, every point normal around its centre.
    assert stats.chisquare(np.bincount(batch["label"], minlength=modes)).pvalue > 1e-4
    noise = (batch["image"].astype(float) - source.centers[batch["label"]]) / source.std
    assert source.std == std
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4
    assert abs(np.corrcoef(noise.T)[0, 1]) < 5 / math.sqrt(points)


def test_ring_lies_on_the_unit_circle_and_grid_on_a_lattice() -> None:
    ring, grid = (load_source(DataConfig(source=name)) for name in ("ring", "grid"))
    assert isinstance(ring, ToySource) and isinstance(grid, ToySource)
    np.testing.assert_allclose(np.linalg.norm(ring.centers, axis=1), 1, atol=1e-6)
    steps = np.linalg.norm(ring.centers - np.roll(ring.centers, 1, axis=0), axis=1)
    np.testing.assert_allclose(steps, 2 * math.sin(math.pi / 8), atol=1e-6)  # the chord of an eighth
    lattice = {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert {tuple(center) for center in grid.centers.tolist()} == lattice


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_toys_depend_on_seed_and_split_alone(name: str) -> None:
    def points(split: str, seed: int) -> np.ndarray:
        return load_source(DataConfig(source=name), split, seed).read(np.arange(100))["image"]

    np.testing.assert_array_equal(points("train", 1), points("train", 1))
    assert not np.isin(points("train", 1), points("train", 2)).any()
    assert not np.isin(points("train", 1), points("test", 1)).any()


def test_stacked_is_three_images_of_its_base() -> None:
    config = DataConfig(source="stacked", path="digits", image_size=(8, 8), channels=3)
    base = load_source(dataclasses.replace(config, source="digits", channels=1))
    source = load_source(config, seed=4)
    assert isinstance(source, StackedSource) and len(source) == 128_000
    assert source.shape == (8, 8, 3) and source.num_classes == 1000 == len(source.class_names)
    rows = np.array([0, 77, 127_999, 5])
    batch = source.read(rows)
    for row, image, label in zip(rows, batch["image"], batch["label"], strict=True):
        parts = base.read(source.arrays["table"][row])
        for channel in range(3):
            np.testing.assert_array_equal(image[..., channel], parts["image"][channel, ..., 0])
        assert label == int("".join(str(digit) for digit in parts["label"]))
        assert source.class_names[label] == f"{label:03d}"
    labels = source.read(np.arange(len(source)))["label"]
    assert labels.dtype == np.int32
    # Random draws with replacement from the base: all modes are there, as often as independence says.
    shares = np.bincount(base.read(np.arange(len(base)))["label"]) / len(base)
    expected = np.einsum("a,b,c->abc", shares, shares, shares).ravel() * len(source)
    assert stats.chisquare(np.bincount(labels, minlength=1000), expected).pvalue > 1e-4


def test_stacked_gathers_the_same_on_a_device() -> None:
    source = load_source(DataConfig(source="stacked", path="digits", image_size=(8, 8)), "test", seed=1)
    assert isinstance(source, StackedSource)
    rows = np.arange(12).reshape(3, 4)
    device = jax.jit(source.gather)(jax.device_put(source.arrays), rows)
    for name, part in source.read(rows).items():
        assert device[name].dtype == part.dtype
        np.testing.assert_array_equal(device[name], part)


def test_stacked_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)
    np.savez(tmp_path / "base.npz", images=images, labels=np.arange(30) % 10)
    np.savez(tmp_path / "two.npz", images=images, labels=np.arange(30) % 2)
    config = DataConfig(source="stacked", path=str(tmp_path / "base.npz"), image_size=(4, 4))
    assert load_source(config).shape == (4, 4, 3)
    with pytest.raises(InputError, match="10 classes, this one has 2"):
        load_source(dataclasses.replace(config, path=str(tmp_path / "two.npz")))
    monkeypatch.setattr(sources, "FASHION_MNIST", tmp_path / "absent")
    with pytest.raises(InputError, match="absent"):  # an empty path means Debian's Fashion-MNIST
        load_source(dataclasses.replace(config, path=""))
