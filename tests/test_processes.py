"""Several real processes over loopback: the numbers of one, one decision on every stop, one line for every error."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from typing import Any

import jax
import numpy as np
import processes
import pytest
from tiny import tiny_config

import gan_jax
from gan_jax.config import to_dict
from gan_jax.errors import InputError
from gan_jax.evaluation.scoring import evaluate
from gan_jax.program import build
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.mesh import make_mesh
from gan_jax.runtime.processes import meet

STEPS = 20
CONFIG = tiny_config(
    "mlp",  # compiles quickest; other networks on several devices are in test_parallel.py
    {
        "total_images": 16 * STEPS,
        "data.source": "digits",
        "data.image_size": 8,
        "data.channels": 1,
        "optimizer.g_lr": 1e-3,  # a schedule would stretch when a run is made longer
        "penalty.r1": 0.0,
        "penalty.r2": 0.0,
        "step.per_dispatch": 2,
        "evaluation.every_images": 160,
        "evaluation.count": 128,
        "evaluation.features": "pca",
    },
)


def parameters(workdir: pathlib.Path, step: int) -> Any:
    """Weights and statistics of a checkpoint."""
    program = build(CONFIG, (8, 8, 1), 10, make_mesh(jax.devices()[:1]))
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        state = jax.device_get(checkpoints.restore(step, program.abstract_state)[0])
    assert int(state.step) == step
    return state.g.params, state.g.stats, state.d.params, state.ema.params


def assert_close(one: Any, other: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), one, other)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Holds the config file and runs of 20 steps in one process and in two."""
    folder = tmp_path_factory.mktemp("processes")
    file = processes.write_config(folder / "config.py", to_dict(CONFIG))
    gan_jax.train(CONFIG, folder / "1", jax.devices()[:1])
    results = processes.finish([processes.launch(2, [str(file), f"--workdir={folder / '2'}"])])
    assert [code for code, _, _ in results] == [0] and results[0][1].count("done: 20 steps") == 1, results
    return folder


@pytest.fixture(scope="module")
def four(folder: pathlib.Path) -> None:
    """Adds a run of four processes, which stream their data; each compiles for itself, which takes long."""
    line = ["-m", "gan_jax.main", f"--config={folder / 'config.py'}", f"--workdir={folder / '4'}"]
    results = processes.finish(processes.start([*line, "--config.data.residency=stream"], 4))
    assert [code for code, _, _ in results] == [0] * 4, results
    assert [out.count("done: 20 steps") for _, out, _ in results] == [1, 0, 0, 0]  # process 0 alone


@pytest.mark.slow
@pytest.mark.usefixtures("four")
def test_four_processes_give_the_numbers_of_one(folder: pathlib.Path) -> None:
    check_numbers(folder, "4")


def test_two_processes_give_the_numbers_of_one(folder: pathlib.Path) -> None:
    check_numbers(folder, "2")


def check_numbers(folder: pathlib.Path, count: str) -> None:
    """Parameters, losses, scores and files of a run in `count` processes are those of one."""
    for step in (10, STEPS):
        assert_close(parameters(folder / count, step), parameters(folder / "1", step))
    for name in ("d_loss", "fid", "coverage"):
        one, other = (processes.measurements(folder / run, name) for run in ("1", count))
        assert one.keys() == other.keys() and max(one) == STEPS
        np.testing.assert_allclose(list(other.values()), list(one.values()), rtol=1e-3)
    names = [sorted(str(p.relative_to(folder / run)) for p in (folder / run).glob("*")) for run in ("1", count)]
    assert names[0] == names[1]
    start = json.loads((folder / count / "metrics.jsonl").read_text().splitlines()[0])
    assert start["processes"] == int(count) == start["devices"]


def test_sigterm_to_one_process_saves_one_step_that_any_number_of_devices_resumes(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(folder / "2", tmp_path / "cut")
    line = ["-m", "gan_jax.main", f"--config={folder / 'config.py'}", f"--workdir={tmp_path / 'cut'}"]
    children = processes.start([*line, "--config.total_images=16000000"], 2)
    processes.wait_for_step(tmp_path / "cut", STEPS)
    children[1].send_signal(signal.SIGTERM)
    results = processes.finish(children)
    assert [code for code, _, _ in results] == [143, 143], results
    step = max(processes.checkpoints(tmp_path / "cut"))
    assert f"stopped at step {step:,} of" in results[0][1] and step > STEPS
    curves, ends = [], []
    for devices in (1, 2, 4):
        workdir = tmp_path / f"on_{devices}"
        shutil.copytree(tmp_path / "cut", workdir)
        longer = CONFIG.replace({"total_images": 16 * (step + 8)})
        gan_jax.train(longer, workdir, jax.devices()[:devices])
        curve = processes.measurements(workdir, "d_loss")
        curves.append([curve[done] for done in sorted(curve) if done >= step - 4])  # two of them before the stop
        ends.append(parameters(workdir, step + 8))
    assert len(curves[0]) == 7
    for curve, end in zip(curves[1:], ends[1:], strict=True):
        np.testing.assert_allclose(curve, curves[0], rtol=0, atol=1e-5)
        assert_close(end, ends[0])


def test_evaluate_shares_the_work(folder: pathlib.Path) -> None:
    script = processes.launch(2, [f"--workdir={folder / '2'}", "--metrics=fid,kid,prdc"], VERB="evaluate")
    ((code, out, err),) = processes.finish([script])
    assert code == 0, err
    assert out.count("real data") == 1  # one table
    shared = json.loads((folder / "2" / "scores.json").read_text())
    alone = evaluate(folder / "2", metrics=["fid", "kid", "prdc"])
    for part in ("scores", "floor"):
        assert shared[part] == pytest.approx(alone[part], rel=1e-3, abs=1e-5)


def test_what_is_wrong_on_one_process_ends_all_before_any_work(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    line = ["-m", "gan_jax.main", f"--config={folder / 'config.py'}", f"--workdir={tmp_path / 'run'}"]
    lost = [f"--config.data.path={tmp_path / 'lost'}", "--config.data.source=idx"]
    begin = time.monotonic()
    (first, _, first_err), (second, _, second_err) = processes.finish(processes.start(line, 2, {1: lost}))
    assert (first, second) == (2, 2), (first_err, second_err)
    assert "error: process 1 stopped the run: see its message" in first_err and "lost" in second_err
    assert "Traceback" not in first_err + second_err and not (tmp_path / "run").exists()
    assert time.monotonic() - begin < processes.TIMEOUT / 2


AGREE = """
import os, pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}]
folder, port, count, number = pathlib.Path(sys.argv[1]), *[text.partition("=")[2] for text in sys.argv[2:]]
number = int(number)
import numpy as np
from gan_jax.errors import InputError
from gan_jax.runtime import agreement, processes
processes.meet(port, int(count), number, seconds=120)
import jax
from test_data_records import config_of, tfds
from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.runtime.mesh import batch_sharding, make_mesh, put, replicated
from gan_jax.runtime import workdir

prepared, prepare = [], tfds.core.DatasetBuilder.download_and_prepare
tfds.core.DatasetBuilder.download_and_prepare = lambda *a, **b: (prepared.append(1), prepare(*a, **b))
source = agreement.first_then_others(lambda: load_source(config_of(folder / "tfds")))
assert len(source) == 300 and len(prepared) == (1 if number == 0 else 0), prepared

read = []
class Watched:
    shape, num_classes, class_names = (2, 2, 1), 0, ()
    def __len__(self):
        return 64
    def read(self, indices):
        read.append(len(indices))
        return {{"image": np.zeros((len(indices), 2, 2, 1), np.uint8) + indices[:, None, None, None].astype(np.uint8)}}
mesh = make_mesh()
with Pipeline(Watched(), DataConfig(residency="stream"), 0, 1, 16, batch_sharding(mesh, axis=1)) as pipeline:
    batch = pipeline.batch(0)["image"]
    assert batch.shape == (1, 16, 2, 2, 1)
assert set(read) == {{8}}, read

assert agreement.bytes_from_first(b"of 0" if number == 0 else b"other") == b"of 0"
assert agreement.everyone(True) and not agreement.everyone(number == 0)
count = put(np.int32(7), replicated(mesh))
assert count.is_fully_replicated and int(count) == 7
workdir._SEEN_WITHIN = 1
try:
    with workdir.lock_workdir(folder / f"disk{{number}}"):
        raise SystemExit("taken for one folder")
except InputError as error:
    print("refused:", error)
try:
    agreement.together(lambda: 1 / number)
except (ZeroDivisionError, InputError) as error:
    print("refused:", type(error).__name__, error)
processes.part(0)
"""


def test_processes_decide_alike_and_read_their_share(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    script = AGREE.format(root=str(root), tests=str(root / "tests"))
    results = processes.finish(processes.start(["-c", script, str(tmp_path)], 2))
    assert [code for code, _, _ in results] == [0, 0], results
    refused = [[line for line in out.splitlines() if line.startswith("refused")] for _, out, _ in results]
    assert "ZeroDivisionError" in refused[0][1]
    assert refused[1][1] == "refused: InputError process 0 stopped the run: see its message"
    assert "process 1 stopped the run" in refused[0][0] and "not the same folder" in refused[1][0]


def test_processes_that_cannot_meet_say_why() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        cases = {
            ("host:1234", None, None): "--processes and --process missing",
            ("", 2, None): "--coordinator and --process missing",
            ("", None, 0): "--coordinator and --processes missing",
            ("host:1234", 2, 2): r"--process=2 must lie in 0\.\.1",
            ("host", 2, 0): "--coordinator=host is no HOST:PORT",
            ("host:port", 2, 0): "is no HOST:PORT",
            (f"127.0.0.1:{port}", 2, 0): f"cannot listen at port {port}",
            (f"127.0.0.1:{processes.free_port()}", 2, 1): "cannot be reached within 1 s .*start process 0 there",
        }
        for arguments, message in cases.items():
            with pytest.raises(InputError, match=message) as error:
                meet(*arguments, seconds=1)
            assert error.value.exit_code == (4 if "start process 0" in message else 2)  # waiting may help, or not
    meet(processes=1)  # asks for no others
    assert not jax.distributed.is_initialized()


FAKE = """#!/bin/bash
[[ $1 == -c && $2 == *socket* ]] && { echo 12345; exit; } # asked for a free port
[[ $1 == -c ]] && exit                                     # asked what is installed
for word in "$@"; do [[ $word == --process=* ]] && number=${word#--process=}; done
trap 'echo "$number got TERM"; exit 143' TERM
echo "$number: $JAX_NUM_CPU_DEVICES $JAX_PLATFORMS $*"
case $KIND in good) exit 0 ;; bad) ((number == 1)) && exit 7 ;; esac
for _ in {1..300}; do sleep 0.1; done
"""


def test_local_script_starts_stops_and_reports(tmp_path: pathlib.Path) -> None:
    """With a stand-in for Python; the real one is in the tests above."""
    fake = tmp_path / "python"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    good = processes.launch(3, ["configs/a.py", "--x=1"], PYTHON=str(fake), KIND="good", CPU_DEVICES="6")
    ((code, out, err),) = processes.finish([good])
    assert code == 0 and err == ""
    flags = "--coordinator=127.0.0.1:12345 --processes=3 --process={} --config=configs/a.py --x=1"
    assert sorted(out.splitlines()) == [f"{n}: 2 cpu -m gan_jax.main {flags.format(n)}" for n in range(3)]
    bad = processes.launch(3, ["configs/a.py"], PYTHON=str(fake), KIND="bad", GRACE="0")
    ((code, _, err),) = processes.finish([bad])
    assert code == 7 and "process 1 of 3 ended with exit code 7" in err
    stopped = processes.launch(2, ["configs/a.py"], PYTHON=str(fake), KIND="long")
    assert stopped.stdout is not None
    assert {stopped.stdout.readline()[0], stopped.stdout.readline()[0]} == {"0", "1"}
    stopped.send_signal(signal.SIGTERM)
    ((code, out, _),) = processes.finish([stopped])
    assert code == 143 and sorted(out.splitlines()) == ["0 got TERM", "1 got TERM"]
    for arguments, settings, message in (
        ([], {}, "say how many"),
        (["2x"], {}, "say how many"),
        (["2", "a.py"], {"CPU_DEVICES": "3"}, "CPU_DEVICES=3 must be a multiple of the 2 processes"),
        (["2", "a.py"], {"PYTHON": "no-such-python"}, "PYTHON=no-such-python is no command"),
    ):
        script = str(processes.ROOT / "launch" / "local.sh")
        done = subprocess.run(
            ["bash", script, *arguments], env={**os.environ, **settings}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
