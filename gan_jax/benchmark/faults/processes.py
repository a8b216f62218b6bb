"""Several real processes against one, by launch/local.sh. Imports the room's checkout, runs and suite."""

import json
import os
import signal
import time
from pathlib import Path

from gan_jax.benchmark.checkout import ROOT
from gan_jax.benchmark.faults import runs
from gan_jax.benchmark.suite import Outcome
from gan_jax.config import Config
from gan_jax.errors import InputError

AGREE = 1e-5  # largest difference of parameters that the order of sums explains
SCRIPT = ROOT / "launch" / "local.sh"


def several(seed: int, number: int, steps: int) -> Outcome:
    """Real data, evaluation and checkpoints on; the same run by one process and by several, undisturbed and stopped.

    Args:
        seed: of the run.
        number: of processes.
        steps: of the run.

    Returns:
        tried: the state at the end; the scores; SIGTERM to the last process alone, after which all save one step and
        leave with exit code 143; the state after one process has resumed from there. passed: of these, states within
        1e-5 and scores within 1 percent of the single process's. worst: largest difference of the states.

    Raises:
        InputError: launch/local.sh is not beside the package.
    """
    if not SCRIPT.is_file():
        raise InputError(f"{SCRIPT.name} is not beside the package: run the benchmark from a checkout")
    begin = time.perf_counter()
    config = _config(seed, steps)
    with runs.workspace() as name:
        root = Path(name)
        alone, together, stopped = (root / folder for folder in ("alone", "together", "stopped"))
        runs.train_whole(config, alone)
        done = runs.finished(_command(config, together, number), root)
        if done.code:
            raise InputError(f"{number} processes ended with exit code {done.code}: {done.err.strip()[-400:]}")
        gap = runs.difference(together, alone, steps)
        one_step = _stop_one(config, stopped, number)
        end = max(steps, runs.last_step(stopped) + 1)
        longer = config.replace({"total_images": end * runs.BATCH})
        again = [runs.finished(runs.command(longer, workdir), root).code for workdir in (stopped, alone)]
        later = float("inf") if any(again) else runs.difference(stopped, alone, end)
        checks = [gap <= AGREE, _same_scores(together, alone), one_step, later <= AGREE]
    if not all(checks):
        print(f"processes_{number}: state, scores, stop, resumed: {checks}; {gap:g}, {later:g}", flush=True)
    metrics = {"tried": len(checks), "passed": sum(checks), "worst": max(gap, later)}
    return Outcome(metrics, time.perf_counter() - begin, 3 * config.total_images)


def _config(seed: int, steps: int) -> Config:
    images = steps * runs.BATCH
    changes = {
        "total_images": images,
        "log.checkpoint_images": images // 4,
        "evaluation.every_images": images // 2,
        "evaluation.features": "pca",
        "evaluation.count": 200,
        # Adam divides the rounding of a gradient near zero by itself; see docs/architecture.md.
        "optimizer.eps": 1e-4,
    }
    return runs.small_config(seed, changes)


def _command(config: Config, workdir: Path, number: int) -> list[str]:
    config_flag = next(part for part in runs.command(config, workdir) if part.startswith("--config="))
    return ["bash", str(SCRIPT), str(number), config_flag, f"--workdir={workdir}"]


def _stop_one(config: Config, workdir: Path, number: int) -> bool:
    """SIGTERM to the last process alone, before the first step; whether all save one step and leave."""
    slow = config.replace({"total_images": 10**9})  # an end that cannot come first; `total_images` may change
    with runs.started(_command(slow, workdir, number), workdir.parent) as script:
        runs.wait_until(lambda: runs.last_step(workdir) >= 0, script)
        os.kill(_process(script.pid, number - 1), signal.SIGTERM)
        done = runs.ended(script, workdir.parent)
    return done.code == 128 + signal.SIGTERM and runs.steps(workdir)[-1] == runs.last_step(workdir)


def _process(script: int, index: int) -> int:
    """The process of a running launch/local.sh that has a number."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if parent == script and f"--process={index}".encode() in words:
            return int(folder.name)
    raise InputError(f"process {index} of launch/local.sh is not to be seen in /proc: run the arm on Linux")


def _same_scores(workdir: Path, other: Path) -> bool:
    """Whether both runs have the same scores up to 1 percent, and any at all."""
    left, right = (_scores(folder) for folder in (workdir, other))
    close = all(abs(a - b) <= 0.01 * max(1.0, abs(b)) for a, b in zip(left, right, strict=False))
    return bool(left) and len(left) == len(right) and close


def _scores(workdir: Path) -> list[float]:
    lines = [json.loads(line) for line in (workdir / runs.ONCE_STARTED).read_text().splitlines()]
    return [line["fid"] for line in lines if "fid" in line]
