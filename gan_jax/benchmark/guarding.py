"""What the watchdog does for a run, and what it costs. Imports data, gan, program, runtime, training."""

import contextlib
import functools
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.faulty_program import faulty
from gan_jax.benchmark.rounds import alternate, ratio
from gan_jax.benchmark.suite import Outcome
from gan_jax.benchmark.sweeping import Score
from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import UnstableRun
from gan_jax.gan import Gan
from gan_jax.program import Program, build
from gan_jax.runtime.journal import METRICS
from gan_jax.runtime.mesh import batch_sharding, make_mesh, replicated
from gan_jax.runtime.watchdog import Watchdog
from gan_jax.training import train

Events = list[dict[str, Any]]


def damaged(config: Config, fault: str, at: int, score: Score) -> Outcome:
    """Trains through `gan_jax.train` while something goes wrong once.

    Args:
        config: of the run.
        fault: a name of `faulty_program.FAULTS`.
        at: its step.
        score: see `sweeping.distances`; the same function for every fault of a process, so that the run without fault
            is trained once.

    Returns:
        noticed_steps: from the fault to the first rollback; not a number if there was none. rollbacks. fid, and
        fid_undisturbed: of the same run without the fault and with its watchdog; false_alarms in that one.
    """
    start = time.perf_counter()
    whole, false_alarms = undisturbed(config.replace({"watchdog.enabled": True}), score)
    pair, events = guarded_run(config, faulty(fault, at))
    fid = score(pair, config.seed) if pair else math.nan
    back = [event for event in events if event["event"] == "rollback"]
    metrics = {
        "noticed_steps": back[0]["noticed"] - at if back else math.nan,
        "rollbacks": len(back),
        "fid": fid,
        "fid_undisturbed": whole,
        "fid_over_undisturbed": fid / whole,
        "false_alarms": false_alarms,
    }
    return Outcome(metrics, time.perf_counter() - start, config.total_images)


@functools.cache
def undisturbed(config: Config, score: Score) -> tuple[float, int]:
    """Distance of the run to which nothing happens, and how often the watchdog spoke up; once a process."""
    pair, events = guarded_run(config, build)
    alarms = sum(event["event"] in ("warning", "rollback", "given_up") for event in events)
    return (score(pair, config.seed) if pair else math.nan), alarms


def guarded_run(config: Config, make_program: Callable[..., Program]) -> tuple[Gan | None, Events]:
    """Trains as `gan_jax.main` would, saving eight times, in a folder that is removed afterwards.

    Args:
        config: of the run.
        make_program: see `gan_jax.train`.

    Returns:
        The pair, None if the watchdog gave up, and the events of the journal.
    """
    config = config.replace(
        {
            "step.per_dispatch": 10,  # a fault lasts 50 steps: whole calls
            "log.checkpoint_images": max(1, config.total_images // 8),
            "log.keep": 3,
            "log.samples_images": 0,
        }
    )
    gan: Gan | None = None
    with tempfile.TemporaryDirectory(prefix="gan_jax_guarding_") as workdir:
        try:
            gan = train(config, workdir, make_program=make_program)
        except UnstableRun as error:
            print(f"  {error}", flush=True)
        lines = (Path(workdir) / METRICS).read_text().splitlines()
    return gan, [entry for entry in map(json.loads, lines) if "event" in entry]


def watchdog_cost(config: Config, rounds: int, block_seconds: float) -> Outcome:
    """Times the step with the watchdog, looks included, and without it, in turns.

    Returns:
        cost_percent: median over the rounds of one over the other, less 1, percent. ms_on, ms_off: the least of the
        rounds, a step.
    """
    begin, mesh = time.perf_counter(), make_mesh()
    source = load_source(config.data, "train", config.seed)
    calls = {}
    with contextlib.ExitStack() as stack:
        for name, enabled in (("on", True), ("off", False)):
            one = config.replace({"watchdog.enabled": enabled})
            program = build(one, source.shape, source.num_classes, mesh)
            lead = program.passes, program.micro_batch
            pipeline = stack.enter_context(Pipeline(source, one.data, 0, *lead, batch_sharding(mesh, axis=1)))
            calls[name] = _stepper(program, pipeline)
            calls[name]()
        seconds = alternate(calls, rounds, block_seconds)
    steps = program.per_dispatch
    least = {f"ms_{name}": 1e3 * min(times) / steps for name, times in seconds.items()}
    metrics = {"cost_percent": 100 * (ratio(seconds["on"], seconds["off"]) - 1), **least}
    return Outcome(metrics, time.perf_counter() - begin, 0)


def _stepper(program: Program, pipeline: Pipeline) -> Callable[[], None]:
    """One call of the step, as the page does it: batch, step, and a look when one is due."""
    place, steps, done = replicated(program.mesh), program.per_dispatch, 0
    state = program.init(jax.device_put(np.uint32(0), place))
    count, watchdog = jax.device_put(np.int32(steps), place), Watchdog(program.config)

    def call() -> None:
        nonlocal state, done
        state, metrics = program.step(state, pipeline.batch(done, steps), count)
        done += steps
        if watchdog.due(done - steps, done):
            watchdog.look(done, jax.device_get(metrics))
        jax.block_until_ready(state)

    return call
