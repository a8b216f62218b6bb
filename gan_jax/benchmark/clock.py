"""Training by the clock: what a comparison at equal wall-clock needs. Imports data, program and runtime.

Neither compilation nor scoring counts, and there is no journal and no checkpoint, so an arm pays for its steps and
their data alone.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from gan_jax.data.pipeline import Pipeline
from gan_jax.program import Program
from gan_jax.runtime.mesh import replicated

OnMark = Callable[[int, Any], None]


def step_seconds(program: Program, pipeline: Pipeline, least_seconds: float, least_calls: int = 20) -> float:
    """Mean seconds a step takes, after compiling, on a state that is thrown away.

    Args:
        program: of the run.
        pipeline: its data.
        least_seconds: to measure for, at least.
        least_calls: of the compiled step, at least.
    """
    state, calls = _call(program, pipeline, _fresh(program, 0), 0), 0
    start = time.perf_counter()
    while calls < least_calls or time.perf_counter() - start < least_seconds:
        calls += 1
        state = _call(program, pipeline, state, calls * program.per_dispatch)
    return (time.perf_counter() - start) / (calls * program.per_dispatch)


def train_to(program: Program, pipeline: Pipeline, seed: int, marks: Sequence[int], on_mark: OnMark) -> None:
    """Trains from a fresh state through the marks.

    Args:
        program: of the run.
        pipeline: its data.
        seed: of the state.
        marks: steps done, rising multiples of the program's steps a call, at which to pause.
        on_mark: called at each with (its number in `marks`, state); the state is valid until it returns.
    """
    state, step = _fresh(program, seed), 0
    for number, mark in enumerate(marks):
        while step < mark:
            state = _call(program, pipeline, state, step)
            step += program.per_dispatch
        on_mark(number, state)


def _fresh(program: Program, seed: int) -> Any:
    return jax.block_until_ready(program.init(jax.device_put(np.uint32(seed), replicated(program.mesh))))


def _call(program: Program, pipeline: Pipeline, state: Any, step: int) -> Any:
    """The state after one call of the step; the old one is donated. Waits, so that a clock may be read."""
    batch = pipeline.batch(step, program.per_dispatch)
    count = jax.device_put(np.int32(program.per_dispatch), replicated(program.mesh))
    return jax.block_until_ready(program.step(state, batch, count)[0])
