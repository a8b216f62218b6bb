"""Checkpoints survive full disks and kills, and several processes agree on them."""

import gc
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_checkpoint import ABSTRACT, assert_same, tiny

from gan_jax.runtime.checkpoint import CheckpointError, Checkpoints


def test_full_disk_is_one_line_and_the_last_checkpoint_stays(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit on the size of files stands for the full disk: the same failure of write()."""
    parts = np.random.default_rng(0).standard_normal((4, 200_000), np.float32)  # several fail at the same time
    big = {name: jnp.asarray(part) for name, part in zip("wxyz", parts, strict=True)}
    target = {name: jax.ShapeDtypeStruct((200_000,), jnp.float32) for name in big}
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, big)
        checkpoints.wait()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(CheckpointError, match="checkpoint 2 cannot be written to .*free space") as e:
                checkpoints.save(2, {**big, "w": big["w"] + 1})
                checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(e.value)
        assert [p.name for p in tmp_path.iterdir()] == ["1"]  # the half-written one does not keep the disk full
        restored = checkpoints.restore_newest(target)
        assert restored is not None and restored[1] == 1
        assert_same(restored[0], big)
        checkpoints.save(2, {**big, "w": big["w"] + 2})  # once there is space again
        checkpoints.wait()
        assert checkpoints.steps() == [2]
        assert_same(checkpoints.restore(2, target)[0], {**big, "w": big["w"] + 2})
    assert [p.name for p in tmp_path.iterdir()] == ["2"]
    del e
    gc.collect()  # Python and asyncio tell of failures that nobody asked for when they are dropped
    assert not caplog.records and "Traceback" not in capfd.readouterr().err


def test_too_little_space_is_said_before_anything_is_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, free = shutil.disk_usage(tmp_path), 3_999
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.zeros(1000)})
        checkpoints.wait()
        monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=free))
        with pytest.raises(CheckpointError, match="it takes 4,000 bytes, 3,999 are free.*free space"):
            checkpoints.save(2, {"w": jnp.ones(1000)})
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_unwritable_folder_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with Checkpoints(tmp_path / "file" / "checkpoints") as checkpoints:
        with pytest.raises(CheckpointError, match="checkpoint 1 cannot be written to .*Not a directory"):
            checkpoints.save(1, tiny(1))


def test_a_process_that_went_is_not_taken_for_a_bad_disk(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the exit code would tell a pod not to start again."""

    def gone(self: Checkpoints, step: int, size: int) -> None:
        raise jax.errors.JaxRuntimeError("Gloo AllGather failed: Connection closed by peer")

    monkeypatch.setattr(Checkpoints, "_make_room", gone)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(jax.errors.JaxRuntimeError):
        checkpoints.save(1, tiny(1))


GONE = """
import pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}]
import jax
jax.config.update("jax_platforms", "cpu")
from test_checkpoint import tiny
from gan_jax.runtime.checkpoint import CheckpointError, Checkpoints
folder = pathlib.Path(sys.argv[1])
def go_away(self, step, size):
    folder.rmdir()
    folder.write_text("")
Checkpoints._make_room = go_away
try:
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, tiny(1))
        checkpoints.wait()
except CheckpointError as error:
    print(error)
"""


def test_a_folder_that_goes_away_does_not_keep_the_command_waiting_at_its_end(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    script = GONE.format(root=str(root), tests=str(root / "tests"))
    folder = tmp_path / "folder"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "checkpoint 1 cannot be written" in done.stdout, done


KILLED = """
import pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}]
import jax
jax.config.update("jax_platforms", "cpu")
from test_checkpoint import tiny
from gan_jax.runtime.checkpoint import Checkpoints
checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), keep=1)
step = 0
while True:
    step += 1
    checkpoints.save(step, tiny(step))
    print(step, flush=True)
"""


def test_killed_at_any_moment_a_whole_checkpoint_is_left(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    script = KILLED.format(root=str(root), tests=str(root / "tests"))
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == 6:
            break
    time.sleep(0.013)  # into the middle of something
    child.kill()
    child.wait()
    child.stdout.close()
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        restored = checkpoints.restore_newest(ABSTRACT)
        assert restored is not None and restored[1] >= 5 and not checkpoints.damaged
        assert_same(restored[0], tiny(restored[1]))
        checkpoints.save(restored[1] + 1, tiny(0))
    assert [p.name for p in tmp_path.iterdir()] == [str(restored[1] + 1)]


PROCESSES = """
import os, pathlib, signal, sys, time
sys.path[:0] = [{root!r}, {tests!r}]
number, port, folder = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 1)
jax.distributed.initialize(f"127.0.0.1:{{port}}", num_processes=2, process_id=number)
from jax.experimental import multihost_utils
from test_checkpoint import abstract, assert_same, flip, largest, tiny
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.mesh import make_mesh, replicated
from gan_jax.runtime.signals import StopSignal
from gan_jax.runtime.workdir import open_workdir
rep = replicated(make_mesh())
spread = jax.jit(lambda state: state, out_shardings=rep)
with open_workdir(folder, Config()):
    with Checkpoints(folder / "checkpoints", keep=3) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, spread(tiny(step)), metrics={{"fid": abs(step - 1.9)}})
        checkpoints.wait()
        if number == 0:
            flip(largest(folder / "checkpoints" / "3"))
        multihost_utils.sync_global_devices("flipped")
        state, step = checkpoints.restore_newest(abstract(rep))
        assert step == 2, step
        assert_same(state, tiny(2))
        assert checkpoints.restore("best", abstract(rep))[1] == 2
        checkpoints.save(3, spread(tiny(3)))
        checkpoints.wait()
        assert checkpoints.steps() == [1, 2, 3]
    try:
        with open_workdir(folder, Config(seed=1)):
            raise SystemExit("opened twice")
    except InputError as error:
        print("refused:", error)
with StopSignal() as stop:
    for step in range(0, 40_000, 8):  # eight steps a dispatch
        if step == 80 and number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.005)
        multihost_utils.sync_global_devices("step")
        if stop.requested(step):
            break
print("stopped", step, stop.signal.name)
jax.distributed.shutdown()
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_two_processes_agree(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """On the step to load, on a refusal, and on where to stop when one of them gets Ctrl-C."""
    script = PROCESSES.format(root=str(root), tests=str(root / "tests"))
    port = str(free_port())
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number), port, str(tmp_path / "run")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [child.communicate(timeout=240) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    last = [out.splitlines()[-1].split() for out, _ in outputs]
    assert last[0][:2] == last[1][:2] and last[0][0] == "stopped" and 80 <= int(last[0][1]) < 39_992
    assert [line[2] for line in last] == ["SIGTERM", "SIGINT"]
    assert "refused: workdir" in outputs[0][0] and "refused: process 0" in outputs[1][0]
