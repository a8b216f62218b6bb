"""Files that lie: whatever they hold, they are read or refused in one line, and nothing is written or unpickled."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gan_jax.benchmark.faults.mutations import TARGETS, mutate, try_out, written
from gan_jax.config import Config, DataConfig, load_config, read_json
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.gan import load
from gan_jax.runtime import integrity
from gan_jax.runtime.workdir import settle_config

QUICK = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,  # the same files in every session
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def sandbox(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("target", TARGETS)
def test_valid_files_are_read(target: str, sandbox: pathlib.Path) -> None:
    assert try_out(target, TARGETS[target][0](), sandbox)[0] == ""


@pytest.mark.parametrize("target", TARGETS)
@QUICK
@given(seed=st.integers(0, 2**32 - 1))
def test_changed_files_are_read_or_refused_in_one_line(target: str, sandbox: pathlib.Path, seed: int) -> None:
    content = mutate(TARGETS[target][0](), np.random.default_rng(seed))
    problem, seconds = try_out(target, content, sandbox)
    assert problem == "" and seconds < 20, content


@pytest.mark.parametrize("target", TARGETS)
@QUICK
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(target: str, sandbox: pathlib.Path, content: bytes) -> None:
    assert try_out(target, content, sandbox)[0] == ""


def test_a_crash_or_a_stray_file_would_be_noticed(sandbox: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(folder: pathlib.Path, content: bytes) -> None:
        raise IndexError("out of range")

    def stray(folder: pathlib.Path, content: bytes) -> None:
        (folder / ".." / "stray").write_bytes(content)

    monkeypatch.setitem(TARGETS, "crash", (bytes, crash))
    monkeypatch.setitem(TARGETS, "stray", (bytes, stray))
    assert "IndexError" in try_out("crash", b"", sandbox)[0]
    assert "stray" in try_out("stray", b"", sandbox)[0]
    with written() as names:
        os.mkdir(sandbox / "made")
        (sandbox / "made").rename(sandbox / "moved")
        (sandbox / "read").exists()
    assert len(names) == 2


def test_configs_leave_nothing_behind_and_are_never_stale(tmp_path: pathlib.Path) -> None:
    """Two of one length within a second: importlib would take the first one's bytecode for the second."""
    path = tmp_path / "mine.py"
    for seed in (1, 2):
        path.write_text(f"from gan_jax import Config\ndef get_config(): return Config(seed={seed})\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        assert load_config(path).seed == seed
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.py"]
    path.write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(InputError, match="SystemExit"):
        load_config(path)


INTERRUPTED = """
import signal, time
from gan_jax import cli

class Garbage:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("went on")

def main():
    Garbage()
    time.sleep(60)
    print("went on")

cli.run(main)
"""


def test_ctrl_c_is_not_lost_while_garbage_is_collected() -> None:
    """Python drops what a finaliser raises, and with it a KeyboardInterrupt."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=50)
    assert done.returncode == 130 and not done.stdout and not done.stderr, done.stderr


def test_deep_json_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_json(tmp_path / "config.json")
    (tmp_path / "record.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is damaged"):
        integrity.read_record(tmp_path)


def test_images_that_would_fill_the_memory_are_refused(tmp_path: pathlib.Path) -> None:
    side = 30_000
    for name, shape in (("images-idx3", (1, side, side)), ("labels-idx1", (1,))):
        head = bytes([0, 0, 8, len(shape)]) + b"".join(length.to_bytes(4, "big") for length in shape)
        with open(tmp_path / f"train-{name}-ubyte", "wb") as file:
            file.write(head)
            file.truncate(len(head) + int(np.prod(shape)))  # sparse
    config = DataConfig(source="idx", path=str(tmp_path), image_size=(8, 8))
    with pytest.raises(InputError, match="30000 x 30000 pixels are too large"):
        load_source(config)
    with pytest.raises(InputError, match="do not fit into memory"):
        load_source(DataConfig(source="digits", image_size=(2**20, 2**20)))
    with pytest.raises(InputError, match="no such folder"):
        load_source(DataConfig(source="folder", path="~nobody-of-that-name/photos"))


@pytest.mark.parametrize(
    "facts",
    [
        {"shape": [10**9, 10**9, 3], "num_classes": 0, "class_names": []},
        {"shape": [0, 8, 1], "num_classes": 0, "class_names": []},
        {"shape": ["a"], "num_classes": 0, "class_names": []},
        {"shape": [], "num_classes": 0, "class_names": []},
        {"shape": [8, 8, 1], "num_classes": -1, "class_names": []},
    ],
)
def test_workdirs_that_lie_are_refused(tmp_path: pathlib.Path, facts: dict) -> None:
    settle_config(tmp_path, Config())
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="dataset.json is missing or damaged"):
        load(tmp_path)


def test_records_lead_nowhere_else(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    for name in ("../secret", "/etc/hostname"):
        integrity.seal(folder, integrity.Record(7, {}, {}, {}, {name: (0, 0)}))
        with pytest.raises(InputError, match="outside the checkpoint"):
            integrity.check_files(folder, integrity.read_record(folder))
