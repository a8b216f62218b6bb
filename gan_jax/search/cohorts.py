"""Trains stretches of several trials together and scores them on held-out training images. Imports population.

The state of a trial lives in WORKDIR/trials/NUMBER/STRETCH as checkpoints of a run do, so a stretch that was cut off
goes on from there, bit for bit.
"""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.adversarial.state import State
from gan_jax.config import Config, DataConfig, EvaluationConfig
from gan_jax.data.arrays import Source
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.evaluation.judges import Judge
from gan_jax.evaluation.making import make_judge
from gan_jax.gan import from_state
from gan_jax.population.likeness import pays_side_by_side, structure
from gan_jax.population.members import Population, Rounds, make_population
from gan_jax.population.training import Feed
from gan_jax.program import Program, build
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.mesh import make_mesh
from gan_jax.runtime.pictures import as_data
from gan_jax.runtime.watchdog import Alarm, Watchdog
from gan_jax.runtime.workdir import fixed_settings

SAVE_SECONDS = 60.0  # between two checkpoints within a stretch
SAMPLES = 5_000  # a score, at most
CANCELLED = "another process took it over"
SIDE_BY_SIDE = 8  # members that one device trains in one call, where that pays


@dataclasses.dataclass(frozen=True)
class Member:
    """A trial's stretch, ready to be trained.

    Attributes:
        config: of its run.
        folder: for its state.
        start: folder of the state that it begins with; None = fresh from its seed.
        repeatable: whether training from the seed leads to that state, should it be missing.
        cancelled: whether its result is not wanted any more, asked at every look.
    """

    config: Config
    folder: Path
    start: Path | None
    repeatable: bool = True
    cancelled: Callable[[], bool] = lambda: False


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of it: the score, infinite if it diverged, with the reason; steps that it took."""

    score: float
    steps: int
    reason: str = ""


def capacity(config: Config) -> int:
    """Trials that this process trains together: one a device, or several where that is quicker than a row."""
    devices = jax.local_devices()
    return len(devices) * (SIDE_BY_SIDE if pays_side_by_side(config, devices[0].platform) else 1)


def train_cohort(members: Sequence[Member], first: int, last: int) -> list[Result]:
    """Trains members of one structure from step `first` to step `last`, and scores them.

    A member whose numbers go wrong in the watchdog's eyes is stopped there. Members leave the cohort when that makes it
    shorter.

    Raises:
        InputError: the data cannot be had, or a state cannot be written.
    """
    config = members[0].config
    source = open_source(config.data, "train", config.seed)
    program = _program(structure(config), source.shape, source.num_classes)
    results: dict[int, Result] = {}
    waiting = list(range(len(members)))
    while waiting:
        # Those of one step together: after a kill some may be further than others.
        steps = {place: _newest(members[place], first, last) for place in waiting}
        group = [place for place in waiting if steps[place] == steps[waiting[0]]]
        found = _train([members[place] for place in group], program, steps[group[0]], (first, last))
        results |= {group[place]: result for place, result in found.items()}
        waiting = [place for place in waiting if place not in results]
    return [results[place] for place in range(len(members))]


def _newest(member: Member, first: int, last: int) -> int:
    """Step to go on from: that of its own state, or `first`; 0 where the state it begins with is not to be had.

    Raises:
        InputError: that state is another trial's, so it cannot be made again.
    """
    with _store(member) as store:
        own = max((step for step in store.steps() if step <= last), default=0)
    if own > first or first == 0:
        return own
    assert member.start is not None
    with _store(member, member.start) as store:
        if first in store.steps():
            return first
    if not member.repeatable:
        raise InputError(f"{member.start} holds no state of step {first}: give all processes of a search one --workdir")
    return own


def _train(members: Sequence[Member], program: Program, step: int, stretch: tuple[int, int]) -> dict[int, Result]:
    """Trains members of one step until the end, or until going on with fewer is quicker.

    Returns:
        By place, what became of those that ended here.
    """
    configs, (first, last) = [member.config for member in members], stretch
    population = make_population(configs, program.shape, program.num_classes)
    results: dict[int, Result] = {}
    alive, dogs = set(range(len(members))), [Watchdog(config) for config in configs]
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(_store(member)) for member in members]
        states = _begin(population, members, stores, program, step)
        feed = stack.enter_context(Feed(population, open_source))
        saved = time.monotonic()
        while step < last and alive:
            per_call = program.per_dispatch
            batch = feed.batch(step, per_call)
            count = min(per_call - step % per_call, last - step)
            states, metrics = population.step(states, batch, count)
            before, step = step, step + count
            if not (dogs[0].due(before, step) or step == last):
                continue
            found = population.gather(metrics) | population.gather(population.signs(states, batch))
            for place in sorted(alive):
                own = {name: float(values[place]) for name, values in found.items()}
                if reason := _ruin(members[place], dogs[place].look(step, own, last=step == last)):
                    results[place] = Result(math.inf, step - first, reason)
                    alive.discard(place)
            fewer = bool(alive) and step < last and _share(population, len(alive)) < _share(population, len(members))
            if fewer or step == last or time.monotonic() - saved > SAVE_SECONDS:
                for place in alive:
                    stores[place].save(step, population.member(states, place))
                saved = time.monotonic()
            if fewer:
                return results
        for place in sorted(alive):
            stores[place].wait()
            score = _score(program, population.member(states, place), configs[place])
            reason = "" if math.isfinite(score) else "its samples are not finite"
            results[place] = Result(score, step - first, reason)
    return results


def _ruin(member: Member, alarm: Alarm | None) -> str:
    """Why a member is to stop; empty if it is not."""
    if member.cancelled():
        return CANCELLED
    return f"{alarm.quantity}: {alarm.text}" if alarm and alarm.ruinous else ""


def _begin(
    population: Population, members: Sequence[Member], stores: Sequence[Checkpoints], program: Program, step: int
) -> Rounds[State]:
    """The states of a step: the members' own if they have one, else those that they begin with."""
    if step == 0:
        return population.init()
    found = []
    for member, store in zip(members, stores, strict=True):
        if step in store.steps():
            state, _ = store.restore(step, program.abstract_state)
        else:
            assert member.start is not None
            with _store(member, member.start) as parent:
                state, _ = parent.restore(step, program.abstract_state)
        found.append(state.replace(seed=jnp.uint32(member.config.seed)))
    return population.join(found)


def _share(population: Population, members: int) -> int:
    """Members that the busiest device has to train."""
    return math.ceil(members / population.mesh.size)


def _store(member: Member, folder: Path | None = None) -> Checkpoints:
    """Its own states, or those in another folder, of the same structure."""
    return Checkpoints(folder or member.folder, 1, None, fixed_settings(structure(member.config)))


# ---------------------------------------------------------------- what a process needs once


@functools.lru_cache(maxsize=4)
def open_source(data: DataConfig, split: str, seed: int) -> Source:
    """`load_source`, once a process."""
    return load_source(data, split, seed)


@functools.lru_cache(maxsize=4)
def _program(common: Config, shape: tuple[int, ...], num_classes: int) -> Program:
    """On one device: the form of a checkpoint, and what makes samples."""
    return build(common, shape, num_classes, make_mesh(jax.local_devices()[:1]))


@functools.lru_cache(maxsize=2)
def judge_of(data: DataConfig, evaluation: EvaluationConfig) -> Judge:
    """Held-out training images in the eyes of the feature network, once a process."""
    return make_judge(data, evaluation)


def _score(program: Program, state: State, config: Config) -> float:
    """Fréchet distance of samples of the averaged generator from the held-out images."""
    gan = from_state(program, state, ())
    samples = np.asarray(gan.sample(jax.random.key(config.seed), min(SAMPLES, config.evaluation.count)))
    if not np.isfinite(samples).all():
        return math.inf
    judge = judge_of(config.data, config.evaluation)
    return judge.scores(as_data(samples), ("fid",))["fid"]
