"""A workdir belongs to one run and one config; signals stop a run where it can save."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from gan_jax.config import Config, read_json
from gan_jax.errors import InputError
from gan_jax.evaluation.scoring import evaluate
from gan_jax.gan import load
from gan_jax.runtime.files import plain_folder
from gan_jax.runtime.signals import StopSignal
from gan_jax.runtime.workdir import lock_workdir, open_workdir, settle_config
from gan_jax.training import train

RUN = """
import sys, time, pathlib
sys.path.insert(0, {root!r})
import jax
jax.config.update("jax_platforms", "cpu")
from gan_jax.config import Config
from gan_jax.runtime.signals import StopSignal
from gan_jax.runtime.workdir import open_workdir
with open_workdir(pathlib.Path(sys.argv[1]), Config()), StopSignal() as stop:
    print("running", flush=True)
    step = 0
    while not stop.requested(step):
        step += 1
        time.sleep(0.01)
print("saved after", stop.signal.name)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_second_run_is_refused_until_the_first_ends(
    root: pathlib.Path, tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    """However it ends."""
    command = [sys.executable, "-c", RUN.format(root=str(root)), str(tmp_path / "run")]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "running\n"
    try:
        with pytest.raises(InputError, match=rf"run is in use by another run \(pid {first.pid} on .*another --workdir"):
            with lock_workdir(tmp_path / "run"):
                pytest.fail("two runs in one workdir")
    finally:
        first.send_signal(number)
        out, err = first.communicate(timeout=60)
    if number == signal.SIGTERM:
        assert (first.returncode, out) == (0, "saved after SIGTERM\n") and "stopping after this step" in err
    with open_workdir(tmp_path / "run", Config()) as folder:
        assert folder == tmp_path / "run"


def test_lock_is_let_go_after_an_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ZeroDivisionError), lock_workdir(tmp_path):
        with pytest.raises(InputError, match=f"pid {os.getpid()}"), lock_workdir(tmp_path):
            pytest.fail("the same process has it already")
        raise ZeroDivisionError
    with lock_workdir(tmp_path):
        pass


def test_unusable_workdir_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match=r"file.* cannot be written \(.*\): .*take another --workdir"):
            with lock_workdir(workdir):
                pytest.fail("a file is no folder")


@pytest.mark.parametrize("name", ["gs://bucket/run", "s3://bucket/run", pathlib.Path("gs://bucket/run")], ids=str)
def test_an_address_is_one_line_and_no_folder(name: str | pathlib.Path, tmp_path: pathlib.Path) -> None:
    for act in (lambda: train(Config(), name), lambda: load(name), lambda: evaluate(name)):
        with pytest.raises(InputError, match="workdir [gs][s3]:.* is an address, not a folder: mount the bucket"):
            act()


def test_home_and_odd_names_are_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert plain_folder("~/runs/a") == pathlib.Path("/home/me/runs/a")
    assert plain_folder("runs/a:b") == pathlib.Path("runs/a:b") and plain_folder("C:/runs") == pathlib.Path("C:/runs")
    with pytest.raises(InputError, match="~nobody-of-that-name"):
        plain_folder("~nobody-of-that-name/run")


def test_same_config_resumes_and_another_is_refused(tmp_path: pathlib.Path) -> None:
    config = Config().replace({"data.image_size": "16,24", "penalty.r1": 0.5})
    assert settle_config(tmp_path, config) is False
    before = (tmp_path / "config.json").read_bytes()
    assert read_json(tmp_path / "config.json") == config
    assert settle_config(tmp_path, config) is True
    changed = config.replace({"model.latent_size": 7, "penalty.r1": 2.0, "seed": 3, "loss.name": "hinge"})
    with pytest.raises(InputError) as e:
        settle_config(tmp_path, changed)
    message = str(e.value)
    assert "\n" not in message and str(tmp_path) in message
    assert "seed was 0 and is now 3" in message and "model.latent_size was 64 and is now 7" in message
    assert "(and 1 more): take another --workdir, or give the same settings" in message
    assert (tmp_path / "config.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"total_images": 5_000_000},
        {"log.metrics_images": 1, "log.keep": 9},
        {"data.path": "elsewhere", "data.residency": "stream", "data.resident_mb": 7, "data.threads": 1},
        {"step.per_dispatch": 3},
    ],
)
def test_what_is_not_learnt_may_change(tmp_path: pathlib.Path, change: dict[str, Any]) -> None:
    settle_config(tmp_path, Config())
    assert settle_config(tmp_path, Config().replace(change)) is True
    assert read_json(tmp_path / "config.json") == Config().replace(change)


def test_damaged_or_lost_config_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"sed": 3}))
    with pytest.raises(InputError, match="sed"):
        settle_config(tmp_path, Config())
    (tmp_path / "config.json").unlink()
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="config.json is missing but .* holds checkpoints"):
        settle_config(tmp_path, Config())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_asks_to_stop_and_handlers_are_put_back(number: signal.Signals, capfd: pytest.CaptureFixture) -> None:
    former = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with StopSignal() as stop:
        assert not stop.requested(1) and stop.signal is None
        signal.raise_signal(number)
        assert stop.requested(2) and stop.requested(3) and stop.signal is number
        signal.raise_signal(signal.SIGTERM)  # asked twice is asked once
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.signal is number
    assert {n: signal.getsignal(n) for n in former} == former
    assert capfd.readouterr().err.count("stopping after this step") == 1


def test_other_threads_catch_no_signals() -> None:
    former, seen = signal.getsignal(signal.SIGINT), []

    def run() -> None:
        with StopSignal() as stop:
            seen.append((stop.requested(1), signal.getsignal(signal.SIGINT) is former))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
