"""Ctrl-C and SIGTERM ask the loop to stop after its step, so that it can save. Imports nothing of ours."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

import jax
from jax.experimental import multihost_utils


class StopSignal:
    """A flag that SIGINT (Ctrl-C) or SIGTERM raises; a second Ctrl-C raises KeyboardInterrupt at once.

    With `jax.distributed`, JAX's preemption service passes the signal that one process got to all of them, and
    `requested` turns true after the same step everywhere. JAX catches SIGTERM itself then, and Ctrl-C is passed
    on to it as SIGTERM. If that service is off, no process may stop alone, so signals keep their usual effect.

    Outside the main thread Python allows no handlers: then nothing is caught. Handlers found at entry are put
    back on exit.

    Attributes:
        signal: the signal that came, None before. Where another process got it: SIGTERM.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._stop = False  # agreed on by all processes
        self._asked_at = -1
        self._calls = 0
        self._former: dict[signal.Signals, Any] = {}
        self._distributed = jax.distributed.is_initialized()
        self._service = self._distributed and _has_preemption_service()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            caught = [signal.SIGINT, signal.SIGTERM]
            if self._distributed:
                # A handler for SIGTERM would replace the one that JAX's service listens with.
                caught = [signal.SIGINT] if self._service else []
            for number in caught:
                self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)
        self._former.clear()

    def requested(self, step: int) -> bool:
        """Whether to stop after `step`.

        In a distributed run all processes must ask after the same steps.
        """
        if self._service and not self._stop and step != self._asked_at:
            # The service is given the number of calls and not the step: it waits for one exact number, which steps
            # taken several at a time would jump over.
            self._asked_at, self._calls = step, self._calls + 1
            self._stop = multihost_utils.reached_preemption_sync_point(self._calls)
            if self._stop and self.signal is None:
                self.signal = signal.SIGTERM
        elif not self._distributed:
            self._stop = self.signal is not None
        return self._stop

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.signal = signal.Signals(number)
        os.write(2, b"\nstopping after this step; Ctrl-C stops at once\n")  # print() is not safe in a handler
        if self._service:
            os.kill(os.getpid(), signal.SIGTERM)


def _has_preemption_service() -> bool:
    try:
        multihost_utils.reached_preemption_sync_point(0)
    except RuntimeError:  # turned off by the option jax_enable_preemption_service
        return False
    return True
