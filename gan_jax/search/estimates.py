"""What a run will take, in time and memory, before it begins. Imports data, program and runtime.

Time is measured, not reckoned: the program of the run is compiled and a few of its calls are taken.
"""

import dataclasses
import resource
import sys
import time
from typing import Any

import jax
import numpy as np

from gan_jax.config import Config
from gan_jax.data.arrays import Source
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.program import Program, build
from gan_jax.runtime.mesh import batch_sharding, make_mesh, put, replicated

MEASURED = 3.0  # seconds of steps, at least
CALLS = 3  # of the compiled step, at least
CALLS_TOGETHER = 20  # where several processes must take as many


def step_seconds(program: Program, source: Source, least_seconds: float = MEASURED) -> float:
    """Mean seconds of a step with its data, after compiling, on a state that is thrown away.

    Args:
        program: of the run.
        source: its training examples.
        least_seconds: to measure for, at least.
    """
    config, place = program.config, replicated(program.mesh)
    lead = program.passes, program.micro_batch
    with Pipeline(source, config.data, config.seed, *lead, batch_sharding(program.mesh, axis=1)) as pipeline:
        count = put(np.int32(program.per_dispatch), place)
        state: Any = program.init(put(np.uint32(config.seed), place))

        def call(number: int) -> None:
            nonlocal state
            batch = pipeline.batch(number * program.per_dispatch, program.per_dispatch)
            state = jax.block_until_ready(program.step(state, batch, count)[0])

        call(0)
        start, calls, together = time.perf_counter(), 0, jax.process_count() > 1
        while calls < (CALLS_TOGETHER if together else CALLS) or (
            not together and time.perf_counter() - start < least_seconds
        ):
            calls += 1
            call(calls)
        return (time.perf_counter() - start) / (calls * program.per_dispatch)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        seconds: of the run, loading and compiling included.
        step_seconds: of one step, measured.
        megabytes: at its peak: of each device where the platform tells, else of this process.
        steps: of the run.
    """

    seconds: float
    step_seconds: float
    megabytes: float
    steps: int

    def text(self) -> str:
        """One line."""
        return (
            f"estimate: {duration(self.seconds)} for {self.steps:,} steps of {1000 * self.step_seconds:.3g} ms,"
            f" {self.megabytes:,.0f} MB of memory"
        )


def estimate(config: Config) -> Estimate:
    """Compiles the program of a run and measures a few of its steps, here and on all devices.

    Raises:
        InputError: the config does not fit its data or the devices.
    """
    start = time.perf_counter()
    source = load_source(config.data, "train", config.seed)
    mesh = make_mesh()
    program = build(config, source.shape, source.num_classes, mesh)
    seconds = step_seconds(program, source)
    setup = time.perf_counter() - start - MEASURED
    return Estimate(setup + config.total_steps * seconds, seconds, _megabytes(), config.total_steps)


def _megabytes() -> float:
    """Peak so far, which steps of the run have made: of the fullest device if it tells, else of the process."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peak = max(stat.get("peak_bytes_in_use", 0) for stat in stats)
    unit = 1 if sys.platform == "darwin" else 1024  # of getrusage
    return (peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit) / 1e6


def duration(seconds: float) -> str:
    """E.g. "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
