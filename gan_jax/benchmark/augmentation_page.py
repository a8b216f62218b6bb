"""Tables of docs/augmentation.md: accuracies by arm, and paired differences. Imports the room's results and tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_jax.benchmark.recognition_page import difference, paired_values
from gan_jax.benchmark.tables import summary, values_of
from gan_jax.benchmark.theory_page import fill
from gan_jax.runtime.files import write_atomically

SIZES = ("100", "1000", "10000", "longtail")
_COLUMNS = ("real", "classic", "balanced", "generated", "real_generated", "both", "pseudo", "inferred")
_WITHOUT_GAN = ("real", "classic", "balanced", "pseudo")
_QUESTIONS = (  # heading, arm, other arm, metric
    ("classic + generated, minus classic", "both", "classic", "accuracy"),
    ("classic + generated, minus classic + pseudo-labelled", "both", "pseudo", "accuracy"),
    ("classic + generated, minus classic + inferred labels", "both", "inferred", "accuracy"),
    ("classic + generated, minus classic shown evenly", "both", "balanced", "accuracy"),
    ("labelled as they are + generated, minus labelled", "real_generated", "real", "accuracy"),
    ("rarest 3 classes: classic + generated, minus classic", "both", "classic", "rare3_accuracy"),
    ("rarest 3 classes: classic + generated, minus classic shown evenly", "both", "balanced", "rare3_accuracy"),
)


def publish(result: Mapping[str, Any], folder: Path) -> None:
    """Writes the tables into docs/augmentation.md beside the folder, if that page is there.

    Raises:
        InputError: the page cannot be written.
    """
    page = folder.absolute().parent / "docs" / "augmentation.md"
    if page.is_file():
        tables = {
            "cas": cas_table(result),
            "accuracy": arm_table(result, "accuracy"),
            "rare": arm_table(result, "rare3_accuracy", ("longtail",)),
            "differences": difference_table(result),
        }
        write_atomically(page, fill(page.read_text(), tables, "augmentation").encode())


def cas_table(result: Mapping[str, Any]) -> list[str]:
    """Generated images alone, the same network on real ones, and the gap."""
    metrics = ("accuracy", "real_accuracy", "gap", "per_class")
    cells = [summary(values_of(dict(result), "cas", metric)) for metric in metrics]
    return _lines(["CAS", "trained on real images", "gap", "generated images a class"], [cells])


def _values(result: Mapping[str, Any], regime: str, size: str, arm: str, metric: str) -> dict[int, float]:
    """By draw. Arms that no GAN has touched are the same in both regimes and measured in the open one."""
    found = paired_values(result, f"{regime}_{size}_{arm}", metric)
    return found or (paired_values(result, f"open_{size}_{arm}", metric) if arm in _WITHOUT_GAN else found)


def arm_table(result: Mapping[str, Any], metric: str, sizes: tuple[str, ...] = SIZES) -> list[str]:
    """Regimes and sizes downwards, arms across."""
    rows = []
    for regime in ("open", "closed"):
        for size in sizes:
            cells = [summary(values_of(dict(result), f"{regime}_{size}_{arm}", metric)) for arm in _COLUMNS]
            if any(cell != "-" for cell in cells):
                rows.append([regime, size, *cells])
    return _lines(["regime", "labels", *(name.replace("_", " + ") for name in _COLUMNS)], rows)


def difference_table(result: Mapping[str, Any]) -> list[str]:
    """What is asked, paired by seed, with a 95 % interval and a verdict."""
    rows = []
    for regime in ("open", "closed"):
        for size in SIZES:
            for heading, arm, other, metric in _QUESTIONS:
                if metric == "rare3_accuracy" and size != "longtail":
                    continue
                ours = _values(result, regime, size, arm, metric)
                theirs = _values(result, regime, size, other, metric)
                if ours.keys() & theirs.keys():
                    text = difference(ours, theirs)
                    rows.append([regime, size, heading, text, verdict(text)])
    return _lines(["regime", "labels", "points of accuracy", "difference, 95 % interval", "verdict"], rows)


def verdict(text: str) -> str:
    """Helps, harms, or cannot be told, by an interval "+1.00 [+0.50, +1.50], 5 draws"."""
    if "[" not in text:
        return "one draw tells nothing"
    low, high = (float(number) for number in text.split("[")[1].split("]")[0].split(", "))
    return "helps" if low > 0 else "harms" if high < 0 else "no difference shown"


def _lines(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
