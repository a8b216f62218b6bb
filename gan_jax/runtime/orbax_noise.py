"""What Orbax and TensorStore print that is not to reach the user. Imports nothing of ours."""

import logging
import sys
import traceback
from typing import Any


def silence_orbax() -> None:
    """Drops Orbax's log lines: what matters in them is raised as errors of our own."""
    for name in ("absl", "asyncio"):
        log = logging.getLogger(name)
        if _not_orbax not in log.filters:
            log.addFilter(_not_orbax)
    if sys.unraisablehook is not _late_future:
        _former_hook[:] = [sys.unraisablehook]
        sys.unraisablehook = _late_future


def _not_orbax(entry: logging.LogRecord) -> bool:
    """False for Orbax's own lines, and for asyncio's about the second of two files that Orbax could not write."""
    trace = entry.exc_info[2] if entry.name == "asyncio" and entry.exc_info else None
    frames = traceback.extract_tb(trace) if trace else []
    return not any("/orbax/" in path for path in (entry.pathname, *(frame.filename for frame in frames)))


_former_hook: list[Any] = []  # what Python did with errors that nobody can catch, before ours


def _late_future(failure: Any) -> None:
    """Drops TensorStore's traceback about a second array, told to an event loop that the first failure has closed."""
    if "Event loop is closed" not in str(failure.exc_value):
        _former_hook[0](failure)
