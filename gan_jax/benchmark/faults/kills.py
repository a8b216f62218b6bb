"""kill -9 at random moments of one run, resumed each time. Imports the room's runs and suite."""

import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from gan_jax.benchmark.faults import runs
from gan_jax.benchmark.suite import Outcome
from gan_jax.config import Config

SAVING = ".orbax-checkpoint-tmp"  # of the folder of a save under way


def resume_kill(seed: int, kills: int, steps_between: int, save_every: int) -> Outcome:
    """A run that is killed again and again, against one that is not.

    A quarter of the kills falls into the start of the command, a half into a save, the rest anywhere.

    Args:
        seed: of the run and of the moments.
        kills: how many.
        steps_between: steps from one kill to the next.
        save_every: steps between checkpoints.

    Returns:
        tried: kills. passed: kills after which the newest checkpoint is whole and bit for bit that of the undisturbed
        run, if the end is so too; else 0. worst: largest difference of the final states. in_saves: kills that left a
        half-written checkpoint. lines_differ: lines of metrics.jsonl that are not those of the undisturbed run.
    """
    begin, random = time.perf_counter(), np.random.default_rng(seed)
    total = (kills + 2) * steps_between
    config = runs.small_config(
        seed, {"total_images": total * runs.BATCH, "log.checkpoint_images": save_every * runs.BATCH}
    )
    with runs.workspace() as name:
        root = Path(name)
        whole, hurt = root / "whole", root / "hurt"
        launch = time.perf_counter()
        runs.train_whole(config, whole)
        start_seconds = min(5.0, time.perf_counter() - launch)
        struck = passed = in_saves = 0
        for kill in range(kills):
            kind = ("start", "save", "anywhere", "save")[kill % 4]
            if _strike(config, hurt, kind, (kill + 1) * steps_between, start_seconds, random):
                struck += 1
                in_saves += any(SAVING in path.name for path in (hurt / "checkpoints").glob("*"))
                passed += runs.survives(hurt, whole)
        done = runs.finished(runs.command(config, hurt), root)
        worst = runs.difference(hurt, whole, total) if done.code == 0 else float("inf")
        left, right = runs.measured_lines(hurt), runs.measured_lines(whole)
    odd = abs(len(left) - len(right)) + sum(a != b for a, b in zip(left, right, strict=False))
    metrics = {"tried": struck, "passed": 0 if worst else passed, "worst": worst}
    metrics |= {"in_saves": in_saves, "lines_differ": odd}
    return Outcome(metrics, time.perf_counter() - begin, config.total_images)


def _strike(
    config: Config, workdir: Path, kind: str, step: int, start_seconds: float, random: np.random.Generator
) -> bool:
    """Starts or resumes the run and kills it; whether it still ran then."""

    def saving() -> bool:
        return any(SAVING in path.name for path in (workdir / "checkpoints").glob("*"))

    left_over = saving()
    with runs.started(runs.command(config, workdir), workdir.parent) as process:
        if kind == "start":
            time.sleep(random.uniform(0, start_seconds))
        else:
            runs.wait_until(lambda: runs.last_step(workdir) >= step, process)
            if kind == "save":
                # What the kill before left is cleared by the first save of this attempt.
                if left_over:
                    runs.wait_until(lambda: not saving(), process)
                runs.wait_until(saving, process, pause=0)
                time.sleep(random.uniform(0, 0.02))
            else:
                time.sleep(random.uniform(0, 0.1))
        return _kill(process)


def _kill(process: subprocess.Popen[str]) -> bool:
    runs.stop(process, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL
