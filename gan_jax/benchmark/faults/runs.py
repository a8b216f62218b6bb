"""Runs that are started as a user starts them, watched, and compared. Imports config, errors and runtime."""

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.config import Config, to_dict
from gan_jax.errors import InputError
from gan_jax.runtime.checkpoint import Checkpoints

PATIENCE = 1_800.0  # seconds that a command or a condition may take on a machine that does much else
BATCH = 32
ONCE_STARTED = "metrics.jsonl"

CONFIG_FILE = """import json

from gan_jax.config import from_dict


def get_config():
    return from_dict(json.loads({text!r}))
"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def is_refusal(self, *words: str) -> bool:
        """Whether it ended as bad input must: exit code 2 and one line, with these words in it."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        clear = self.code == 2 and len(lines) == 1 and "Traceback" not in self.err + self.out
        return clear and all(word in lines[0] for word in words)


def small_config(seed: int, changes: Mapping[str, Any] | None = None) -> Config:
    """Narrow dense networks on the digits: a step takes milliseconds, and each is written down.

    All of a run's parts are on; every checkpoint is kept.
    """
    return Config().replace(
        {
            "seed": seed,
            "data.batch_size": BATCH,
            "data.image_size": 8,
            "model.architecture": "mlp",
            "model.latent_size": 8,
            "model.g_width": 32,
            "model.d_width": 32,
            "model.blocks": 1,
            "loss.name": "relativistic",
            "penalty.r1": 0.5,
            "penalty.r2": 0.5,
            "optimizer.beta1": 0.0,
            "step.per_dispatch": 1,
            "log.metrics_images": BATCH,
            "log.samples_images": 100 * BATCH,
            "log.keep": 1_000_000,
            **(changes or {}),
        }
    )


def command(config: Config, workdir: Path, *flags: str) -> list[str]:
    """The line that trains a config in a workdir; its config file is put beside the workdir."""
    file = workdir.with_name(f"{workdir.name}_config.py")
    file.write_text(CONFIG_FILE.format(text=json.dumps(to_dict(config))))
    return [sys.executable, "-m", "gan_jax.main", f"--config={file}", f"--workdir={workdir}", "--processes=1", *flags]


def environment(folder: Path) -> dict[str, str]:
    """Of the commands: the CPU, where sums have a fixed order, and one compile cache, so that restarts are quick."""
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(folder / "cache")
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHON": sys.executable,  # of launch/local.sh
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }


@contextlib.contextmanager
def started(line: Sequence[str], folder: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A running command, in a folder that takes what it writes; killed at the end if it still runs."""
    out, err = ((folder / f"{name}.txt").open("w") for name in ("out", "err"))
    with out, err:
        process = subprocess.Popen(
            line, stdout=out, stderr=err, text=True, cwd=folder, env=environment(folder), **options
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def ended(process: subprocess.Popen[str], folder: Path, seconds: float = PATIENCE) -> Ended:
    """Waits for a command that `started` began in a folder.

    Raises:
        InputError: it goes on for too long.
    """
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise InputError(f"the command in {folder} did not end within {seconds:.0f} s") from None
    return Ended(code, (folder / "out.txt").read_text(), (folder / "err.txt").read_text())


def finished(line: Sequence[str], folder: Path) -> Ended:
    """Runs a command to its end."""
    with started(line, folder) as process:
        return ended(process, folder)


def train_whole(config: Config, workdir: Path) -> None:
    """A run that nothing happens to.

    Raises:
        InputError: it failed all the same, so that nothing can be compared with it.
    """
    done = finished(command(config, workdir), workdir.parent)
    if done.code:
        raise InputError(f"the undisturbed run ended with exit code {done.code}: {done.err.strip()[-300:]}")


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str], pause: float = 0.001) -> bool:
    """Whether a condition came true while the process ran.

    Raises:
        InputError: neither happened in time.
    """
    end = time.monotonic() + PATIENCE
    while process.poll() is None:
        if condition():
            return True
        if time.monotonic() > end:
            raise InputError(f"nothing happened within {PATIENCE:.0f} s")
        time.sleep(pause)
    return False


def workspace() -> tempfile.TemporaryDirectory[str]:
    """A folder that is removed at the end."""
    return tempfile.TemporaryDirectory(prefix="gan_jax_reliability_")


def last_step(workdir: Path) -> int:
    """Steps done by the last whole line of a run's metrics.jsonl; -1 without one."""
    path = workdir / ONCE_STARTED
    if not path.exists():
        return -1
    for line in reversed(path.read_text().splitlines()):
        with contextlib.suppress(ValueError, KeyError):
            return int(json.loads(line)["step"])
    return -1


def measured_lines(workdir: Path) -> list[dict[str, Any]]:
    """The measurements of metrics.jsonl, without the times."""
    lines = [json.loads(line) for line in (workdir / ONCE_STARTED).read_text().splitlines()]
    timing = ("time", "images_per_second")
    return [{k: v for k, v in line.items() if k not in timing} for line in lines if "event" not in line]


def events(workdir: Path, kind: str) -> list[dict[str, Any]]:
    """The events of one kind in metrics.jsonl."""
    lines = [json.loads(line) for line in (workdir / ONCE_STARTED).read_text().splitlines()]
    return [line for line in lines if line.get("event") == kind]


def steps(workdir: Path) -> list[int]:
    """Steps that a run has checkpoints of."""
    return Checkpoints(workdir / "checkpoints").steps()


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def arrays_of(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint, checked against its record.

    Raises:
        InputError: it is missing or damaged.
    """
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        leaves = checkpoints.record(step).leaves
        abstract = {name: jax.ShapeDtypeStruct(shape, dtype) for name, (dtype, shape, _) in leaves.items()}
        state, _ = checkpoints.restore(step, abstract)
    return {name: np.asarray(leaf) for name, leaf in state.items()}


def difference(workdir: Path, other: Path, step: int) -> float:
    """Largest difference of two runs' states at a step: 0 if they are the same bit for bit, infinite if unlike."""
    here, there = arrays_of(workdir, step), arrays_of(other, step)
    if here.keys() != there.keys():
        return math.inf
    largest = 0.0
    for name, left in here.items():
        right = there[name]
        if left.dtype != right.dtype or left.shape != right.shape:
            return math.inf
        if left.tobytes() != right.tobytes():
            gap = np.abs(left.astype(np.float64) - right.astype(np.float64)).max()
            # Bits may differ where numbers do not: 0 and -0.
            largest = max(largest, float(gap) if np.isfinite(gap) else math.inf, sys.float_info.min)
    return largest


def survives(workdir: Path, whole: Path) -> bool:
    """Whether the newest checkpoint of a run is whole and the same as that of the undisturbed run; true without any."""
    known = steps(workdir)
    try:
        return not known or difference(workdir, whole, known[-1]) == 0
    except InputError:
        return False


def stop(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Sends a signal, unless the process has just ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
