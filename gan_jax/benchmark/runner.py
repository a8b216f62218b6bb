"""Measures what a suite's file lacks, or a cheap part again to compare with it. Imports the room's results, tables."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_jax.benchmark.results import Session, add_record, finished, open_result, read_result
from gan_jax.benchmark.suite import Suite
from gan_jax.benchmark.tables import write_tables
from gan_jax.errors import InputError


def run(suite: Suite, out: Path, seeds: int, arms: Sequence[str] | None, suites: Mapping[str, Suite]) -> None:
    """Measures every (arm, seed) that OUT/SUITE.json does not hold yet; all arms with seed 0 come first.

    Several processes may measure different arms into one file.

    Args:
        suite: what to measure.
        out: folder of the files; made if missing.
        seeds: 0 to seeds - 1 are measured, and those trained side by side with them.
        arms: some of the suite's; None = all.
        suites: all of them by name, for the page.

    Raises:
        InputError: an arm is unknown, something an arm needs is missing, or the file holds other figures.
    """
    chosen = suite.chosen(arms)
    path = out / f"{suite.name}.json"
    result, session = open_result(path, suite, chosen), Session.current()
    wanted = [(arm, seed) for seed in range(seeds) for arm in chosen if suite.arms[arm].wants(seed)]
    missing = [pair for pair in wanted if pair not in finished(result)]
    print(f"{suite.name}: {len(missing)} of {len(wanted)} to be measured", flush=True)
    written = -math.inf
    for arm, seed in missing:
        if (arm, seed) in finished(open_result(path, suite, chosen)):
            continue  # trained side by side with an earlier seed, or by another process
        print(f"{suite.name}: {arm}, seed {seed}", flush=True)
        start = time.monotonic()
        for number, outcome in suite.arms[arm].measure(seed).items():
            result = open_result(path, suite, chosen)  # with what other processes have added
            if (arm, number) in finished(result):
                continue
            add_record(path, result, suite, arm, number, outcome, session)
            values = "  ".join(f"{name} {value:.4g}" for name, value in outcome.metrics.items())
            print(f"{suite.name}: {arm}, seed {number}, {time.monotonic() - start:.0f} s: {values}", flush=True)
        # The records are safe already; many quick arms need not draw every plot again.
        if time.monotonic() - written > 10:
            write_tables(out, suites)
            written = time.monotonic()
    write_tables(out, suites)


def check(suite: Suite, out: Path, arms: Sequence[str] | None = None) -> list[str]:
    """Measures the cheap part of a suite again, with its first committed seed, and writes nothing.

    Args:
        suite: what to measure.
        out: folder of the committed file.
        arms: some of the suite's; None = all that are cheap.

    Returns:
        One line a figure that was not reproduced.

    Raises:
        InputError: the suite has no cheap part, or nothing is committed to compare it with.
    """
    cheap = [arm for arm in suite.chosen(arms) if arm in suite.checks]
    if not cheap:
        raise InputError(f"--check: nothing cheap to measure again; choose of {', '.join(suite.checks) or 'no arm'}")
    path = out / f"{suite.name}.json"
    read_result(path)
    records = open_result(path, suite, cheap)["records"]
    complaints = []
    for arm in cheap:
        committed = min((record for record in records if record["arm"] == arm), key=lambda r: r["seed"], default=None)
        if committed is None:
            raise InputError(f"{path} holds no record of arm {arm} to compare with: run the suite first")
        print(f"{suite.name}: measuring {arm}, seed {committed['seed']}, again", flush=True)
        found = suite.arms[arm].run(committed["seed"]).metrics
        complaints += _differences(suite, committed, found)
    return complaints


def _differences(suite: Suite, committed: Mapping[str, Any], found: Mapping[str, float]) -> list[str]:
    lines = []
    for name, rule in suite.checks[committed["arm"]].items():
        before, now = committed["metrics"].get(name), found.get(name)
        before, now = (float("nan") if value is None else value for value in (before, now))
        # A comparison with NaN is false, so a figure that is missing on either side is a complaint.
        reason = rule.complaint(before, now)
        if reason:
            where = f"{suite.name} {committed['arm']} seed {committed['seed']} {name}"
            lines.append(f"{where}: committed {before:.6g}, measured {now:.6g}, {reason}")
    return lines
