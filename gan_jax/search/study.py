"""The trials of a search in Optuna's storage, where several processes find and record them. Imports the room's plans.

Optuna keeps the trials, in SQLite or any database that SQLAlchemy knows, and proposes configurations. A trial is added
whole and a stretch of training is recorded by one number, its score, after all else is written, so that a process that
is killed leaves nothing half done behind: what it was training is taken up again from its last checkpoint.
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from gan_jax.errors import InputError
from gan_jax.search.leases import persistently
from gan_jax.search.plans import Trial
from gan_jax.search.space import Space, Values

_WAIT = 60.0  # seconds that a process waits for another's write to SQLite


def default_storage(folder: Path) -> str:
    """URL of the SQLite file in a folder."""
    return f"sqlite:///{folder.absolute() / 'study.db'}"


def without_password(url: str) -> str:
    """A URL as it may be printed."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


@contextmanager
def _database_errors(url: str) -> Iterator[None]:
    """Turns what databases say of a wrong URL into one line.

    Raises:
        InputError: the storage cannot be used.
    """
    try:
        yield
    except (SQLAlchemyError, ImportError, OSError, optuna.exceptions.StorageInternalError) as error:
        line = " ".join(str(error.__cause__ or error).split())
        raise InputError(
            f"--storage={without_password(url)} cannot be used ({line[:200]}): take sqlite:///FILE.db, or"
            " postgresql+psycopg://USER:PASSWORD@HOST/DATABASE with `pip install 'psycopg[binary]'`"
        ) from None


@contextmanager
def opened_storage(url: str) -> Iterator[RDBStorage]:
    """Optuna's storage, closed afterwards.

    Raises:
        InputError: it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = {"connect_args": {"timeout": _WAIT}} if url.startswith("sqlite:") else {"pool_pre_ping": True}
    with _database_errors(url):
        storage = persistently(lambda: RDBStorage(url, engine_kwargs=options))
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def stored_facts(storage: RDBStorage, name: str) -> dict[str, Any]:
    """What a study was begun with; empty if there is none of that name."""
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return {}
    return dict(study.user_attrs.get("facts", {}))


class Study:
    """The trials of one search.

    Attributes:
        name: of the study.
        facts: of the search.
    """

    def __init__(self, storage: RDBStorage, name: str, space: Space, facts: Mapping[str, Any]) -> None:
        """Opens or makes a study.

        Args:
            storage: of `opened_storage`.
            name: of the study in the storage.
            space: that is searched.
            facts: JSON values by name that all its processes have in common.

        Raises:
            InputError: the storage holds a study of that name with other facts.
        """
        self._storage, self._space = storage, space
        self._study = optuna.create_study(study_name=name, storage=storage, direction="minimize", load_if_exists=True)
        stored, wanted = self._study.user_attrs.get("facts"), json.loads(json.dumps(dict(facts)))
        if stored is None:
            self._study.set_user_attr("facts", wanted)
        for field in sorted({*(stored or wanted), *wanted}):
            before, now = (stored or wanted).get(field), wanted.get(field)
            if before != now:
                raise InputError(
                    f"study {name!r} was begun with {field}={before} and is now asked for {now}:"
                    " give the same, or take another --workdir or --study"
                )
        self.name, self.facts = name, wanted

    def trials(self) -> list[Trial]:
        """All of them, by number."""
        return [_trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def add(self, values: Mapping[str, Any], seed: int) -> None:
        """Adds a trial, in one write."""
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(values),
                distributions={field: part.distribution() for field, part in self._space.items()},
                user_attrs={"seed": seed},
            )
        )

    def propose(self, number: int, seed: int, model: bool) -> Values:
        """Values for the next trial.

        Args:
            number: of the trial; with the seed, and the scores so far if `model`, all that the values depend on.
            seed: of the search.
            model: whether Optuna's tree-structured Parzen estimator learns from the scores; else uniform draws.
        """
        chosen = hash_seed(seed, number)
        sampler: BaseSampler = TPESampler(seed=chosen) if model else RandomSampler(seed=chosen)
        # In memory, with every trial that has a score as a finished one: those that wait for a promotion teach, too.
        memory = optuna.create_study(sampler=sampler, direction="minimize")
        distributions = {field: part.distribution() for field, part in self._space.items()}
        if model:
            memory.add_trials([_lesson(trial, distributions) for trial in self.trials() if trial.scores])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return dict(memory.ask(distributions).params)

    def record(self, number: int, stretch: int, score: float, **facts: Any) -> None:
        """Records a stretch of a trial; the score last.

        Args:
            number: of the trial.
            stretch: which one; recording it again changes nothing.
            score: at its end; infinite if it diverged.
            **facts: "values", "parent", "steps", "seconds", "at", and "reason" if it diverged.
        """
        frozen = self._frozen(number)
        if stretch in frozen.intermediate_values:
            return
        self._storage.set_trial_user_attr(frozen._trial_id, f"stretch_{stretch}", facts)
        self._storage.set_trial_intermediate_value(frozen._trial_id, stretch, score)

    def finish(self, number: int, whole: bool) -> None:
        """Closes a trial: complete, failed if it diverged, or pruned."""
        frozen = self._frozen(number)
        trial = _trial(frozen)
        if frozen.state.is_finished():
            return
        if not math.isfinite(trial.last):
            state, values = TrialState.FAIL, None
        else:
            state, values = (TrialState.COMPLETE if whole else TrialState.PRUNED), [trial.last]
        self._storage.set_trial_state_values(frozen._trial_id, state, values)

    def _frozen(self, number: int) -> FrozenTrial:
        found = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        return self._storage.get_trial(found)


def hash_seed(seed: int, number: int) -> int:
    """A seed below 2**31 for each pair, far apart from one another."""
    return int((seed * 0x9E3779B1 + (number + 1) * 0x85EBCA77) % (2**31))


def _trial(frozen: FrozenTrial) -> Trial:
    # Optuna reads facts, then scores: of one that another process recorded in between, the facts are not here yet.
    known = [stretch for stretch in sorted(frozen.intermediate_values) if f"stretch_{stretch}" in frozen.user_attrs]
    scores = [frozen.intermediate_values[stretch] for stretch in known]
    facts = [frozen.user_attrs[f"stretch_{stretch}"] for stretch in known]
    return Trial(
        number=frozen.number,
        seed=frozen.user_attrs["seed"],
        values=tuple(fact["values"] for fact in facts) or (dict(frozen.params),),
        scores=tuple(score if math.isfinite(score) else math.inf for score in scores),
        steps=tuple(fact["steps"] for fact in facts),
        seconds=tuple(fact["seconds"] for fact in facts),
        parents=tuple(fact["parent"] for fact in facts),
        at=tuple(fact["at"] for fact in facts),
        finished=frozen.state.is_finished(),
    )


def _lesson(trial: Trial, distributions: Mapping[str, Any]) -> FrozenTrial:
    """A trial as a pruned one, which Optuna ranks by how far it came and then by its score there."""
    return create_trial(
        state=TrialState.PRUNED,
        value=None,
        params=dict(trial.values[0]),
        distributions=dict(distributions),
        intermediate_values=dict(enumerate(trial.scores)),
    )
