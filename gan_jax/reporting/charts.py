"""Curves of one quantity or a few as SVG, coloured by the page's own colours, light or dark. Imports runtime.history.

matplotlib draws; a few colours that stand for the page's are replaced by CSS variables afterwards.
"""

import dataclasses
import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gan_jax.runtime.history import History

_TEXT, _GRID = "#010203", "#010204"  # stand for CSS variables
_SERIES = [f"#0102{10 + number:02d}" for number in range(8)]

# Titles, what is good, and the quantities that share a scale. What is in none of them gets a chart of its own.
_GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Fréchet distance (FID)", "lower is better", ("fid",)),
    ("Kernel distance (KID)", "lower is better", ("kid",)),
    ("Precision, recall, density, coverage", "higher is better", ("precision", "recall", "density", "coverage")),
    ("Share of the rarest and the commonest class, %", "", ("class_share_min", "class_share_max")),
    ("Losses", "", ("d_loss", "g_loss")),
    ("Penalties and regularisers", "", ("r1", "r2", "wgan_gp", "dragan", "lecam", "bcr", "path_length", "likelihood")),
    ("Logits of real and generated", "", ("real_logit", "fake_logit")),
    ("Diversity of a batch", "generated should come near real", ("diversity", "real_diversity")),
    ("Gradient norms", "", ("d_gradient", "g_gradient")),
    ("Learning rates", "", ("d_lr", "g_lr")),
    ("Images a second", "higher is better", ("images_per_second",)),
)
_HIDDEN = {"finite"}


@dataclasses.dataclass(frozen=True)
class Chart:
    """A drawing.

    Attributes:
        title: of the quantity or quantities.
        note: what is good; may be empty.
        svg: an <svg> element.
        latest: (name, last value) of each curve.
        main: whether a reader wants it first.
    """

    title: str
    note: str
    svg: str
    latest: tuple[tuple[str, str], ...]
    main: bool


def charts(runs: Mapping[str, History]) -> list[Chart]:
    """One chart a group of quantities that were measured; with several runs, one chart a quantity, a curve a run.

    Args:
        runs: records by the name that the legend shows.
    """
    measured = list(dict.fromkeys(name for history in runs.values() for name in history.names))
    measured = [name for name in measured if name not in _HIDDEN]
    found: list[Chart] = []
    known: set[str] = set()
    for index, (title, note, names) in enumerate(_GROUPS):
        here = [name for name in names if name in measured]
        known |= set(here)
        if len(runs) == 1:
            curves = [(name, history.series(name)) for history in runs.values() for name in here]
            found += _chart(title, note, curves, index < 8)
        else:
            for name in here:
                of_title = title if len(here) == 1 else name
                found += _chart(
                    of_title, note, [(run, history.series(name)) for run, history in runs.items()], index < 8
                )
    for name in measured:
        if name not in known:
            several = len(runs) > 1
            found += _chart(name, "", [(run if several else name, h.series(name)) for run, h in runs.items()], False)
    return found


def _chart(
    title: str, note: str, curves: Sequence[tuple[str, tuple[list[int], list[float]]]], main: bool
) -> list[Chart]:
    curves = [(name, points) for name, points in curves if points[0]]
    if not curves:
        return []
    latest = tuple((name, f"{values[-1]:.4g}") for name, (_, values) in curves)
    return [Chart(title, note, _svg(title, curves), latest, main)]


def _svg(title: str, curves: Sequence[tuple[str, tuple[list[int], list[float]]]]) -> str:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "gan_jax",  # else identifiers differ from page to page
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _TEXT,
        "axes.edgecolor": _GRID,
        "axes.labelcolor": _TEXT,
        "xtick.color": _TEXT,
        "ytick.color": _TEXT,
        "grid.color": _GRID,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        axes = figure.add_subplot()
        for index, (name, (images, values)) in enumerate(curves):
            colour = _SERIES[index % len(_SERIES)]
            axes.plot(images, values, color=colour, label=name, linewidth=1.5, marker="." if len(values) < 30 else None)
        axes.grid(linewidth=0.6)
        axes.set_xlabel("images seen")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        if _spans_decades(curves):
            axes.set_yscale("log")
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=8, loc="best")
        figure.draw_without_rendering()  # settles ticks, whose number and length depend on the room they leave
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', text)
    text = f'<svg {box and box[0]} role="img" aria-label="{html.escape(title)}"' + text[text.index(">") :]
    text = re.sub(r' id="(?:figure|axes|patch|matplotlib|line2d|text|xtick|ytick|legend)[^"]*"', "", text)
    for index, colour in enumerate(_SERIES):
        text = text.replace(colour, f"var(--series-{index})")
    return text.replace(_TEXT, "var(--text)").replace(_GRID, "var(--line)")


def _spans_decades(curves: Sequence[tuple[str, tuple[list[int], list[float]]]]) -> bool:
    values = [value for _, (_, values) in curves for value in values]
    return min(values) > 0 and max(values) / min(values) > 200
