"""What a search found: a config file that runs, a table with seeds and spread, a plot. Imports the room and the config.

The plot needs matplotlib (extra `tune`).
"""

import dataclasses
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.config import Config, flat, load_config, to_dict
from gan_jax.runtime.files import write_atomically
from gan_jax.search.plans import Plan, Trial
from gan_jax.search.space import Float, Space

CONFIG, TABLE, PLOT = "best.py", "tuning.md", "parallel.png"
FOUND, BEFORE = "what was found", "the config as it was"
SHOWN = 10  # trials of the table


@dataclasses.dataclass(frozen=True)
class Findings:
    """The end of a search.

    Attributes:
        config: what to train.
        base: the config that trials shared, a shorter one.
        plan: the rules.
        space: that was searched.
        trials: all of them.
        winner: the one with the least score.
        again: trials of what was found, and of the config as it was, with seeds that had no part in the choice.
    """

    config: Config
    base: Config
    plan: Plan
    space: Space
    trials: Sequence[Trial]
    winner: Trial
    again: Mapping[str, Sequence[Trial]]

    @property
    def steps(self) -> int:
        """That the search took, all trials together."""
        return sum(sum(trial.steps) for trial in self.trials)


def write(findings: Findings, workdir: Path) -> None:
    """Writes best.py, tuning.md and parallel.png into the workdir.

    Raises:
        InputError: a file cannot be written.
    """
    path = workdir / CONFIG
    write_atomically(path, config_text(findings).encode())
    assert load_config(path) == findings.config, f"{path} is not the config that was found"
    write_atomically(workdir / TABLE, (table(findings) + "\n").encode())
    write_atomically(workdir / PLOT, plot(findings))


def config_text(findings: Findings) -> str:
    """A config file, every field that differs from the defaults written out."""
    values, defaults = flat(to_dict(findings.config)), flat(to_dict(Config()))
    changes = {name: value for name, value in values.items() if value != defaults[name]}
    lines = "".join(f"            {json.dumps(name)}: {value!r},\n" for name, value in changes.items())
    return (
        f'"""Found by gan_jax.tune ({findings.plan.method}).\n\n{_outcome(findings, FOUND)}.\n"""\n\n'
        "from gan_jax.config import Config\n\n\n"
        "def get_config() -> Config:\n"
        f'    """Trial {findings.winner.number} of {len(findings.trials)}; see {TABLE} beside this file."""\n'
        "    return Config().replace(\n        {\n" + lines + "        }\n    )\n"
    )


def table(findings: Findings) -> str:
    """Markdown: the last comparison, then the best trials."""
    base, plan = findings.base, findings.plan
    seconds = sum(sum(trial.seconds) for trial in findings.trials)
    stretches = len(plan.marks)
    lines = [
        f"# {len(findings.trials)} trials by {plan.method}",
        "",
        f"Fréchet distance (less is better) of samples of the averaged generator from {held_out(base)} that no trial"
        f" was trained on, after {base.total_images:,} images. {findings.steps:,} steps in {seconds / 60:.1f} minutes"
        " of work; the test split was not opened.",
        "",
        "| trained again | mean | standard deviation | by seed |",
        "|---|---|---|---|",
    ]
    for name, trials in findings.again.items():
        scores = [trial.last for trial in trials]
        by_seed = ", ".join(f"{trial.seed}: {_number(trial.last)}" for trial in trials)
        lines.append(f"| {name} | {_number(statistics.fmean(scores))} | {_number(_spread(scores))} | {by_seed} |")
    lines += [
        "",
        f"| trial | score | trained | {' | '.join(findings.space)} |",
        "|---" * (3 + len(findings.space)) + "|",
    ]
    ranked = sorted(findings.trials, key=lambda t: (not plan.whole(t), -len(t.scores), t.last, t.number))
    for trial in ranked[:SHOWN]:
        values = " | ".join(_number(trial.values[-1][field]) for field in findings.space)
        part = f"{len(trial.scores)} of {stretches}" if math.isfinite(trial.last) or not trial.scores else "diverged"
        lines.append(f"| {trial.number} | {_number(trial.last)} | {part} | {values} |")
    if len(ranked) > SHOWN:
        lines.append(f"\nand {len(ranked) - SHOWN} more, stopped earlier or with higher scores.")
    return "\n".join(lines)


def plot(findings: Findings) -> bytes:
    """Parallel coordinates, PNG: an axis a number and one for the score, a line a trial, dark = good."""
    from matplotlib.figure import Figure

    trials = [trial for trial in findings.trials if math.isfinite(trial.last)]
    trials.sort(key=lambda trial: (len(trial.scores), -trial.last))  # the best are drawn last
    names = list(findings.space)
    figure = Figure(figsize=(1.6 * (len(names) + 1) + 1, 4.5), layout="constrained")
    axes = figure.subplots()
    columns = [_column(findings.space[name], [trial.values[-1][name] for trial in trials]) for name in names]
    low, high = math.log(min(trial.last for trial in trials)), math.log(max(trial.last for trial in trials))
    span = max(high - low, 1e-9)
    columns.append(np.array([(math.log(trial.last) - low) / span for trial in trials]))
    colours = _colours(columns[-1])
    for row, trial in enumerate(trials):
        whole = findings.plan.whole(trial)
        heights = [column[row] for column in columns]
        axes.plot(heights, color=colours[row], alpha=0.9 if whole else 0.35, linewidth=2 if whole else 0.8)
    for place, name in enumerate([*names, "score"]):
        axes.axvline(place, color="grey", linewidth=0.8)
        ends = _ends(findings.space[name]) if name in findings.space else (math.exp(low), math.exp(high))
        for height, end in zip((0.0, 1.0), ends, strict=True):
            axes.annotate(
                _number(end), (place, height), (0, -12 if height == 0 else 4), textcoords="offset points",
                ha="center", fontsize="small",
            )  # fmt: skip
    axes.set_xticks(range(len(names) + 1), [name.replace(",", "\n").replace(".", ".\n") for name in [*names, "score"]])
    axes.tick_params(axis="x", labelsize="small", pad=14, length=0)
    axes.set_yticks([])
    axes.set_ylim(-0.02, 1.06)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("thick: trained whole, thin: stopped earlier; dark: low Fréchet distance", fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def _colours(heights: np.ndarray) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](heights * 0.9)


def _column(part: Any, values: Sequence[Any]) -> np.ndarray:
    """Heights 0..1 of values on the axis of a number."""
    if isinstance(part, Float):
        ends = np.array([part.low, part.high], float)
        numbers = np.array(values, float)
        if part.log:
            ends, numbers = np.log(ends), np.log(numbers)
        return (numbers - ends[0]) / (ends[1] - ends[0])
    return np.array([part.options.index(value) for value in values], float) / max(1, len(part.options) - 1)


def _ends(part: Any) -> tuple[Any, Any]:
    return (part.low, part.high) if isinstance(part, Float) else (part.options[0], part.options[-1])


def held_out(base: Config) -> str:
    """What trials are scored against."""
    return f"{round(100 * base.data.validation)} % of the training images"


def _outcome(findings: Findings, name: str) -> str:
    scores = [trial.last for trial in findings.again[name]]
    return (
        f"Fréchet distance {_number(statistics.fmean(scores))} ± {_number(_spread(scores))} over {len(scores)} seeds,\n"
        f"from {held_out(findings.base)}, after {findings.base.total_images:,} images"
    )


def _spread(scores: Sequence[float]) -> float:
    return statistics.stdev(scores) if len(scores) > 1 and all(map(math.isfinite, scores)) else 0.0


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
