"""A long run whose memory and open files are watched from outside. Imports the room's runs and suite."""

import os
import signal
import statistics
import time
from pathlib import Path

from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.faults import runs
from gan_jax.benchmark.suite import Outcome
from gan_jax.config import Config
from gan_jax.errors import InputError

GROWTH = 3.0  # percent that memory may grow after the warm-up
_WINDOWS = 20  # into which the time after the warm-up is cut
_LOOK, _LATE = 1.0, 5.0  # seconds between looks, and from which on this process must have been paused


def soak_config(seed: int, changes: dict[str, object] | None = None) -> Config:
    """The default recipe on the digits without an end; all that a run writes comes often."""
    often = {
        "log.metrics_images": 2_000,
        "log.samples_images": 20_000,
        "log.checkpoint_images": 20_000,
        "evaluation.every_images": 200_000,
        "evaluation.features": "pca",
        "evaluation.count": 500,
        "total_images": 10**12,
    }
    return checkout_config("digits").replace({"seed": seed, **often, **(changes or {})})


def soak(seed: int, minutes: float, warmup_minutes: float, changes: dict[str, object] | None = None) -> Outcome:
    """Trains for a while and looks at the process from outside.

    Args:
        seed: of the run.
        minutes: that are watched, warm-up included, from the first checkpoint on; pauses of the benchmark do not count.
        warmup_minutes: at the beginning, that do not count.
        changes: of the config.

    Returns:
        tried: memory, open files, and the end by SIGTERM. passed: of these. worst: largest growth of resident memory
        after the warm-up, percent, of the median in a twentieth of the time against the first. files_first and
        files_last: open files. memory_mb: at the end. steps: done.
    """
    if not Path("/proc/self/status").exists():
        raise InputError("the arm soak reads /proc, which this system has not: run it on Linux")
    begin, config = time.perf_counter(), soak_config(seed, changes)
    samples: list[tuple[float, float, int]] = []  # seconds, megabytes, open files
    with runs.workspace() as name:
        workdir = Path(name) / "run"
        with runs.started(runs.command(config, workdir), workdir.parent) as process:
            runs.wait_until(lambda: runs.steps(workdir), process, pause=0.1)
            watched, before = 0.0, time.monotonic()
            while process.poll() is None and watched < 60 * minutes:
                samples.append((watched, _resident(process.pid), _open_files(process.pid)))
                time.sleep(min(_LOOK, 60 * minutes / 500))
                now = time.monotonic()
                watched, before = watched + min(now - before, _LATE), now
            runs.stop(process, signal.SIGTERM)
            done = runs.ended(process, workdir.parent)
        steps = runs.last_step(workdir)
    counted = [sample for sample in samples if sample[0] >= 60 * warmup_minutes]
    if done.code != 128 + signal.SIGTERM or len(counted) < 2 * _WINDOWS:
        raise InputError(f"the run ended after {len(samples)} looks, exit code {done.code}: {done.err.strip()[-300:]}")
    size = len(counted) // _WINDOWS
    windows = [counted[index * size : (index + 1) * size] for index in range(_WINDOWS)]
    memory = [statistics.median(sample[1] for sample in window) for window in windows]
    # The lowest of a window: a file is open for a moment while it is written.
    files = [min(sample[2] for sample in window) for window in windows]
    growth = 100 * (max(memory) / memory[0] - 1)
    passed = (growth <= GROWTH) + (max(files) <= files[0]) + 1
    metrics = {"tried": 3, "passed": passed, "worst": growth, "files_first": files[0], "files_last": files[-1]}
    metrics |= {"memory_mb": memory[-1], "steps": steps}
    return Outcome(metrics, time.perf_counter() - begin, steps * config.images_per_step)


def _resident(process: int) -> float:
    """Megabytes of memory that a process holds."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def _open_files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))
