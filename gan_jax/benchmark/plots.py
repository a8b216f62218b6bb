"""Curves for the page, drawn by matplotlib off screen (extra `benchmark`). Imports the room's tables and runtime."""

import importlib.util
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.benchmark.results import Result
from gan_jax.benchmark.tables import values_of
from gan_jax.errors import InputError
from gan_jax.runtime.files import write_atomically


def require_matplotlib() -> None:
    """Raises InputError, before anything is measured, if plots cannot be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("the benchmark draws its plots with matplotlib: pip install 'gan-jax[benchmark]'")


def draw_curves(
    result: Result,
    path: Path,
    prefix: str,
    label: str,
    floor: str = "",
    unit: str = "s",
    across: str = "seconds of training",
) -> Path:
    """Draws metrics PREFIX_{N}UNIT over N on logarithmic axes, mean and range over seeds, a line an arm.

    Args:
        result: content of a SUITE.json.
        path: the PNG.
        prefix: of the metrics' names, e.g. "fid".
        label: of the vertical axis.
        floor: a metric, the same for all arms, drawn as a dashed line; empty = none.
        unit: what follows N in the metrics' names.
        across: label of the horizontal axis.

    Returns:
        The path.

    Raises:
        InputError: matplotlib is missing, or the file cannot be written.
    """
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    names = {name for record in result["records"] for name in record["metrics"]}
    marks = {int(found[1]): name for name in names if (found := re.fullmatch(rf"{prefix}_(\d+){unit}", name))}
    arms = list(dict.fromkeys(record["arm"] for record in result["records"]))
    for arm in arms:
        points = {mark: _finite(values_of(result, arm, marks[mark])) for mark in sorted(marks)}
        seconds = [mark for mark, values in points.items() if values.size]
        if not seconds:
            continue
        means, lows, highs = ([float(f(points[mark])) for mark in seconds] for f in (np.mean, np.min, np.max))
        control = len(set(means)) == 1 and len(means) > 1  # does not learn
        (line,) = axes.plot(seconds, means, ":" if control else "o-", label=arm)
        axes.fill_between(seconds, lows, highs, color=line.get_color(), alpha=0.2, linewidth=0)
    floors = _finite([value for arm in arms for value in values_of(result, arm, floor)])
    if floors.size:
        axes.axhline(float(floors.mean()), color="black", linestyle="--", label="floor: real images")
    axes.set_yscale("log")
    axes.set_xscale("log")
    axes.set_xticks(sorted(marks), [str(mark) for mark in sorted(marks)])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))  # also where no power of ten is in view
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel(across)
    axes.set_ylabel(label)
    axes.grid(True, alpha=0.3)
    if arms:
        figure.legend(loc="outside lower center", fontsize="small", ncols=5)  # it would hide a curve inside
    return _save(figure, path)


def _finite(values: list[float | None]) -> np.ndarray:
    """Those above 0, which a logarithmic axis can show."""
    return np.array([value for value in values if value is not None and value > 0], np.float64)


def draw_dots(result: Result, path: Path, metrics: Sequence[str], groups: Sequence[str] = ("",)) -> Path:
    """Draws a panel a metric, a row an arm and a dot a seed.

    Args:
        result: content of a SUITE.json.
        path: the PNG.
        metrics: those that no arm of a group has are left out.
        groups: how the names of arms begin that share axes; a row of panels each.

    Returns:
        The path.

    Raises:
        InputError: matplotlib is missing, or the file cannot be written.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    all_arms = list(dict.fromkeys(record["arm"] for record in result["records"]))
    arms = {group: [arm for arm in all_arms if arm.startswith(group)] for group in groups}
    shown = {group: _measured(result, arms[group], metrics) for group in groups if arms[group]}
    columns = max([len(names) for names in shown.values()] + [1])
    heights = [0.3 * len(arms[group]) + 0.7 for group in shown] or [1.0]
    figure = Figure(figsize=(3 * columns + 2, sum(heights) + 0.5), layout="constrained")
    panels = figure.subplots(len(heights), columns, sharey="row", squeeze=False, height_ratios=heights)
    for row, (group, names) in enumerate(shown.items()):
        for axes, name in zip(panels[row], names, strict=False):
            _dots(axes, [values_of(result, arm, name) for arm in arms[group]], arms[group])
            axes.set_xlabel(name)
        for axes in panels[row][max(len(names), 1) :]:
            axes.set_visible(False)
        panels[row][0].set_yticks(range(len(arms[group])), arms[group])
        panels[row][0].invert_yaxis()
    return _save(figure, path)


def _measured(result: Result, arms: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Those of the metrics that some of the arms have."""
    found = {name for record in result["records"] if record["arm"] in arms for name in record["metrics"]}
    return [name for name in metrics if name in found]


def _dots(axes: Any, rows: Sequence[Sequence[float | None]], arms: Sequence[str]) -> None:
    for row, (values, arm) in enumerate(zip(rows, arms, strict=True)):
        there = [value for value in values if value is not None]
        axes.plot(there, [row] * len(there), "o", alpha=0.5, color="C1" if arm.endswith("ours") else "C0")
    axes.grid(True, alpha=0.3)


def _save(figure: Any, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})  # the same bytes for the same figures
    write_atomically(path, buffer.getvalue())
    return path
