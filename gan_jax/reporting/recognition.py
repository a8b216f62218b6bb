"""What a run recognises, as tables of its page: results by number of labels, confusions. Imports nothing of ours."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

_BUDGETS = ("labels", "canvases")  # a column each, where results differ in nothing else but names
_MEASURES = ("accuracy", "map50")
_CLASSES = 30  # of a matrix that still fits a page


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often each class was taken for which.

    Attributes:
        names: of the classes.
        rows: a true class each: counts by answer, with their share of the row in percent.
    """

    names: list[str]
    rows: list[list[tuple[int, int]]]


@dataclasses.dataclass(frozen=True)
class Task:
    """One part of recognition.json."""

    name: str
    facts: list[tuple[str, str]]
    columns: list[str]
    rows: list[list[str]]
    confusion: Confusion | None


def tasks(found: Any) -> list[Task]:
    """The parts of recognition.json; what has another form is left out.

    Args:
        found: results by task: facts, "rows" that make a table, and perhaps "confusion" and "classes".
    """
    parts = []
    for name, part in found.items() if isinstance(found, Mapping) else ():
        if isinstance(part, Mapping):
            listed = part.get("rows")
            rows = [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []
            facts = [(str(fact), text(value)) for fact, value in part.items() if isinstance(value, (int, float, str))]
            parts.append(Task(str(name), facts, *_table(rows), _confusion(part)))
    return parts


def text(value: Any) -> str:
    """A value for a reader."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value)) or "none"
    return "" if value is None else str(value)


def _table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Column names and cells: a row a method and a column a budget, where results have both, or else as they are."""
    columns = list(dict.fromkeys(str(column) for row in rows for column in row))
    budget = next((name for name in _BUDGETS if rows and all(isinstance(row.get(name), int) for row in rows)), "")
    measure = next((name for name in _MEASURES if name in columns), "")
    names = [column for column in columns if column not in (budget, measure, "seeds")]
    if not budget or not measure or any(not isinstance(row.get(n, ""), str) for row in rows for n in names):
        return columns, [[text(row.get(column)) for column in columns] for row in rows]
    budgets = sorted({row[budget] for row in rows})
    cells: dict[tuple[str, ...], dict[int, str]] = {}
    for row in rows:
        cells.setdefault(tuple(text(row.get(name)) for name in names), {})[row[budget]] = _with_spread(row, measure)
    header = [*names, *(f"{measure}, {count:,} {budget}" for count in budgets)]
    return header, [[*key, *(found.get(count, "") for count in budgets)] for key, found in cells.items()]


def _with_spread(row: Mapping[str, Any], measure: str) -> str:
    """A mean, and the deviation of the draws that it is of."""
    seeds = row.get("seeds")
    numbers = [value for value in seeds if isinstance(value, (int, float))] if isinstance(seeds, list) else []
    spread = f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{statistics.stdev(numbers):.2g}" if len(numbers) > 1 else ""
    return text(row.get(measure)) + spread


def _confusion(part: Mapping[str, Any]) -> Confusion | None:
    table = part.get("confusion")
    if not isinstance(table, list) or not 0 < len(table) <= _CLASSES:
        return None
    if any(not isinstance(row, list) or len(row) != len(table) for row in table):
        return None
    if any(not isinstance(count, int) or count < 0 for row in table for count in row):
        return None
    names = part.get("classes")
    named = isinstance(names, list) and len(names) == len(table)
    rows = [[(count, round(100 * count / max(sum(row), 1))) for count in row] for row in table]
    return Confusion([str(name) for name in names] if named else [str(n) for n in range(len(table))], rows)  # type: ignore[union-attr]
