"""Suite `tuning`: which search finds good settings, and how soon? Beside settings that nobody searched for."""

import dataclasses
import functools
import hashlib
import json
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gan_jax.benchmark.checkout import ROOT, checkout_config
from gan_jax.benchmark.plots import draw_curves
from gan_jax.benchmark.suite import Arm, Outcome, Suite, config_recipe
from gan_jax.config import Config
from gan_jax.data.sources import load_source
from gan_jax.evaluation.judges import Judge
from gan_jax.evaluation.making import make_judge
from gan_jax.gan import from_state
from gan_jax.population.members import make_population
from gan_jax.population.training import train_population
from gan_jax.program import steps_per_call
from gan_jax.runtime.pictures import to_uint8
from gan_jax.search.suggestions import suggest

if TYPE_CHECKING:  # Optuna is an extra; the other suites do without
    from gan_jax.search.plans import Method, Trial
    from gan_jax.search.tuning import Searched

SHARES = (5, 10, 25, 50, 75, 100)  # percent of the steps of all random configurations, for the curves
_PINNED = Path("benchmarks/features/fashion_mnist.npz")
TEXTS: "Mapping[Method, str]" = {
    "random": "Random search.",
    "asha": "Successive halving (ASHA), proposals by Optuna's TPE.",
    "pbt": "Population-based training.",
}


@dataclasses.dataclass(frozen=True)
class Task:
    """A set with what all its arms share.

    Attributes:
        config: name of the default recipe.
        changes: of it, so that a training is short.
        images: of a whole training.
        count: samples a score.
        features: classifier file for the test images, from the root of the checkout; None = one made from the training
            images. Searches make their own from what they train on.
    """

    config: str
    changes: Mapping[str, Any]
    images: int
    count: int
    features: Path | None = None


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules, the same for every arm.

    Attributes:
        tasks: by the beginning of the arms' names.
        configurations: of random search; their steps are what every search may spend.
        repeats: seeds with which settings are trained for the comparison on test images.
    """

    tasks: Mapping[str, Task] = dataclasses.field(
        default_factory=lambda: {
            "": Task("fashion_mnist", {"model.g_width": 128, "model.d_width": 128}, 50_000, 2_000, _PINNED),
            "digits_": Task("digits", {"model.g_width": 64, "model.d_width": 64}, 100_000, 1_000),
        }
    )
    configurations: int = 20
    repeats: int = 3

    def facts(self) -> dict[str, Any]:
        """What the figures rest on, for the file."""
        lengths = {f"{task.config}_images": task.images for task in self.tasks.values()}
        return {"configurations": self.configurations, "repeats": self.repeats, **lengths}

    def default(self, task: Task) -> Config:
        """The recipe of configs/, short."""
        return self.short(task, checkout_config(task.config))

    def suggested(self, task: Task) -> Config:
        """What is suggested for the set, as short and with networks of the same width."""
        config = checkout_config(task.config)
        name = config.data.source if config.data.source == "digits" else config.data.path
        return self.short(task, suggest(name).config)

    def short(self, task: Task, config: Config) -> Config:
        """A config with the length and the widths of a task."""
        from gan_jax.search.tuning import shortened

        changed = config.replace({**task.changes, "evaluation.count": task.count})
        call = changed.images_per_step * steps_per_call(changed)
        return shortened(changed, call * max(1, round(task.images / call)))


def searched(protocol: Protocol, task: Task, method: "Method", seed: int) -> "Searched":
    """A search, each with its own draws; the test images have no part in it."""
    return _searched(protocol.default(task), method, protocol.configurations, seed)


@functools.cache
def _searched(config: Config, method: "Method", configurations: int, seed: int) -> "Searched":
    from gan_jax.search.tuning import Request, search

    start = 1_000 * (1 + seed) + 10_000 * list(TEXTS).index(method)
    facts = [config_recipe(config), config.total_images, method, configurations, seed]
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    # A search that was killed goes on, too, as long as the machine keeps its temporary files.
    folder = Path(tempfile.gettempdir()) / f"gan_jax_tuning_{name}"
    request = Request(
        config.replace({"seed": start}),
        folder,
        method,
        trials=None if method == "asha" else configurations,
        images=config.total_images,
        own=False,
        total_steps=configurations * config.total_steps,
    )
    found = search(request, lambda line: print(f"  {method} {seed}: {line}", flush=True))
    shutil.rmtree(folder / "trials", ignore_errors=True)
    return found


def measure_search(protocol: Protocol, task: Task, method: "Method", seed: int) -> Outcome:
    """One search, and what it found, trained again and held against test images."""
    start = time.perf_counter()
    found = searched(protocol, task, method, seed)
    goal = searched(protocol, task, "random", seed).winner.last
    scores = compare(task, protocol.default(task).replace(found.changes), protocol.repeats)
    budget = protocol.configurations * found.base.total_steps
    reached = [at for trial in found.trials for at, score in zip(trial.at, trial.scores, strict=True) if score <= goal]
    steps = min(reached) if reached else math.nan
    spent = sum(sum(trial.steps) for trial in found.trials)
    metrics = {
        **scores,
        "steps": spent,
        "found_fid": found.winner.last,
        "steps_to_random_best": steps,
        "share_to_random_best": 100 * steps / budget,
        "trials": len(found.trials),
        "diverged": sum(math.isinf(trial.last) for trial in found.trials),
        **{f"found_{share}": best_until(found.trials, budget * share / 100) for share in SHARES},
    }
    return Outcome(metrics, time.perf_counter() - start, spent * found.base.images_per_step)


def best_until(trials: Any, steps: float) -> float:
    """The least score that was known after so many steps of all trials together; not a number before the first."""

    def known(trial: "Trial") -> list[float]:
        return [score for at, score in zip(trial.at, trial.scores, strict=True) if at <= steps]

    scores = [score for trial in trials for score in known(trial) if math.isfinite(score)]
    return min(scores, default=math.nan)


def measure_config(protocol: Protocol, task: Task, config: Config, seed: int) -> Outcome:
    """Settings that nobody searched for."""
    start = time.perf_counter()
    scores = compare(task, config, protocol.repeats, protocol.repeats * seed)
    return Outcome({**scores, "steps": 0}, time.perf_counter() - start, 0)


def compare(task: Task, config: Config, repeats: int, first: int = 0) -> dict[str, float]:
    """Trains settings with some seeds on all training images; mean and spread of the distance from test images."""
    judge = _judge(task)
    source = load_source(config.data)
    members = make_population(
        [config.replace({"seed": first + repeat}) for repeat in range(repeats)],
        source.shape,
        source.num_classes,
        side_by_side=False,
    )
    states, found = train_population(members), []
    for place in range(repeats):
        gan = from_state(members.program, members.member(states, place), ())
        samples = np.asarray(gan.sample(jax.random.key(first + place), task.count))
        whole = bool(np.isfinite(samples).all())
        found.append(judge.scores(to_uint8(samples), ("fid",))["fid"] if whole else math.nan)
    spread = statistics.stdev(found) if repeats > 1 else 0.0
    return {"best_fid": statistics.fmean(found), "best_fid_spread": spread}


def _judge(task: Task) -> Judge:
    return _judge_of(task.config, task.features)


@functools.lru_cache(maxsize=4)
def _judge_of(name: str, features: Path | None) -> Judge:
    config = checkout_config(name)
    changes = {"evaluation.features": "classifier", "evaluation.path": str(ROOT / features)} if features else {}
    return make_judge(config.data, config.replace(changes).evaluation)


# ---------------------------------------------------------------- the suite


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take one with few configurations and short runs."""
    arms: dict[str, Arm] = {}
    for prefix, task in protocol.tasks.items():
        texts = {
            "default": f"`configs/{task.config}.py` as it is.",
            "suggested": "`gan_jax.suggest_config` of the set.",
        }
        for name, text in texts.items():
            recipe = functools.partial(getattr(protocol, name), task)
            arms[prefix + name] = Arm(
                text,
                lambda seed, recipe=recipe, task=task: measure_config(protocol, task, recipe(), seed),  # type: ignore[misc]
                lambda recipe=recipe: config_recipe(recipe()),  # type: ignore[misc]
            )
        for method, text in TEXTS.items():
            run = functools.partial(measure_search, protocol, task, method)
            arms[prefix + method] = Arm(text, run, lambda task=task: config_recipe(protocol.default(task)))  # type: ignore[misc]
    return Suite(
        name="tuning",
        description=_describe(protocol),
        arms=arms,
        protocol=protocol.facts,
        plots=_plot,
        headline=("best_fid", "found_fid", "share_to_random_best", "steps"),
    )


def _plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    paths = []
    for ending, chosen in (("fashion", False), ("digits", True)):
        records = [
            r for r in result["records"] if r["arm"].startswith("digits_") == chosen and "found_100" in r["metrics"]
        ]
        if records:
            paths.append(
                draw_curves(
                    {**result, "records": records}, folder / f"tuning_{ending}.png", "found",
                    "Fréchet distance from held-out training images", unit="",
                    across="percent of the steps of 20 whole trainings",
                )
            )  # fmt: skip
    return paths


def _describe(protocol: Protocol) -> str:
    return (
        f"Every search may spend the steps of {protocol.configurations} whole trainings of the default recipe at small"
        " widths; random search draws that many configurations. Trials train on a part of the training images and are"
        " scored by the Fréchet distance of samples of the averaged generator from the rest of them, in the features of"
        " a classifier that is trained on that part, too. A seed is a repeat with draws of its own. found_fid: the best"
        " of those scores. found_N: the same after N percent of the steps. steps_to_random_best: steps after which a"
        " score was as good as the best of random search in the same repeat; share_to_random_best: that in percent of"
        f" what random search spent. best_fid, best_fid_spread: what was found, trained on all training images with"
        f" {protocol.repeats} other seeds and scored against the test images, which no search sees. steps: that the"
        " search took. default and suggested were not searched for: steps 0, each repeat has other seeds."
    )


SUITE = make_suite(Protocol())
