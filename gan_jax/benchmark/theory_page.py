"""Figures and tables of docs/theory.md. Imports theory, the room's results and runtime; matplotlib only to draw."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from gan_jax.benchmark.plots import require_matplotlib
from gan_jax.runtime.files import write_atomically
from gan_jax.theory import divergence, landscape

_END = "<!-- end -->"
_SECTIONS = {  # of the page, and the beginnings of the arms that it shows
    "divergence": ("optimal_discriminator_", "game_value_", "generator_gradient_"),
    "rate": ("rate_", "rest_"),
    "landscape": ("barrier_", "trapped_"),
    "lipschitz": ("lipschitz_", "spectral_norm", "wgan_gp_"),
}


def publish(
    names: Sequence[str], figures: Callable[[], Mapping[str, Any]], result: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Writes the figures into the folder, and the tables into docs/theory.md beside it if that page is there.

    Figures are drawn from the mathematics, not from the records, which takes half a minute; so each carries the commit
    of the records that it stands beside, and is drawn again only if that changes.

    Args:
        names: files of the figures.
        figures: matplotlib figures by file name.
        result: content of theory.json.
        folder: of theory.json.

    Raises:
        InputError: matplotlib is missing, or a file cannot be written.
    """
    paths = [folder / name for name in names]
    if any(_commit_of(path) != result["commit"] for path in paths):
        for name, figure in figures().items():
            write_atomically(folder / name, png(figure, result["commit"]))
    page = folder.absolute().parent / "docs" / "theory.md"
    if page.is_file():
        metrics = {record["arm"]: record["metrics"] for record in result["records"]}
        tables = {name: statement_table(metrics, beginnings) for name, beginnings in _SECTIONS.items()}
        write_atomically(page, fill(page.read_text(), tables | {"dirac": dirac_table(metrics)}).encode())
    return paths


def fill(text: str, tables: Mapping[str, Sequence[str]], suite: str = "theory") -> str:
    """The page with the lines between `<!-- SUITE: NAME -->` and the next `<!-- end -->` replaced."""
    for name, lines in tables.items():
        mark = f"<!-- {suite}: {name} -->"
        before, found, rest = text.partition(mark)
        _, end, after = rest.partition(_END)
        if found and end:
            text = "\n".join([before + mark, *lines, end + after])
    return text


def statement_table(metrics: Mapping[str, Mapping[str, float]], beginnings: tuple[str, ...]) -> list[str]:
    """Value, closed form and error of the arms whose names begin so."""
    rows = [
        f"| {arm} | {found['value']:.6g} | {found['closed_form']:.6g} | {found['error']:.1e} |"
        for arm, found in metrics.items()
        if arm.startswith(beginnings)
    ]
    return ["| statement | value | closed form | error |", "| --- | --- | --- | --- |", *rows]


def dirac_table(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Verdicts, losses downwards and rules across, with the spectral radius of the alternating update."""
    found: dict[str, dict[str, str]] = {}
    rules: list[str] = []
    for arm, values in metrics.items():
        if arm.startswith("dirac_"):
            rule = next(one for one in _RULES if arm.endswith(f"_{one}"))
            rules += [rule] if rule not in rules else []
            found.setdefault(arm.removeprefix("dirac_").removesuffix(f"_{rule}"), {})[rule] = verdict(values)
    rows = [f"| {name} | {' | '.join(cells.get(rule, '-') for rule in rules)} |" for name, cells in found.items()]
    return [f"| loss | {' | '.join(rules)} |", f"|{' --- |' * (1 + len(rules))}", *rows]


_RULES = ("none", "r1r2", "r1", "r2", "wgan_gp", "dragan", "noise")


def verdict(values: Mapping[str, float]) -> str:
    """What a Dirac-GAN does near its equilibrium, by the spectral radius of the alternating update."""
    radius = values["radius_alternating"]
    if abs(radius - 1) <= 1e-6:
        return "circles" if values["imaginary"] > 1e-6 else "stays anywhere"
    return f"converges, {radius:.4f}" if radius < 1 else f"driven off, {radius:.3g}"


# ---------------------------------------------------------------- figures


def draw_divergence(
    trained: Mapping[str, tuple[np.ndarray, np.ndarray, float]], sides: tuple[divergence.Normal, divergence.Normal]
) -> Any:
    """The densities, and each loss's trained discriminator as a probability beside p / (p + q)."""
    figure, (left,) = _figure(1, 1, (6.5, 4))
    places = next(iter(trained.values()))[0]
    fine = np.linspace(places[0], places[-1], 400)
    p, q = (divergence.normal_density(fine, side) for side in sides)
    left.fill_between(fine, p, alpha=0.2, label="real p")
    left.fill_between(fine, q, alpha=0.2, label="fake q")
    left.plot(fine, p / (p + q), color="black", linewidth=1, label="p / (p + q)")
    for (name, (_, logits, _)), marker in zip(trained.items(), "ox+", strict=True):
        masses = [divergence.masses(places, side) for side in sides]
        if name == "relativistic":
            logits = logits - np.average(logits - np.log(masses[0] / masses[1]), weights=masses[0] * masses[1])
        output = logits if name == "least_squares" else 1 / (1 + np.exp(-logits))
        seen = masses[0] + masses[1] > 1e-3
        left.plot(places[seen], output[seen], marker, markersize=5, fillstyle="none", label=f"D trained, {name}")
    left.set_xlim(-4, 5)
    left.set_ylim(-0.05, 1.05)
    left.set_xlabel("x")
    left.set_ylabel("density; probability that x is real")
    left.legend(fontsize="small")
    return figure


def draw_dirac(points: Mapping[str, np.ndarray], rules: Sequence[str]) -> Any:
    """Trajectories of the Dirac-GAN, losses across and rules downwards; the cross is the equilibrium."""
    shown = [rule for rule in rules if rule not in ("r2", "dragan")]  # the same as r1 and wgan_gp in this game
    figure, axes = _figure(len(shown), len(points), (1.4 * len(points), 1.5 * len(shown)))
    for number, panel in enumerate(axes):
        rule, (name, runs) = shown[number // len(points)], list(points.items())[number % len(points)]
        run = runs[rules.index(rule)]
        panel.plot(run[:, 0], run[:, 1], linewidth=0.7)
        panel.plot(*run[-1], "o", markersize=3, color="tab:red")
        panel.plot(0, 0, "+", color="black")
        panel.axis("equal")
        panel.tick_params(labelsize=5)
        if number < len(points):
            panel.set_title(name.replace("_", "\n", 1), fontsize=7)  # long names in two lines
        if number % len(points) == 0:
            panel.set_ylabel(f"{rule}\npsi", fontsize=7)
        if number >= len(axes) - len(points):
            panel.set_xlabel("theta", fontsize=7)
    return figure


def draw_landscape() -> Any:
    """Value of the game while the second fake walks from the covered mode at -1 to the dropped one at 1."""
    widths, path = np.array([0.25, 0.5, 1.0, 2.0]), np.linspace(-1, 1, 41)
    games = {
        "minimax": ("minimax", False),
        "relativistic, fixed pairs": ("relativistic", True),
        "relativistic, independent pairs": ("relativistic", False),
    }
    figure, axes = _figure(1, len(games), (10.5, 3.5))
    for panel, (title, (name, fixed)) in zip(axes, games.items(), strict=True):
        values = np.asarray(landscape.path_values(name, fixed, jnp.asarray(widths), jnp.asarray(path)))
        for width, curve in zip(widths, values, strict=True):
            panel.plot(path, curve, label=f"D smooth over {width:g}")
        panel.set_title(title, fontsize="medium")
        panel.set_xlabel("place of the second fake")
    axes[0].set_ylabel("value of the game")
    axes[0].legend(fontsize="small")
    return figure


def draw_lipschitz(
    line: np.ndarray, slopes: np.ndarray, closed: np.ndarray, estimates: np.ndarray, largest: float
) -> Any:
    """Slope of the trained WGAN-GP critic beside the formula, and the error of our power iteration."""
    figure, (left, right) = _figure(1, 2, (9, 3.5))
    left.plot(line, slopes, label="|D'| of the trained critic")
    left.plot(line, closed, "--", color="black", label="1 + (F_q - F_p) / (2 lambda r)")
    left.axhline(1, color="grey", linewidth=0.7)
    left.set_ylim(0.9, 1.3)
    left.set_xlabel("x; fakes at -1, reals at 1")
    left.set_ylabel("slope")
    left.legend(fontsize="small")
    right.semilogy(np.arange(1, len(estimates) + 1), np.maximum(np.abs(estimates / largest - 1), 1e-9))
    right.set_xlabel("power iterations")
    right.set_ylabel("relative error of the spectral norm")
    return figure


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def png(figure: Any, commit: str) -> bytes:
    """The picture, with the commit as its comment; the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None, "Comment": commit})
    return buffer.getvalue()


def _commit_of(path: Path) -> str | None:
    """The comment of a picture; None if there is no such picture."""
    try:
        with Image.open(path) as image:
            return image.info.get("Comment")
    except OSError:
        return None
