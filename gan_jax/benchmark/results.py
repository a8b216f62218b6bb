"""The file SUITE.json: one record an (arm, seed), written at once and whole. Imports the room's suite and runtime.

{"suite", "command", "commit", "machine", "versions", "protocol", "recipes", "environments", "records"}. Machine,
versions and commit are those of the last session; each record names its own commit and, as a key of "environments",
its own machine and versions.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_jax.benchmark import checkout
from gan_jax.benchmark.suite import Outcome, Suite
from gan_jax.errors import InputError
from gan_jax.runtime.files import write_atomically, writing

Result = dict[str, Any]


@dataclass(frozen=True)
class Session:
    """Where the records of this process come from."""

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    commit: str

    @classmethod
    def current(cls) -> "Session":
        """This machine, these versions, this commit."""
        return cls(checkout.machine(), checkout.versions(), checkout.commit())

    @property
    def key(self) -> str:
        """Names machine and versions: 12 hex digits."""
        text = json.dumps([self.machine, self.versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_result(path: Path) -> Result:
    """Reads a SUITE.json.

    Raises:
        InputError: it is missing, damaged, or no such file.
    """
    try:
        result = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: run the suite first, or give its folder with --out") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): restore it, or remove it to start anew") from None
    if not isinstance(result, dict) or not isinstance(result.get("records"), list):
        raise InputError(f"{path} holds no records: restore it, or remove it to start anew")
    return result


def open_result(path: Path, suite: Suite, arms: Sequence[str]) -> Result:
    """The file as it is, or an empty one, checked to hold nothing but figures of this protocol and these recipes.

    Raises:
        InputError: it is damaged, or what it holds cannot stand beside what the suite measures now.
    """
    protocol = _as_json(suite.protocol())
    recipes = {arm: _as_json(suite.arms[arm].recipe()) for arm in arms}
    if not path.exists():
        return {"suite": suite.name, "protocol": protocol, "recipes": recipes, "environments": {}, "records": []}
    result = read_result(path)
    if result.get("suite") != suite.name:
        raise InputError(f"{path} holds suite {result.get('suite')!r}, not {suite.name}: take another --out")
    _check_same(result.get("protocol", {}), protocol, f"{path} holds figures of another protocol")
    measured = {record["arm"] for record in result["records"]}
    for arm, recipe in recipes.items():
        if arm in measured:
            _check_same(result["recipes"].get(arm, {}), recipe, f"{path} holds another recipe of arm {arm}")
    return {**result, "recipes": {**result["recipes"], **recipes}}


def finished(result: Result) -> set[tuple[str, int]]:
    """The (arm, seed) that need not be measured again."""
    return {(record["arm"], record["seed"]) for record in result["records"]}


def add_record(
    path: Path, result: Result, suite: Suite, arm: str, seed: int, outcome: Outcome, session: Session
) -> Result:
    """Adds a record and writes the file in one step, so that a kill loses at most what was being measured.

    Returns:
        The new content.

    Raises:
        InputError: the file cannot be written.
    """
    record = {
        "arm": arm,
        "seed": seed,
        "metrics": {name: _number(value) for name, value in outcome.metrics.items()},
        "seconds": round(outcome.seconds, 3),
        "images": int(outcome.images),
        "commit": session.commit,
        "environment": session.key,
    }
    order = list(suite.arms)
    records = sorted([*result["records"], record], key=lambda r: (order.index(r["arm"]), r["seed"]))
    environment = {"machine": session.machine, "versions": session.versions}
    content = {
        "suite": suite.name,
        "command": command(suite, records, path.parent.name or "."),
        "commit": session.commit,
        **environment,
        "protocol": result["protocol"],
        "recipes": {name: result["recipes"][name] for name in order if name in result["recipes"]},
        "environments": {**result["environments"], session.key: environment},
        "records": records,
    }
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return content


def command(suite: Suite, records: Sequence[Mapping[str, Any]], out: str) -> str:
    """The line that makes these records in a folder, in one session or in several."""
    arms = {record["arm"] for record in records}
    some = "" if arms == set(suite.arms) else f" --arms={','.join(name for name in suite.arms if name in arms)}"
    seeds = 1 + max(record["seed"] for record in records)
    return f"python -m gan_jax.benchmark {suite.name} --seeds={seeds} --out={out}{some}"


def _number(value: Any) -> float | int | None:
    """A plain number; None for one that is not finite, which JSON does not hold."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(value, int) else number


def _as_json(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping as a file would give it back, so that the two can be compared."""
    found: dict[str, Any] = json.loads(json.dumps(dict(tree)))
    return found


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], message: str) -> None:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise InputError(
                f"{message}: {name} was {before.get(name)!r} and is now {now.get(name)!r}:"
                " take another --out, or remove those records"
            )
