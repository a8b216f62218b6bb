"""Tables of docs/recognition.md: accuracies side by side, and paired differences. Imports the room's results, SciPy."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from gan_jax.benchmark.tables import summary, values_of
from gan_jax.benchmark.theory_page import fill
from gan_jax.runtime.files import write_atomically

_COLUMNS = {  # of the probe's table: heading and arm
    "pixels": "pixels",
    "HOG + linear SVM": "hog_linear",
    "HOG + RBF SVM": "hog_rbf",
    "HOG, moved": "hog_moved",
    "random trunk": "random",
    "autoencoder": "autoencoder",
    "GAN": "ours",
    "supervised": "supervised",
}
_SEMI = {
    "ours": "GAN's trunk, spread",
    "random": "random trunk, spread",
    "hog": "HOG, spread",
    "supervised": "trunk, labels alone",
    "improved_gan": "Improved-GAN",
    "mlp_supervised": "its network, labels alone",
    "pseudo": "its network, pseudo-labels",
    "fixmatch": "its network, FixMatch",
    "conv": "Improved-GAN, convolutions",
    "conv_supervised": "these, labels alone",
}


def publish(result: Mapping[str, Any], folder: Path) -> None:
    """Writes the tables into docs/recognition.md beside the folder, if that page is there.

    Raises:
        InputError: the page cannot be written.
    """
    page = folder.absolute().parent / "docs" / "recognition.md"
    if page.is_file():
        tables = {
            "probe": probe_table(result),
            "differences": difference_table(result),
            "semi": semi_table(result),
            "anomaly": anomaly_table(result),
            "detect": detect_table(result),
        }
        write_atomically(page, fill(page.read_text(), tables, "recognition").encode())


def probe_table(result: Mapping[str, Any]) -> list[str]:
    """Labels downwards, features across."""
    counts = _counts(result, "probe")
    rows = [[f"{count:,}", *(_cell(result, f"probe_{arm}_{count}") for arm in _COLUMNS.values())] for count in counts]
    return _lines(["labels", *_COLUMNS], rows)


def difference_table(result: Mapping[str, Any]) -> list[str]:
    """GAN minus each control, paired by the draw of the labels, with a 95 % interval."""
    rows = []
    for count in _counts(result, "probe"):
        ours = paired_values(result, f"probe_ours_{count}")
        for heading, arm in _COLUMNS.items():
            other = paired_values(result, f"probe_{arm}_{count}")
            if arm != "ours" and ours and other:
                rows.append([f"{count:,}", heading, difference(ours, other)])
    for count in _counts(result, "semi"):
        ours = paired_values(result, f"semi_ours_{count}")
        for method in ("supervised", "hog", "random", "improved_gan", "pseudo", "fixmatch"):
            other = paired_values(result, f"semi_{method}_{count}")
            if ours and other:
                rows.append([f"{count:,}", f"semi-supervised GAN minus {_SEMI[method]}", difference(ours, other)])
    return _lines(["labels", "GAN minus", "difference, 95 % interval"], rows)


def semi_table(result: Mapping[str, Any]) -> list[str]:
    """Labels downwards, methods across."""
    rows = [
        [f"{count:,}", *(_cell(result, f"semi_{method}_{count}") for method in _SEMI)]
        for count in _counts(result, "semi")
    ]
    return _lines(["labels", *_SEMI.values()], rows)


def anomaly_table(result: Mapping[str, Any]) -> list[str]:
    """Methods downwards."""
    arms = [arm for arm in dict.fromkeys(r["arm"] for r in result["records"]) if arm.startswith("anomaly_")]
    rows = [[arm.removeprefix("anomaly_"), summary(values_of(dict(result), arm, "auroc_mean"))] for arm in arms]
    return _lines(["method", "mean AUROC"], rows)


def detect_table(result: Mapping[str, Any]) -> list[str]:
    """Canvases downwards, methods across, and ours minus the two that it has to beat, paired by seed."""
    methods = {"HOG + linear SVM": "hog", "random trunk": "random", "frozen GAN": "frozen", "GAN": "ours"}
    rows = []
    for count in _counts(result, "detect"):
        arms = {method: f"detect_{method}_{count}" for method in methods.values()}
        cells = [summary(values_of(dict(result), arm, "map50")) for arm in arms.values()]
        ours = paired_values(result, arms["ours"], "map50")
        for other in ("random", "hog"):
            cells.append(difference(ours, paired_values(result, arms[other], "map50")))
        rows.append([f"{count:,}", *cells])
    return _lines(["canvases", *methods, "GAN minus random", "GAN minus HOG"], rows)


def paired_values(result: Mapping[str, Any], arm: str, metric: str = "accuracy") -> dict[int, float]:
    """A metric by draw of the labels; mean over the seeds of the GAN where an arm has several."""
    found: dict[int, list[float]] = {}
    for record in result["records"]:
        if record["arm"] != arm:
            continue
        draws = {name: value for name, value in record["metrics"].items() if re.fullmatch(rf"{metric}_seed\d+", name)}
        if not draws:  # a record is a draw
            draws = {f"{metric}_seed{record['seed']}": record["metrics"][metric]}
        for name, value in draws.items():
            found.setdefault(int(name.removeprefix(f"{metric}_seed")), []).append(value)
    return {draw: float(np.mean(values)) for draw, values in found.items()}


def difference(ours: Mapping[int, float], other: Mapping[int, float]) -> str:
    """Mean of the paired differences and its 95 % t-interval."""
    pairs = np.array([ours[draw] - other[draw] for draw in sorted(ours.keys() & other.keys())])
    if len(pairs) < 2:
        return f"{pairs.mean():+.2f}, one draw" if len(pairs) else "-"
    half = student.ppf(0.975, len(pairs) - 1) * pairs.std(ddof=1) / np.sqrt(len(pairs))
    return f"{pairs.mean():+.2f} [{pairs.mean() - half:+.2f}, {pairs.mean() + half:+.2f}], {len(pairs)} draws"


def _cell(result: Mapping[str, Any], arm: str) -> str:
    """Mean and standard deviation over draws and seeds."""
    records = [record["metrics"] for record in result["records"] if record["arm"] == arm]
    values = [
        value
        for metrics in records
        for name, value in metrics.items()
        if re.fullmatch(r"accuracy_seed\d+", name)
    ]  # fmt: skip
    return summary(values or [metrics["accuracy"] for metrics in records])


def _counts(result: Mapping[str, Any], kind: str) -> list[int]:
    names = {record["arm"] for record in result["records"] if record["arm"].startswith(f"{kind}_")}
    return sorted({int(name.rsplit("_", 1)[1]) for name in names})


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
