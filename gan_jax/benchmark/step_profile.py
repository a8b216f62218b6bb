"""Where the time of a step goes, operation by operation, as XLA's profiler sees it. Imports program and contests."""

import collections
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.contests import examples_of, our_step
from gan_jax.program import Program
from gan_jax.runtime.files import write_atomically

_STEPS = 4
_NESTED = re.compile(r" (?:while|call|conditional)\(")  # their parts are listed, too
_NAMED = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*)$")


def operation_shares(program: Program, seed: int) -> dict[str, float]:
    """Percent of a step's time by network and layer.

    The profiler notes when each of XLA's operations runs, and XLA keeps the name of the layer that asked for it. An
    operation that serves several layers counts for one of them; one without a name counts as "other", mostly copies
    into another layout, and so does what lies between layers.

    Returns:
        NET_LAYER_percent, NET_other_percent, update_percent (Adam, average, noise, metrics) and traced_ms, the sum of
        all operations a step.
    """
    call = our_step(program, seed, examples_of(program, seed))
    call()
    with tempfile.TemporaryDirectory(prefix="gan_jax_profile_") as folder:
        with jax.profiler.trace(folder):
            for _ in range(_STEPS):
                call()
        durations = _durations(next(Path(folder).rglob("*.xplane.pb")))
    count = jax.ShapeDtypeStruct((), np.int32)
    lines = program.step.lower(program.abstract_state, program.abstract_batch, count).compile().as_text().splitlines()
    texts = {match[1]: match[2] for line in lines if (match := _NAMED.match(line))}
    spent: dict[str, float] = collections.defaultdict(float)
    for name, nanoseconds in durations.items():
        text = texts.get(name, "")
        if not _NESTED.search(text):
            spent[owner(text)] += nanoseconds
    total = sum(spent.values())
    shares = {f"{name}_percent": 100 * value / total for name, value in spent.items()}
    return shares | {"traced_ms": total / _STEPS / program.per_dispatch / 1e6}


def owner(text: str) -> str:
    """The network and layer that an operation of a compiled step belongs to.

    Args:
        text: of the operation in HLO, with its metadata.
    """
    match = re.search(r'op_name="([^"]*)"', text)
    parts = match[1].split("/") if match else []
    for index, part in enumerate(parts):
        for net, short in (("Generator", "g"), ("Discriminator", "d")):
            if net in part:  # such as transpose(jvp(Generator))
                layer = parts[index + 1] if index + 2 < len(parts) else ""
                return f"{short}_{layer}" if re.fullmatch(r"\w+", layer) else f"{short}_other"
    return "update" if match else "other"


def _durations(path: Path) -> dict[str, float]:
    """Nanoseconds by operation, over all calls."""
    spent: dict[str, float] = collections.defaultdict(float)
    with warnings.catch_warnings():
        # Python 3.12 warns of the reader's C++ types, once; where warnings are errors, that ends the process.
        warnings.filterwarnings("ignore", "builtin type .* has no __module__", DeprecationWarning)
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    name = dict(event.stats).get("hlo_op")
                    if name:
                        spent[str(name)] += event.duration_ns
    return spent


# ---------------------------------------------------------------- docs/performance.md


def publish(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Fills the table of docs/performance.md beside the folder, if that page and the figures are there."""
    page = folder.absolute().parent / "docs" / "performance.md"
    profiles = {r["arm"]: r["metrics"] for r in result["records"] if r["arm"].startswith("profile_")}
    if page.is_file() and profiles:
        write_atomically(page, _filled(page.read_text(), profiles).encode())
    return []


def _filled(text: str, profiles: Mapping[str, Mapping[str, float]]) -> str:
    before, mark, rest = text.partition("<!-- operations -->")
    _, end, after = rest.partition("<!-- end -->")
    return "\n".join([before + mark, "", *_table(profiles), "", end + after]) if end else text


def _table(profiles: Mapping[str, Mapping[str, float]]) -> Sequence[str]:
    """The layers that take 1 % or more, largest first."""
    lines = ["| step | operations of | percent of the time |", "| --- | --- | --- |"]
    for arm, metrics in profiles.items():
        shares = {name.removesuffix("_percent"): value for name, value in metrics.items() if name.endswith("_percent")}
        large = sorted((name for name in shares if shares[name] >= 1), key=lambda name: -shares[name])
        lines += [f"| {arm.removeprefix('profile_')} | {name} | {shares[name]:.1f} |" for name in large]
        lines.append(f"| {arm.removeprefix('profile_')} | all others | {100 - sum(shares[n] for n in large):.1f} |")
    return lines
