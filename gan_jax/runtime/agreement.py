"""Decisions that all processes of a run must take alike. Imports errors only; free with one process."""

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from gan_jax.errors import InputError

T = TypeVar("T")


def everyone(ok: bool) -> bool:
    """True on every process when `ok` is true on all of them; every process must call it."""
    if jax.process_count() == 1:
        return ok
    return bool(np.all(multihost_utils.process_allgather(np.asarray(ok))))


def from_first(value: int) -> int:
    """Process 0's `value`, on every process; every process must call it."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.asarray(value, np.int32)))


def on_first(action: Callable[[], T]) -> T | None:
    """Runs `action` on process 0 alone while the others wait; its failure stops them all.

    Returns:
        What `action` returned on process 0, None elsewhere.

    Raises:
        Exception: what `action` raised, on process 0.
        InputError: on the other processes, when it raised.
    """
    result: T | None = None
    error: Exception | None = None
    if jax.process_index() == 0:
        try:
            result = action()
        except Exception as raised:
            error = raised
    if not everyone(error is None):
        raise error or InputError("process 0 stopped the run: see its message")
    return result
