"""What a run's metrics.jsonl tells afterwards. Imports errors and its own room; writes nothing.

The file may be that of a run that goes on, or may be cut in half: what cannot be read is counted and left out.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from gan_jax.errors import InputError

METRICS = "metrics.jsonl"  # by runtime/journal.py
_ABOUT = ("step", "images", "time")  # of a measurement, not measured


@dataclasses.dataclass(frozen=True)
class History:
    """A run's record.

    Attributes:
        measurements: lines {"step", "images", "time", name: number or None, ...}, in order.
        events: lines {"event", "step", "time", ...}, in order; each start or resume is a "start".
        skipped: lines that are no JSON objects of ours.
    """

    measurements: tuple[dict[str, Any], ...]
    events: tuple[dict[str, Any], ...]
    skipped: int = 0

    @property
    def names(self) -> list[str]:
        """Of all that was measured, in order of appearance."""
        return list(dict.fromkeys(name for line in self.measurements for name in line if name not in _ABOUT))

    @property
    def step(self) -> int:
        """Of the last measurement; 0 without one."""
        return int(self.measurements[-1]["step"]) if self.measurements else 0

    @property
    def images(self) -> int:
        """Seen at the last measurement; 0 without one."""
        return int(self.measurements[-1]["images"]) if self.measurements else 0

    @property
    def seconds(self) -> float:
        """Time at work: from each start to its last line, without the pauses between."""
        lines = sorted((*self.measurements, *self.events), key=lambda line: line["time"])
        total, begin, last = 0.0, None, 0.0
        for line in lines:
            if line.get("event") == "start" or begin is None:
                total += last - begin if begin is not None else 0.0
                begin = line["time"]
            last = line["time"]
        return total + (last - begin if begin is not None else 0.0)

    @property
    def start(self) -> dict[str, Any]:
        """The newest start: command, versions, device; empty without one."""
        return next((event for event in reversed(self.events) if event["event"] == "start"), {})

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Images seen and values of a quantity; what was not finite is left out."""
        found = [(line["images"], line[name]) for line in self.measurements if _is_number(line.get(name))]
        return [int(images) for images, _ in found], [float(value) for _, value in found]

    def best(self, name: str) -> tuple[float, int] | None:
        """Lowest value of a quantity and its step; None if it was never measured."""
        found = [(float(line[name]), int(line["step"])) for line in self.measurements if _is_number(line.get(name))]
        return min(found) if found else None

    def typical(self, name: str) -> float | None:
        """Median of a quantity; None if it was never measured."""
        values = sorted(self.series(name)[1])
        return values[len(values) // 2] if values else None


def read_history(workdir: Path) -> History:
    """Reads the record of a run.

    Raises:
        InputError: the folder is no workdir, or the record cannot be read.
    """
    path = workdir / METRICS
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing: is {workdir} a workdir of gan_jax.main?") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    measurements, events, skipped = [], [], 0
    for line in content.splitlines():
        try:
            entry = json.loads(line)
            is_event = isinstance(entry["event"], str) if "event" in entry else False
            usable = all(_is_number(entry[name]) for name in (("step", "time") if is_event else _ABOUT))
        except (ValueError, KeyError, TypeError, RecursionError):  # cut in half when the run was killed
            usable = False
        if not usable:
            skipped += 1
        elif is_event:
            events.append(entry)
        else:
            measurements.append(entry)
    return History(tuple(measurements), tuple(events), skipped)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
