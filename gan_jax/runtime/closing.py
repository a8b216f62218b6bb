"""The last words of a run: how it went, where everything lies, what to do next. Imports config and its own room."""

import datetime
import shlex
from pathlib import Path

from gan_jax.config import Config
from gan_jax.runtime.history import read_history

_PARTS = ("config.json", "metrics.jsonl", "samples/", "checkpoints/", "tensorboard/", "wandb/")


def closing_words(workdir: Path, config: Config, shape: tuple[int, ...]) -> str:
    """A summary of a finished run for a terminal.

    Args:
        workdir: folder of the run, with its journal.
        config: of the run.
        shape: of one example.
    """
    history = read_history(workdir)
    seconds = datetime.timedelta(seconds=round(history.seconds))
    lines = [f"done: {config.total_steps:,} steps, {config.total_steps * config.images_per_step:,} images in {seconds}"]
    if speed := history.typical("images_per_second"):
        lines[0] += f" ({speed:,.0f} images/s)"
    if best := history.best("fid"):
        lines.append(f"best FID {best[0]:.4g} at step {best[1]:,}; that checkpoint is kept (--checkpoint=best)")
    if rollbacks := sum(event["event"] == "rollback" for event in history.events):
        lines.append(f"the watchdog went back {rollbacks} times; metrics.jsonl says why")
    there = [name for name in _PARTS if (workdir / name).exists()]
    lines.append(f"everything is in {workdir}: {', '.join(there)}")
    folder = shlex.quote(str(workdir))
    lines += [
        "next:",
        f"  python -m gan_jax.report --workdir={folder}       # one page of the run",
        f"  python -m gan_jax.sample --workdir={folder} --num=64 --out=grid.png",
        f"  python -m gan_jax.evaluate --workdir={folder}     # FID, coverage, copies",
    ]
    if len(shape) == 3:  # it shows images
        lines.append(f"  python -m gan_jax.playground --workdir={folder}   # sliders in a browser")
    return "\n".join(lines)
