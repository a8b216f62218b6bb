"""Decisions that all processes of a run must take alike. Imports errors only; free with one process."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from gan_jax.errors import InputError

T = TypeVar("T")


def everyone(ok: bool) -> bool:
    """True on every process when `ok` is true on all of them; every process must call it."""
    return not _refusing(ok)


def from_first(value: int) -> int:
    """Process 0's `value`, on every process; every process must call it."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.asarray(value, np.int32)))


def arrays_from_first(tree: Any) -> Any:
    """Process 0's arrays, on every process, which brings a tree of the same shapes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def bytes_from_first(content: bytes) -> bytes:
    """Process 0's bytes, on every process; what the others bring is not looked at."""
    array = np.zeros(from_first(len(content)), np.uint8)
    if jax.process_index() == 0:
        array = np.frombuffer(content, np.uint8)
    return bytes(np.asarray(arrays_from_first(array)))


def on_first(action: Callable[[], T]) -> T | None:
    """Runs `action` on process 0 alone while the others wait; its failure stops them all.

    Returns:
        What `action` returned on process 0, None elsewhere.

    Raises:
        Exception: what `action` raised, on process 0.
        InputError: on the other processes, when it raised.
    """
    return together(action if jax.process_index() == 0 else lambda: None)


def together(action: Callable[[], T]) -> T:
    """Runs `action` on every process; when it fails on one, all stop instead of waiting for that one.

    Raises:
        Exception: what `action` raised here.
        InputError: it raised on another process only.
    """
    result: Any = None
    error: Exception | None = None
    try:
        result = action()
    except Exception as raised:
        error = raised
    if refusing := _refusing(error is None):
        raise error or InputError(f"process {refusing[0]} stopped the run: see its message")
    return result


def first_then_others(action: Callable[[], T]) -> T:
    """Runs `action` on process 0 and then on the others, who find on disk what it prepared there.

    Raises:
        Exception: what `action` raised here.
        InputError: it raised on another process only.
    """
    result: Any = on_first(action)
    return together(action if jax.process_index() else lambda: result)


def _refusing(ok: bool) -> list[int]:
    """The processes whose `ok` is false."""
    if jax.process_count() == 1:
        return [] if ok else [0]
    votes = np.ravel(multihost_utils.process_allgather(np.asarray(ok)))
    return [number for number, vote in enumerate(votes.tolist()) if not vote]
