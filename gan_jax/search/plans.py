"""What to train next: random search, successive halving (ASHA), population-based training. Imports the room's space.

Pure functions of what is known of the trials, so that every process, and a process that goes on after a kill, comes to
the same decisions.
"""

import dataclasses
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gan_jax.search.space import Space, Values, moved

Method = Literal["random", "asha", "pbt"]
METHODS: tuple[Method, ...] = ("random", "asha", "pbt")


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is known of one configuration, in whole stretches of training.

    Attributes:
        number: from 0, in order of birth.
        seed: of its run.
        values: that each stretch was trained with; the first ones before that.
        scores: at the end of each stretch, less is better; infinite where it diverged.
        steps: that each stretch took.
        seconds: that each stretch took, scoring included.
        parents: trial whose state each stretch started from.
        at: steps of all trials together when each stretch had been scored, of those known when it was begun.
        finished: nothing more is to be done with it.
    """

    number: int
    seed: int
    values: tuple[Values, ...]
    scores: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()
    parents: tuple[int, ...] = ()
    at: tuple[int, ...] = ()
    finished: bool = False

    @property
    def last(self) -> float:
        """The newest score."""
        return self.scores[-1] if self.scores else math.inf


@dataclasses.dataclass(frozen=True)
class Stint:
    """One stretch of one trial's training.

    Attributes:
        trial: its number.
        stretch: which one, from 0.
        parent: the trial whose state at the end of the stretch before it starts from.
        values: to train with.
    """

    trial: int
    stretch: int
    parent: int
    values: Values


@dataclasses.dataclass(frozen=True)
class Plan:
    """The rules of a search.

    Attributes:
        method: random: every configuration is trained whole. asha: asynchronous successive halving (Li et al. 2020,
            algorithm 2): of those that reached a rung, the best `1 / factor` go on to the next; the others cost no
            more. pbt: population-based training (Jaderberg et al. 2017): after every stretch each member of the worst
            quarter takes over a state of the best quarter, with its numbers moved a little.
        steps: of a whole training.
        trials: configurations at most; None = as many as `total_steps` and `total_seconds` allow.
        total_steps: after which no stretch is begun, all trials together; None = no limit.
        total_seconds: the same in seconds of work.
        factor: of successive halving.
        stretches: of population-based training.
        population: members of one; more trials make more populations, one after another.
        seed: of the search.
    """

    method: Method
    steps: int
    trials: int | None = None
    total_steps: int | None = None
    total_seconds: float | None = None
    factor: int = 4
    stretches: int = 5
    population: int = 8
    seed: int = 0

    @property
    def marks(self) -> tuple[int, ...]:
        """Steps at which stretches end; the last is `steps`."""
        if self.method == "random":
            return (self.steps,)
        if self.method == "asha":
            rungs = [self.steps // self.factor**power for power in (2, 1, 0)]
        else:
            rungs = [self.steps * (number + 1) // self.stretches for number in range(self.stretches)]
        return tuple(sorted({max(1, rung) for rung in rungs}))

    def spent(self, trials: Sequence[Trial]) -> bool:
        """Whether the budget is used up."""
        steps, seconds = sum(sum(t.steps) for t in trials), sum(sum(t.seconds) for t in trials)
        over_steps = self.total_steps is not None and steps >= self.total_steps
        return over_steps or (self.total_seconds is not None and seconds >= self.total_seconds)

    def fitting(self, trials: Sequence[Trial], stretch: int) -> int:
        """How many trainings of a stretch, begun together, the budget of steps still lets begin."""
        if self.total_steps is None:
            return sys.maxsize
        begin = self.marks[stretch - 1] if stretch else 0
        left = self.total_steps - sum(sum(trial.steps) for trial in trials)
        return max(1, -(-left // (self.marks[stretch] - begin)))

    def whole(self, trial: Trial) -> bool:
        """Whether a trial was trained to the end and is worth anything."""
        return len(trial.scores) == len(self.marks) and math.isfinite(trial.last)


def stints(plan: Plan, space: Space, trials: Sequence[Trial], busy: Collection[int]) -> list[Stint]:
    """What may be trained now, the most urgent first; what is being trained already is left out.

    Args:
        plan: the rules.
        space: that is searched.
        trials: all there are.
        busy: numbers of those that are being trained.
    """
    if plan.spent(trials) and (busy or any(plan.whole(trial) for trial in trials)):
        return []
    if plan.method == "pbt":
        found = [stint for trial in trials for stint in _next_generation(plan, space, trials, trial)]
    else:
        found = _promotions(plan, trials, busy)
    return [stint for stint in found if stint.trial not in busy]


def wants_more(plan: Plan, trials: Sequence[Trial]) -> bool:
    """Whether another configuration is to be drawn, now that nothing else may be trained."""
    if plan.spent(trials) or (plan.trials is not None and len(trials) >= plan.trials):
        return False
    if plan.method != "pbt":
        return True
    missing = len(trials) % plan.population != 0
    done = all(len(trial.scores) == len(plan.marks) for trial in trials)
    return missing or done  # a whole population at a time


def best(plan: Plan, trials: Sequence[Trial]) -> Trial | None:
    """The whole trial with the least score, None if there is none."""
    return min((trial for trial in trials if plan.whole(trial)), key=lambda t: (t.last, t.number), default=None)


def lineage(trials: Sequence[Trial], trial: Trial) -> list[Values]:
    """Values of every stretch that led to a trial's present state, its ancestors' included."""
    found: list[Values] = []
    for stretch in range(len(trial.scores) - 1, -1, -1):
        found.insert(0, trial.values[stretch])
        trial = trials[trial.parents[stretch]]
    return found


def _promotions(plan: Plan, trials: Sequence[Trial], busy: Collection[int]) -> list[Stint]:
    last = len(plan.marks) - 1
    found: list[Stint] = []
    for rung in range(last - 1, -1, -1):  # the highest first
        entrants = [trial for trial in trials if len(trial.scores) > rung]
        found += [_onwards(t) for t in _ranked(entrants, rung)[: len(entrants) // plan.factor] if _waits(t, rung)]
    found += [_onwards(trial) for trial in trials if not trial.scores]
    full = plan.trials is not None and len(trials) >= plan.trials
    if plan.spent(trials) and any(_waits(trial, len(trial.scores) - 1) for trial in trials if trial.scores):
        found = []  # beyond the budget the one nearest to its end goes on, and no other
    if not found and not busy and (full or plan.spent(trials)) and not any(plan.whole(trial) for trial in trials):
        # Too few for a promotion by the rule, but a search must come to a result.
        waiting = [t for t in trials if 0 < len(t.scores) <= last and math.isfinite(t.last)]
        top = max((len(trial.scores) for trial in waiting), default=0)
        found += [_onwards(t) for t in _ranked([t for t in waiting if len(t.scores) == top], top - 1)[:1]]
    return found


def _ranked(trials: Sequence[Trial], rung: int) -> list[Trial]:
    return sorted(trials, key=lambda trial: (trial.scores[rung], trial.number))


def _waits(trial: Trial, rung: int) -> bool:
    return len(trial.scores) == rung + 1 and math.isfinite(trial.last)


def _onwards(trial: Trial) -> Stint:
    return Stint(trial.number, len(trial.scores), trial.number, trial.values[-1])


def _next_generation(plan: Plan, space: Space, trials: Sequence[Trial], trial: Trial) -> list[Stint]:
    """The next stretch of a member, once all of its population have ended the one before."""
    first = trial.number - trial.number % plan.population
    members, stretch = trials[first : first + plan.population], len(trial.scores)
    if stretch == len(plan.marks):
        return []
    if stretch == 0:
        return [_onwards(trial)]
    waits_for_members = len(members) < plan.population and len(trials) != plan.trials and not plan.spent(trials)
    if waits_for_members or any(len(member.scores) < stretch for member in members):
        return []
    ranked = _ranked(members, stretch - 1)
    quarter = max(1, len(members) // 4)
    place = ranked.index(trial)
    best = [member for member in ranked[:quarter] if math.isfinite(member.scores[stretch - 1])]
    lost = not math.isfinite(trial.scores[stretch - 1])
    if not best or not (lost or place >= len(members) - quarter) or trial in best:
        values = trial.values[stretch - 1]
        return [] if lost else [Stint(trial.number, stretch, trial.number, values)]
    rng = np.random.default_rng([plan.seed, trial.number, stretch])
    parent = best[int(rng.integers(len(best)))]
    return [Stint(trial.number, stretch, parent.number, moved(space, parent.values[stretch - 1], rng))]


def facts(plan: Plan) -> Mapping[str, Any]:
    """What a search that goes on must have in common with its beginning."""
    found = dataclasses.asdict(plan)
    return {name: found[name] for name in ("method", "factor", "stretches", "population", "seed")}
