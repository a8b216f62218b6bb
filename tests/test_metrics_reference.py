"""The cache of reference statistics: computed once, keyed by all that matters, and never trusted when damaged."""

import dataclasses
import pathlib

import numpy as np
import pytest

from gan_jax.metrics import reference
from gan_jax.metrics.reference import ReferenceKey, cached_arrays, fingerprint

KEY = ReferenceKey(data="d", split="test", image_shape=(28, 28, 1), network="n", count=100)


class Counted:
    """Arrays, and how often they were asked for."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return {"mean": np.arange(3.0), "count": np.array(7)}


def test_it_computes_once(tmp_path: pathlib.Path) -> None:
    compute = Counted()
    first, second = (cached_arrays(KEY, compute, tmp_path) for _ in range(2))
    assert compute.calls == 1
    for found in (first, second):
        np.testing.assert_array_equal(found["mean"], np.arange(3.0))
        assert found["count"] == 7


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_file_is_computed_again_and_mended(
    tmp_path: pathlib.Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    compute = Counted()
    cached_arrays(KEY, compute, tmp_path)
    (path,) = (tmp_path / "references").iterdir()
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes({"flip": content, "cut": content[:200], "empty": b"", "text": b"no archive"}[damage])
    np.testing.assert_array_equal(cached_arrays(KEY, compute, tmp_path)["mean"], np.arange(3.0))
    assert compute.calls == 2 and "again" in caplog.text
    cached_arrays(KEY, compute, tmp_path)
    assert compute.calls == 2
    assert len(list((tmp_path / "references").iterdir())) == 1  # no temporary files are left


@pytest.mark.parametrize(
    "change", [{"data": "e"}, {"split": "train"}, {"image_shape": (32, 32, 1)}, {"network": "m"}, {"count": 99},
               {"kind": "features"}],
)  # fmt: skip
def test_every_part_of_the_key_counts(tmp_path: pathlib.Path, change: dict[str, object]) -> None:
    compute = Counted()
    cached_arrays(KEY, compute, tmp_path)
    cached_arrays(dataclasses.replace(KEY, **change), compute, tmp_path)
    assert compute.calls == 2


def test_a_folder_that_cannot_be_written_costs_only_time(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    np.testing.assert_array_equal(cached_arrays(KEY, Counted(), blocked)["mean"], np.arange(3.0))
    assert "not cached" in caplog.text


def test_the_folder_follows_the_environment(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    cached_arrays(KEY, Counted())
    assert len(list((tmp_path / "references").glob("*.npz"))) == 1
    monkeypatch.delenv("GAN_JAX_CACHE")
    assert reference.cache_folder().name == "gan_jax"


def test_fingerprints_tell_data_apart() -> None:
    images = np.zeros((4, 2, 2, 1), np.uint8)
    changed = images.copy()
    changed[3, 1, 1, 0] = 1
    prints = {
        fingerprint(images), fingerprint(changed), fingerprint(images[:3]), fingerprint(images, images),
        fingerprint(images.reshape(2, 4, 2, 1)), fingerprint(images.astype(np.int8)),
    }  # fmt: skip
    assert len(prints) == 6
    assert fingerprint(images) == fingerprint(images.copy())
