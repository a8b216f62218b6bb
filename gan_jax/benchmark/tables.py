"""The page OUT/README.md: every figure of the JSON files beside it, as mean and spread over seeds. Imports results.

Hand-written pages in docs/ show some of them, too: between `<!-- figures: SUITE; metrics; arms -->` and `<!-- end -->`.
"""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_jax.benchmark.results import Result, read_result
from gan_jax.benchmark.suite import Suite
from gan_jax.errors import InputError
from gan_jax.runtime.files import write_atomically

_START, _END = "<!-- results -->", "<!-- end of results -->"  # in the project's README
_EXCERPT = re.compile(r"(<!-- figures: (\w+);([^;]*);([^;]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = """# Benchmarks

Written by `python -m gan_jax.benchmark tables --out={out}` from the JSON files beside it; do not edit.
Mean ± standard deviation (n - 1) over seeds; a single seed has no spread. "-": not measured. "n/a in k": no finite
number with k of the seeds; mean and spread are of the others.
A suite's command goes on where it stopped; `--check` measures a cheap part of it again and compares.
"""


def write_tables(out: Path, suites: Mapping[str, Suite]) -> None:
    """Writes OUT/README.md and the plots from all suite files in the folder.

    Args:
        out: the folder.
        suites: descriptions and plots by suite; a file of an unknown suite gets its table only.

    Raises:
        InputError: there is no suite file, one is damaged, or a file cannot be written.
    """
    results = [read_result(path) for path in sorted(out.glob("*.json"))]
    if not results:
        raise InputError(f"--out={out}: holds no SUITE.json yet: run a suite first")
    parts = [_HEAD.format(out=out.name or ".")]
    for result in results:
        suite = suites.get(result["suite"])
        plots = suite.plots(result, out) if suite and result["records"] else ()
        parts.append(section(result, suite, [path.name for path in plots]))
    write_atomically(out / "README.md", "\n".join(parts).encode())
    _write_headlines(out.absolute().parent / "README.md", results, suites)
    for page in sorted((out.absolute().parent / "docs").glob("*.md")):
        text = page.read_text()
        if (filled := with_excerpts(text, {result["suite"]: result for result in results})) != text:
            write_atomically(page, filled.encode())


def with_excerpts(text: str, results: Mapping[str, Result]) -> str:
    """A page with the tables between its marks written anew: the named metrics across, the named arms downwards."""

    def table(found: re.Match[str]) -> str:
        start, suite, metrics, arms, end = found.groups()
        head, rows = ["arm", *metrics.split()], []
        for arm in arms.split():
            cells = [values_of(results[suite], arm, metric) if suite in results else [] for metric in metrics.split()]
            rows.append([arm, *map(summary, cells)])
        lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
        return "\n".join([start.strip(), *lines, end])

    return _EXCERPT.sub(table, text)


def _write_headlines(page: Path, results: Sequence[Result], suites: Mapping[str, Suite]) -> None:
    """Puts the headline figures between the two marks of the page above the folder, if it has them."""
    text = page.read_text() if page.is_file() else ""
    if _START not in text or _END not in text:
        return
    lines = []
    for result in results:
        suite = suites.get(result["suite"])
        if suite and suite.headline:
            columns = ["arm", *suite.headline, "seeds"]
            rows = [columns, ["---"] * len(columns)]
            for arm in _arms(result):
                if not any(values_of(result, arm, metric) for metric in suite.headline):
                    continue  # it measures something else
                cells = [summary(values_of(result, arm, metric)) for metric in suite.headline]
                rows.append([arm, *cells, str(_seeds(result, arm))])
            table = [f"| {' | '.join(row)} |" for row in rows]
            lines += [f"`{result['command']}`", "", *table, ""]
    before, after = text.split(_START)[0], text.split(_END)[1]
    write_atomically(page, "\n".join([before + _START, *lines, _END + after]).encode())


def section(result: Result, suite: Suite | None, plots: Sequence[str] = ()) -> str:
    """One suite's part of the page, Markdown."""
    lines = [f"## {result['suite']}", ""]
    if suite:
        lines += [suite.description, ""]
    lines += ["```", result["command"], "```", "", *_table(result), ""]
    lines += [f"![{name}]({name})\n" for name in plots]
    lines += _origin(result)
    texts = {name: arm.text for name, arm in suite.arms.items()} if suite else {}
    for name in _arms(result):
        recipe = result.get("recipes", {}).get(name) or {}
        settings = ", ".join(f"{field} {_value(value)}" for field, value in recipe.items())
        text = ": ".join(part for part in (texts.get(name, ""), f"`{settings}`" if settings else "") if part)
        if text:
            lines.append(f"* **{name}** {text}")
    return "\n".join([*lines, ""])


def _seeds(result: Result, arm: str) -> int:
    return sum(record["arm"] == arm for record in result["records"])


def summary(values: Sequence[float | None]) -> str:
    """Mean and spread of one metric of one arm over its seeds, e.g. "12.3 ± 0.4"."""
    if not values:
        return "-"
    finite = [value for value in values if value is not None]
    lost = f"n/a in {len(values) - len(finite)}" if len(finite) < len(values) else ""
    if not finite:
        return lost
    text = f"{statistics.fmean(finite):.4g}"
    if len(finite) > 1:
        text += f" ± {statistics.stdev(finite):.2g}"
    return f"{text} ({lost})" if lost else text


def values_of(result: Result, arm: str, metric: str) -> list[float | None]:
    """What the seeds of an arm measured; None where the number was not finite."""
    records = [record for record in result["records"] if record["arm"] == arm]
    return [record["metrics"][metric] for record in records if metric in record["metrics"]]


def _table(result: Result) -> list[str]:
    """Arms against metrics; the longer list runs downwards."""
    arms, metrics = _arms(result), list(dict.fromkeys(m for r in result["records"] for m in r["metrics"]))
    seeds = {arm: _seeds(result, arm) for arm in arms}
    extra = {name: {arm: [r[name] for r in result["records"] if r["arm"] == arm] for arm in arms} for name in _EXTRA}
    cells = {arm: {metric: summary(values_of(result, arm, metric)) for metric in metrics} for arm in arms}
    for arm in arms:
        cells[arm] |= {name: summary(extra[name][arm]) for name in _EXTRA} | {"seeds": str(seeds[arm])}
    columns = [*metrics, *_EXTRA, "seeds"]
    if len(arms) >= len(metrics):
        head, rows = ["arm", *columns], [[arm, *(cells[arm][name] for name in columns)] for arm in arms]
    else:
        head, rows = ["", *arms], [[name, *(cells[arm][name] for arm in arms)] for name in columns]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


_EXTRA = ("seconds", "images")  # of a record, besides its metrics


def _origin(result: Result) -> list[str]:
    """Machines, versions, commits and protocol, one line each."""
    lines = []
    for key, environment in result.get("environments", {}).items():
        commits = {r["commit"] for r in result["records"] if r.get("environment") == key}
        if commits:
            lines.append(f"* machine: {_pairs(environment['machine'])}")
            lines.append(f"* versions: {_pairs(environment['versions'])}")
            lines.append(f"* commit: {', '.join(sorted(commits))}")
    if protocol := result.get("protocol"):
        lines.append(f"* protocol: {_pairs(protocol)}")
    return lines


def _arms(result: Result) -> list[str]:
    return list(dict.fromkeys(record["arm"] for record in result["records"]))


def _pairs(tree: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in tree.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):  # a schedule
        return f"{value['start']:g} -> {value['end']:g} ({value['shape']})" if "shape" in value else _pairs(value)
    if isinstance(value, list):
        return " ".join(_value(part) for part in value)
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
