"""One process's part of a search: takes what is to be trained next, trains it, records it. Imports the room."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gan_jax.config import Config
from gan_jax.population.likeness import structure
from gan_jax.search.cohorts import CANCELLED, Member, Result, capacity, train_cohort
from gan_jax.search.leases import Leases
from gan_jax.search.plans import Plan, Stint, Trial, stints, wants_more
from gan_jax.search.space import Space
from gan_jax.search.study import Study

Configure = Callable[[Trial, Stint], Config]
Tell = Callable[[str], None]
POLL = 0.5  # seconds between two looks for work while others have some


def work(
    study: Study,
    plan: Plan,
    space: Space,
    leases: Leases,
    folder: Path,
    configure: Configure,
    add: Callable[[Sequence[Trial]], None] | None,
    together: int,
    tell: Tell,
) -> list[Trial]:
    """Works until the search has come to its end, in this process or in the others that share it.

    Args:
        study: its trials.
        plan: its rules.
        space: that is searched.
        leases: of this process.
        folder: for the states of trials.
        configure: the config of a stretch.
        add: adds a trial to those given; None = there are enough.
        together: trials that this process trains at once.
        tell: prints a line.

    Returns:
        All trials.
    """
    while True:
        trials = study.trials()
        busy = _busy(study, leases)
        ready = stints(plan, space, trials, busy)
        if ready:
            if taken := _take(study, plan, space, leases, ready, configure):
                _train(study, plan, leases, folder, taken, configure, tell)
            else:
                time.sleep(POLL)  # others were quicker
            continue
        if add and wants_more(plan, trials):
            with leases.holding(f"{study.name}/new"):
                trials = study.trials()
                while wants_more(plan, trials) and len(stints(plan, space, trials, _busy(study, leases))) < together:
                    add(trials)
                    trials = study.trials()
            continue
        if not busy:
            break
        time.sleep(POLL)
    with leases.holding(f"{study.name}/end"):
        for trial in study.trials():
            study.finish(trial.number, plan.whole(trial))
    return study.trials()


def _busy(study: Study, leases: Leases) -> set[int]:
    """Trials that other processes train."""
    prefix = f"{study.name}/trial/"
    return {int(name.removeprefix(prefix)) for name in leases.others() if name.startswith(prefix)}


def _take(
    study: Study, plan: Plan, space: Space, leases: Leases, ready: Sequence[Stint], configure: Configure
) -> list[tuple[Trial, Stint]]:
    """Leases for stints that can be trained together, the most urgent one among them."""
    trials, first = study.trials(), ready[0]
    common = structure(configure(trials[first.trial], first))
    alike = [
        stint for stint in ready
        if stint.stretch == first.stretch and structure(configure(trials[stint.trial], stint)) == common
    ]  # fmt: skip
    taken: list[Stint] = []
    most = min(capacity(common), plan.fitting(trials, first.stretch))
    for stint in alike:
        if len(taken) < most and leases.claim(_lease(study, stint)):
            taken.append(stint)
    # What was decided before the lease was had may be done by now.
    trials = study.trials()
    still = stints(plan, space, trials, _busy(study, leases))
    for stint in [stint for stint in taken if stint not in still]:
        taken.remove(stint)
        leases.release(_lease(study, stint))
    return [(trials[stint.trial], stint) for stint in taken]


def _train(
    study: Study,
    plan: Plan,
    leases: Leases,
    folder: Path,
    taken: Sequence[tuple[Trial, Stint]],
    configure: Configure,
    tell: Tell,
) -> None:
    stretch = taken[0][1].stretch
    first, last = ([0, *plan.marks][stretch], plan.marks[stretch])
    begin, before = time.perf_counter(), sum(sum(trial.steps) for trial in study.trials())
    try:
        results = train_cohort([_member(study, plan, leases, folder, t, s, configure) for t, s in taken], first, last)
        seconds = (time.perf_counter() - begin) / len(taken)
        for (trial, stint), result in zip(taken, results, strict=True):
            if result.reason != CANCELLED and not leases.lost(_lease(study, stint)):
                before += result.steps
                _record(study, stint, result, seconds, before)
                outcome = f"{result.score:.4g}" if not result.reason else f"diverged ({result.reason})"
                # No other member starts from a state two stretches old, and none from one that diverged.
                gone = trial.scores if result.reason else trial.scores[:-1]
                for stretch_number in range(len(gone)):
                    shutil.rmtree(_state(folder, trial.number, stretch_number), ignore_errors=True)
                tell(f"trial {trial.number}, step {first + result.steps:,} of {plan.steps:,}: {outcome}")
    finally:
        for _, stint in taken:
            leases.release(_lease(study, stint))


def _record(study: Study, stint: Stint, result: Result, seconds: float, at: int) -> None:
    study.record(
        stint.trial,
        stint.stretch,
        result.score,
        values=stint.values,
        parent=stint.parent,
        steps=result.steps,
        seconds=seconds,
        at=at,
        reason=result.reason,
    )


def _member(
    study: Study, plan: Plan, leases: Leases, folder: Path, trial: Trial, stint: Stint, configure: Configure
) -> Member:
    start = _state(folder, stint.parent, stint.stretch - 1) if stint.stretch else None
    lease = _lease(study, stint)
    own = _state(folder, trial.number, stint.stretch)
    repeatable = plan.method != "pbt"
    return Member(configure(trial, stint), own, start, repeatable, lambda: leases.lost(lease))


def _state(folder: Path, trial: int, stretch: int) -> Path:
    return folder / f"{trial:04d}" / f"stretch_{stretch}"


def _lease(study: Study, stint: Stint) -> str:
    return f"{study.name}/trial/{stint.trial}"
