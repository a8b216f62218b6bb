"""A search from its first trial to a config file that runs. Imports the room and the config.

Trials train on a part of the training images and are scored against the rest of them; the test split is never opened.
"""

import contextlib
import dataclasses
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from optuna.storages import RDBStorage

from gan_jax.adversarial.schedules import number_field
from gan_jax.config import Config, Schedule
from gan_jax.errors import InputError
from gan_jax.evaluation.judges import POINT_SETS
from gan_jax.program import build, steps_per_call
from gan_jax.runtime.files import writing
from gan_jax.runtime.mesh import make_mesh
from gan_jax.runtime.workdir import fixed_settings
from gan_jax.search import findings
from gan_jax.search.cohorts import capacity, judge_of, open_source
from gan_jax.search.estimates import step_seconds
from gan_jax.search.leases import Leases
from gan_jax.search.plans import METHODS, Method, Plan, Stint, Trial, best, facts, lineage
from gan_jax.search.space import Space, Values, configured, default_space, load_space, values_of
from gan_jax.search.study import Study, default_storage, opened_storage, stored_facts, without_password
from gan_jax.search.workers import Tell, work

REPEATS = 3  # seeds with which the best settings, and those of the config, are trained again
WHOLE = 20  # whole trainings in a budget of time; REPEATS of either kind are kept back for the end
POPULATION = 8  # members, about
FIRST_SEED = 100  # trials' seeds are the config's plus this and their number; the last comparison uses the config's own


@dataclasses.dataclass(frozen=True)
class Request:
    """What is searched, how and for how long.

    Attributes:
        config: the recipe to be tuned.
        workdir: for the states of trials and what is found.
        method: see `plans.Plan`.
        space: a file, or a space; None = `default_space`.
        trials: configurations; None = as the budget allows.
        budget: seconds of work of all processes together; None = as long as the trials take.
        images: length of a training; None = the config's, or what a budget allows.
        storage: URL of the database; empty = SQLite in the workdir.
        study: its name there.
        own: whether the first trial has the config's own values.
        total_steps: of all trials, for comparisons at equal compute; None = no such limit.
        repeats: see `REPEATS`.
    """

    config: Config
    workdir: Path
    method: Method = "asha"
    space: str | Path | Space | None = None
    trials: int | None = None
    budget: float | None = None
    images: int | None = None
    storage: str = ""
    study: str = "tune"
    own: bool = True
    total_steps: int | None = None
    repeats: int = REPEATS


def parse_budget(text: str) -> float:
    """Seconds in "90s", "30m", "1.5h" or "2h30m".

    Raises:
        InputError: it is none of these.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    seconds = sum(float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not seconds > 0:
        raise InputError(f"--budget={text}: give hours, minutes or seconds, e.g. 30m, 1.5h or 2h30m")
    return seconds


@dataclasses.dataclass(frozen=True)
class Searched:
    """The end of the search itself.

    Attributes:
        base: the config that trials shared: shorter, with training images held out.
        plan: the rules.
        space: that was searched.
        trials: all of them.
        winner: the one with the least score.
        changes: of the config, that the winner stands for.
    """

    base: Config
    plan: Plan
    space: Space
    trials: Sequence[Trial]
    winner: Trial
    changes: Mapping[str, Any]


def tune(request: Request, tell: Tell = print) -> findings.Findings:
    """Searches, trains the best settings again with other seeds, and writes what was found into the workdir.

    The same request goes on where a killed one stopped, and may run in several processes at once.

    Args:
        request: what to do.
        tell: is given lines of progress.

    Raises:
        InputError: the request does not fit together, or not to an earlier one; or every trial diverged.
    """
    with _opened(request) as (storage, leases):
        found = _search(request, storage, leases, tell)
        again = _again(request, Study(storage, f"{request.study}/again", {}, {}), leases, found, tell)
        full = _full(request.config, found)
        result = findings.Findings(full, found.base, found.plan, found.space, found.trials, found.winner, again)
        with leases.holding(f"{request.study}/findings"):
            findings.write(result, request.workdir)
            for states in ("trials", "again"):  # what they were for is known
                shutil.rmtree(request.workdir / states, ignore_errors=True)
    return result


def search(request: Request, tell: Tell = print) -> Searched:
    """The search alone, for comparisons; see `tune`."""
    with _opened(request) as (storage, leases):
        return _search(request, storage, leases, tell)


@contextlib.contextmanager
def _opened(request: Request) -> Iterator[tuple[RDBStorage, Leases]]:
    _check(request)
    with writing(request.workdir):
        request.workdir.mkdir(parents=True, exist_ok=True)
    with (
        opened_storage(request.storage or default_storage(request.workdir)) as storage,
        Leases(storage.engine, request.workdir) as leases,
    ):
        yield storage, leases


def _search(request: Request, storage: RDBStorage, leases: Leases, tell: Tell) -> Searched:
    base = _base(request, int(stored_facts(storage, request.study).get("images", 0)), tell)
    space = _space(request, base)
    plan = _plan(request, base)
    study = Study(storage, request.study, space, _facts(base, plan, space))
    own = values_of(base, space) if request.own else None
    judge_of(base.data, base.evaluation)  # what cannot be had is missed now
    tell(
        f"study {request.study!r}, {plan.method}: {base.total_images:,} images a training, {len(space)} numbers,"
        f" judged by {findings.held_out(base)}, kept in {without_password(request.storage or str(request.workdir))}"
    )

    def configure(trial: Trial, stint: Stint) -> Config:
        return configured(base, stint.values).replace({"seed": trial.seed})

    def add(trials: Sequence[Trial]) -> None:
        number = len(trials)
        values = own if own and number == 0 else study.propose(number, plan.seed, plan.method == "asha")
        study.add(values, base.seed + FIRST_SEED + number)

    trials = work(study, plan, space, leases, request.workdir / "trials", configure, add, capacity(base), tell)
    winner = best(plan, trials)
    if winner is None:
        raise InputError(f"all {len(trials)} trials diverged: narrow the space (--space), or lower its rates")
    return Searched(base, plan, space, trials, winner, _changes(base, space, lineage(trials, winner)))


# ---------------------------------------------------------------- what is trained


def _check(request: Request) -> None:
    if request.method not in METHODS:
        raise InputError(f"--method={request.method}: choose of {', '.join(METHODS)}")
    if jax.process_count() > 1:
        raise InputError("a search takes no --processes: start the same command several times, on one --storage")
    if request.config.data.source in POINT_SETS:
        raise InputError(
            f"config.data.source={request.config.data.source}: a search scores images; points have no features"
        )
    if (request.trials, request.budget, request.total_steps) == (None, None, None):
        raise InputError("give --trials=N or --budget=30m")
    least = request.config.images_per_step * steps_per_call(request.config)
    if request.images is not None and request.images < least:
        raise InputError(f"--images={request.images} is less than one call of the step: give at least {least}")


def _base(request: Request, stored: int, tell: Tell) -> Config:
    """The config that trials share: shorter, and with a part of the training images held out."""
    config = request.config
    if not config.data.validation:
        count = len(open_source(config.data, "train", config.seed))
        config = config.replace({"data.validation": 0.1 if count >= 20_000 else 0.2})
    config = config.replace({"watchdog.enabled": True})
    images = request.images or stored
    if not images and request.budget is not None and request.total_steps is None:
        seconds = _step_seconds(config)
        whole = WHOLE if request.method != "pbt" else POPULATION / (1 - 2 * request.repeats / WHOLE)
        images = min(config.total_images, int(request.budget / whole / seconds) * config.images_per_step)
        images = max(images, config.images_per_step * steps_per_call(config))
        tell(f"{1000 * seconds:.3g} ms a step: trainings of {images:,} images fit into the budget")
    return shortened(config, images or config.total_images)


def shortened(config: Config, images: int) -> Config:
    """The same recipe for a run of another length; the generator's average keeps its part of the run."""
    before, share = config.ema_half_life, images / config.total_images
    end = None if before.end is None else before.end * share
    average = {"start": before.start * share, "end": end, "shape": before.shape}
    return config.replace({"total_images": images, "ema_half_life": average})


def _step_seconds(config: Config) -> float:
    source = open_source(config.data, "train", config.seed)
    program = build(config, source.shape, source.num_classes, make_mesh(jax.local_devices()[:1]))
    return step_seconds(program, source)


def _space(request: Request, base: Config) -> Space:
    if request.space is None:
        return default_space(base)
    if isinstance(request.space, (str, Path)):
        return load_space(request.space, base)
    return request.space


def _plan(request: Request, base: Config) -> Plan:
    trials, seconds = request.trials, None
    if request.budget is not None:
        seconds = request.budget * (1 - 2 * request.repeats / WHOLE)
        trials = trials or (POPULATION if request.method == "pbt" else None)
    populations = max(1, round((trials or POPULATION) / POPULATION))  # as equal as can be
    return Plan(
        method=request.method,
        steps=base.total_steps,
        trials=trials,
        population=math.ceil((trials or POPULATION) / populations),
        total_steps=request.total_steps,
        total_seconds=seconds,
        seed=base.seed,
    )


def _facts(base: Config, plan: Plan, space: Space) -> dict[str, Any]:
    """What all processes of a search must agree on."""
    limits = {field: repr(part) for field, part in space.items()}
    return {
        "images": base.total_images,
        **facts(plan),
        **{f"config.{name}": value for name, value in fixed_settings(base).items()},
        "space": limits,
    }


# ---------------------------------------------------------------- what was found


def _changes(base: Config, space: Space, values: Sequence[Values]) -> dict[str, Any]:
    """Fields of the config, from the values of every stretch; a schedule runs from the first ones to the last."""
    first, last = configured(base, values[0]), configured(base, values[-1])
    changes: dict[str, Any] = {}
    for field in (field for fields in space for field in fields.split(",")):
        begin, end = number_field(first, field), number_field(last, field)
        if isinstance(begin, Schedule):
            moving = begin.end is not None or begin != end
            goal = (end.start if end.end is None else end.end) if moving else None
            changes[field] = {"start": begin.start, "end": goal, "shape": begin.shape}
        else:
            changes[field] = end
    return changes


def _again(request: Request, study: Study, leases: Leases, found: Searched, tell: Tell) -> dict[str, list[Trial]]:
    """Trains what was found, and the config as it was, with seeds that had no part in the choice."""
    base = found.base
    arms = {findings.FOUND: base.replace(found.changes), findings.BEFORE: base}
    if arms[findings.FOUND] == base:
        del arms[findings.BEFORE]
    names, repeats = list(arms), request.repeats
    plan = Plan("random", base.total_steps, trials=len(arms) * repeats)
    with leases.holding(f"{study.name}/new"):
        for number in range(len(study.trials()), len(arms) * repeats):
            study.add({}, base.seed + number % repeats)

    def configure(trial: Trial, stint: Stint) -> Config:
        return arms[names[trial.number // repeats]].replace({"seed": trial.seed})

    tell(f"{' and '.join(names)}, each trained again with {repeats} seeds")
    trials = work(study, plan, {}, leases, request.workdir / "again", configure, None, capacity(base), tell)
    return {name: trials[place * repeats : (place + 1) * repeats] for place, name in enumerate(names)}


def _full(config: Config, found: Searched) -> Config:
    """The config of a run of its own length with what was found."""
    average = shortened(found.base.replace(found.changes), config.total_images).ema_half_life
    changes = {name: value for name, value in found.changes.items() if name != "ema_half_life"}
    return config.replace({**changes, "ema_half_life": dataclasses.asdict(average)})
