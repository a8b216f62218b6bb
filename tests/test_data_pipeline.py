"""The order of examples: each once an epoch, a pure function of (seed, step), the same however it is served."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from PIL import Image

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource, Source
from gan_jax.data.pipeline import Order, Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError

DEVICE, STREAM = DataConfig(residency="device"), DataConfig(residency="stream", threads=3)


def sharding_of(devices: int) -> NamedSharding:
    """Of [P, b, ...] over the first few devices."""
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    return NamedSharding(mesh, PartitionSpec(None, "data"))


def numbered(count: int) -> ArraySource:
    """Examples whose label is their index."""
    images = np.random.default_rng(0).integers(0, 256, (count, 2, 3, 1), np.uint8)
    return ArraySource({"image": images, "label": np.arange(count, dtype=np.int32)}, count, ("",) * count)


def make(
    source: Source, config: DataConfig, passes: int = 2, batch: int = 8, seed: int = 0, devices: int = 1
) -> Pipeline:
    """A pipeline with small defaults."""
    return Pipeline(source, config, seed, passes, batch, sharding_of(devices))


def labels(pipeline: Pipeline, steps: range) -> np.ndarray:
    """Labels of some steps, joined."""
    return np.concatenate([np.asarray(pipeline.batch(step)["label"]).ravel() for step in steps])


@pytest.fixture(params=["ring", "digits", "stacked"])
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    """One of each kind that lives in memory."""
    path = "digits" if request.param == "stacked" else ""
    yield load_source(DataConfig(source=request.param, path=path, image_size=(8, 8)))


# ---------------------------------------------------------------- order


@pytest.mark.parametrize("config", [DEVICE, STREAM], ids=["device", "stream"])
@pytest.mark.parametrize(("count", "passes", "batch"), [(37, 2, 4), (10, 3, 8), (64, 1, 8), (1, 1, 2)])
def test_every_example_once_an_epoch(config: DataConfig, count: int, passes: int, batch: int) -> None:
    # The sizes make batches straddle two epochs, or hold several.
    with make(numbered(count), config, passes, batch) as pipeline:
        seen = labels(pipeline, range(-(-5 * count // (passes * batch))))[: 5 * count]
    epochs = seen.reshape(5, count)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(count), (5, 1)))
    if count > 30:  # no two epochs and no two seeds in the same order
        assert len({tuple(epoch) for epoch in epochs.tolist()}) == 5
        with make(numbered(count), config, passes, batch, seed=1) as other:
            assert not np.array_equal(labels(other, range(5)), seen[: 5 * passes * batch])


def test_order_is_uniform() -> None:
    # Over many epochs each example is as likely first as any other: chi-square with 7 degrees of freedom.
    order = Order(0, 8)
    first = order(np.arange(0, 8 * 4000, 8))
    order.close()
    counts = np.bincount(first, minlength=8)
    assert ((counts - 500) ** 2 / 500).sum() < 29.9  # the 1e-4 tail


@pytest.mark.parametrize("config", [DEVICE, STREAM], ids=["device", "stream"])
def test_batch_depends_on_seed_and_step_alone(config: DataConfig) -> None:
    with make(numbered(37), config) as straight:
        expected = [jax.device_get(straight.batch(step)) for step in range(8)]
    with make(numbered(37), config) as jumping:  # resumes at 5, goes back, repeats
        for step in (5, 6, 2, 2, 7):
            jax.tree.map(np.testing.assert_array_equal, jax.device_get(jumping.batch(step)), expected[step])


@pytest.mark.parametrize("config", [DEVICE, STREAM], ids=["device", "stream"])
def test_several_steps_in_one_call(config: DataConfig) -> None:
    with make(numbered(37), config) as pipeline:
        single = [jax.device_get(pipeline.batch(step)) for step in range(9)]
        for step, steps in ((0, 3), (3, 3), (6, 3), (1, 4)):
            batch = jax.device_get(pipeline.batch(step, steps))
            for name, array in batch.items():
                joined = np.concatenate([part[name] for part in single[step : step + steps]])
                np.testing.assert_array_equal(array, joined)


# ---------------------------------------------------------------- resident and streamed, one device and eight


def test_streamed_equals_resident_on_any_number_of_devices(source: Source) -> None:
    results = []
    for config, devices in ((DEVICE, 1), (DEVICE, 8), (STREAM, 1), (STREAM, 8), (STREAM, 2)):
        with make(source, config, devices=devices, batch=16, seed=3) as pipeline:
            assert pipeline.resident == (config is DEVICE)
            batches = [pipeline.batch(step) for step in (0, 1, 2, 60)]
            for array in batches[0].values():
                assert array.sharding.is_equivalent_to(sharding_of(devices), array.ndim)
                assert {part.data.shape[:2] for part in array.addressable_shards} == {(2, 16 // devices)}
            results.append(jax.device_get(batches))
    for other in results[1:]:
        for batch, expected in zip(other, results[0], strict=True):
            assert batch.keys() == expected.keys()
            for name, array in batch.items():
                assert array.dtype == expected[name].dtype
                np.testing.assert_array_equal(array, expected[name])
    assert results[0][0]["image"].shape == (2, 16, *source.shape)


def test_a_batch_is_what_the_source_reads(source: Source) -> None:
    with make(source, DEVICE, passes=3, batch=4, seed=9) as pipeline:
        batch = jax.device_get(pipeline.batch(11))
    order = Order(9, len(source))
    rows = order(np.arange(11 * 12, 12 * 12))
    order.close()
    for name, array in source.read(rows).items():
        np.testing.assert_array_equal(batch[name].reshape(array.shape), array)


def test_folder_streams_like_it_loads(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(23):
        (tmp_path / f"class{index % 3}").mkdir(exist_ok=True)
        size = random.integers(5, 12, 2)
        picture = Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8))
        picture.save(tmp_path / f"class{index % 3}" / f"{index}.jpg")
    batches = []
    for residency in ("stream", "device"):
        fields = {"source": "folder", "path": str(tmp_path), "image_size": (6, 6), "channels": 3}
        config = dataclasses.replace(DataConfig(), residency=residency, **fields)
        with make(load_source(config), config, devices=8) as pipeline:
            assert pipeline.resident == (residency == "device")
            batches.append(jax.device_get([pipeline.batch(step) for step in range(4)]))
    jax.tree.map(np.testing.assert_array_equal, *batches)


def test_auto_goes_by_size() -> None:
    images = np.zeros((3, 1024, 1024, 1), np.uint8)  # 3 MB
    for megabytes, resident in ((2, False), (3, True)):
        config = DataConfig(resident_mb=megabytes)
        with make(ArraySource({"image": images}), config) as pipeline:
            assert pipeline.resident is resident
            assert set(pipeline.batch(0)) == {"image"}


def test_any_source_can_be_made_resident() -> None:
    inner = numbered(600)

    class Plain:
        """A source that is no array."""

        shape, num_classes, class_names = inner.shape, inner.num_classes, inner.class_names

        def __len__(self) -> int:
            return len(inner)

        def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
            return inner.read(indices)

    with make(Plain(), DEVICE) as pipeline, make(inner, STREAM) as expected:
        assert pipeline.resident and not expected.resident
        np.testing.assert_array_equal(labels(pipeline, range(3)), labels(expected, range(3)))


# ---------------------------------------------------------------- transfers, errors, threads


@pytest.mark.parametrize("config", [DEVICE, STREAM], ids=["device", "stream"])
@pytest.mark.parametrize("devices", [1, 8])
def test_no_implicit_transfer(source: Source, config: DataConfig, devices: int) -> None:
    with make(source, config, devices=devices) as pipeline, jax.transfer_guard("disallow"):
        for step in (0, 1, 5):
            jax.block_until_ready(pipeline.batch(step))


class Failing:
    """A source whose files are gone."""

    shape, num_classes, class_names = (2, 2, 1), 0, ()

    def __len__(self) -> int:
        return 100

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Fails."""
        raise InputError("a.png can no longer be read")


def test_an_error_of_a_reading_thread_arrives() -> None:
    with make(Failing(), STREAM) as pipeline, pytest.raises(InputError, match="a.png can no longer be read"):
        pipeline.batch(0)


def test_streams_read_ahead_but_not_without_bound() -> None:
    class Counting:
        """A source that counts its reads; an example has 4 MB."""

        shape, num_classes, class_names = (2048, 2048, 1), 0, ()
        reads = 0

        def __len__(self) -> int:
            return 100

        def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
            self.reads += 1
            return {"image": np.zeros((len(indices), *self.shape), np.uint8)}

    large = Counting()
    pipeline = make(large, dataclasses.replace(STREAM, threads=16), passes=1, batch=16)  # 64 MB a batch
    pipeline.batch(0)
    end = time.monotonic() + 30
    while large.reads < 2 and time.monotonic() < end:  # the threads may have to wait for a busy machine
        time.sleep(0.01)
    pipeline.close()
    assert 1 < large.reads <= 6


def test_close_twice() -> None:
    pipeline = make(numbered(5), STREAM)
    pipeline.batch(0)
    pipeline.close()
    pipeline.close()


# ---------------------------------------------------------------- several processes

WORKER = """
import sys
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

process, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=process)

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource
from gan_jax.data.pipeline import Pipeline

rows = []

class Watched(ArraySource):
    def read(self, indices):
        rows.append(len(indices))
        return super().read(indices)

source = Watched({"image": np.arange(37 * 4, dtype=np.uint8).reshape(37, 2, 2, 1)})
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
sharding = NamedSharding(mesh, PartitionSpec(None, "data"))
found = {}
for residency in ("device", "stream"):
    with Pipeline(source, DataConfig(residency=residency), 5, 2, 8, sharding) as pipeline:
        for step in (0, 1, 4):
            with jax.transfer_guard("disallow"):
                batch = pipeline.batch(step)
            for part in batch["image"].addressable_shards:
                found[f"{residency} {step} {part.index[1].start}"] = np.asarray(part.data)
assert set(rows) == {8}, rows  # half of 2 x 8
np.savez(f"{out}/{process}.npz", **found)
jax.distributed.shutdown()
"""


def test_each_process_reads_its_own_rows(tmp_path: Path, root: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": str(root)}
    commands = [[sys.executable, "-c", WORKER, str(process), port, str(tmp_path)] for process in range(2)]
    workers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for command in commands]
    try:
        for worker in workers:
            _, problem = worker.communicate(timeout=180)
            assert worker.returncode == 0, problem
    finally:
        for worker in workers:
            worker.kill()
    found: dict[str, np.ndarray] = {}
    for process in range(2):
        with np.load(tmp_path / f"{process}.npz") as parts:
            assert len(parts.files) == 2 * 3 * 2  # residencies, steps, devices
            found |= dict(parts)
    source = ArraySource({"image": np.arange(37 * 4, dtype=np.uint8).reshape(37, 2, 2, 1)})
    with make(source, DEVICE, seed=5) as pipeline:
        for step in (0, 1, 4):
            expected = np.asarray(pipeline.batch(step)["image"])
            for residency in ("device", "stream"):
                joined = np.concatenate([found[f"{residency} {step} {start}"] for start in (0, 2, 4, 6)], axis=1)
                np.testing.assert_array_equal(joined, expected)
