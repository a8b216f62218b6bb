"""Suite `stability`: how often does a recipe fail when its settings are off, and when a run is damaged?"""

import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.faulty_program import FAULTS
from gan_jax.benchmark.guarding import damaged, watchdog_cost
from gan_jax.benchmark.loss_recipes import RECIPES, Settings
from gan_jax.benchmark.plots import draw_curves
from gan_jax.benchmark.suite import Arm, Outcome, Suite, config_recipe
from gan_jax.benchmark.suites import quality
from gan_jax.benchmark.sweeping import Score, distances, expected_best
from gan_jax.config import Config
from gan_jax.gan import Gan
from gan_jax.runtime.pictures import to_uint8

DIVERGED = 10  # times the distance of our untouched settings


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules, the same for every arm.

    Attributes:
        config: name of the recommended config, which is arm `ours` and gives data, networks and averaging to all.
        features: classifier file, from the root of the checkout.
        changes: of that config, for all arms.
        configurations: random ones, the same for every loss.
        images: of a configuration's run.
        repeats: seeds with which the untouched and the best settings are trained.
        norms: of the discriminator, to draw from: those that the network has.
        count: samples a score.
        fault_images: of a run that is damaged.
        fault_at: its step.
        fault_seeds: of damaged runs, at most.
        rounds: of the watchdog's cost, with and without it in turns.
        block_seconds: of a round, each.
    """

    config: str = "fashion_mnist"
    features: Path = quality.Protocol.features
    # A quarter of the default's width, and an average that follows a run of a fortieth of its length.
    changes: Settings = dataclasses.field(
        default_factory=lambda: {"model.g_width": 128, "model.d_width": 128, "ema_half_life": 2_000}
    )
    configurations: int = 20
    images: int = 40_000
    repeats: int = 3
    norms: tuple[str, ...] = ("none", "spectral")
    count: int = 5_000
    fault_images: int = 64_000
    fault_at: int = 600
    fault_seeds: int = 3
    rounds: int = 16
    block_seconds: float = 1.5

    def facts(self) -> dict[str, Any]:
        """What the figures rest on, for the file."""
        rules = ("images", "repeats", "fault_images", "fault_at")
        judge = {name: value for name, value in self.scorer.facts().items() if name != "marks"}
        return {**self.changes, **{name: getattr(self, name) for name in rules}, **judge, "drawn": self.drawn()}

    @property
    def scorer(self) -> quality.Protocol:
        """Suite quality's judge of samples, made once a process."""
        return _scorer(self.config, self.features, self.count)

    @property
    def score(self) -> Score:
        """The Fréchet distance of a pair's samples; one function a judge."""
        return _score(self.scorer)

    def drawn(self) -> list[dict[str, Any]]:
        """The random configurations: rate and gamma log-uniform, the rest uniform."""
        rng = np.random.default_rng(0)
        return [
            {
                "lr": math.exp(rng.uniform(math.log(5e-5), math.log(2e-3))),
                "beta1": [0.0, 0.5, 0.9][rng.integers(3)],
                "critic_steps": [1, 2, 5][rng.integers(3)],
                "gamma": math.exp(rng.uniform(math.log(0.01), math.log(10.0))),
                "norm": self.norms[rng.integers(len(self.norms))],
            }
            for _ in range(self.configurations)
        ]

    def untouched(self, arm: str) -> Config:
        """The config of an arm with the settings it is published with."""
        changes = {**self.changes, "total_images": self.images, **RECIPES[arm].changes}
        return checkout_config(self.config).replace(changes)

    def configured(self, arm: str, settings: Settings) -> Config:
        """The config of an arm with drawn settings; a learning rate that falls keeps falling to the same part."""
        config = self.untouched(arm)
        changes: dict[str, Any] = {
            "optimizer.beta1": settings["beta1"],
            "step.critic_steps": settings["critic_steps"],
            "model.d_norm": settings["norm"],
        } | dict.fromkeys(RECIPES[arm].gamma, settings["gamma"])
        for name in ("g_lr", "d_lr"):
            rate = getattr(config.optimizer, name)
            end = None if rate.end is None else settings["lr"] * rate.end / rate.start
            changes[f"optimizer.{name}"] = {"start": settings["lr"], "end": end, "shape": rate.shape}
        return config.replace(changes)


@functools.cache
def _scorer(config: str, features: Path, count: int) -> quality.Protocol:
    return quality.Protocol(config=config, features=features, marks=(), count=count)


@functools.cache
def _score(scorer: quality.Protocol) -> Score:
    def score(gan: Gan, seed: int) -> float:
        samples = np.asarray(gan.sample(jax.random.key(seed), scorer.count))
        return scorer.judge.scores(to_uint8(samples), ("fid",))["fid"] if np.isfinite(samples).all() else math.nan

    return score


def sweep(protocol: Protocol, arm: str, seed: int) -> Outcome:
    """Trains an arm with every drawn configuration, its untouched settings and the best configuration again."""
    start = time.perf_counter()
    configs = [protocol.configured(arm, settings).replace({"seed": seed}) for settings in protocol.drawn()]
    seeds = range(seed, seed + protocol.repeats)
    untouched = [protocol.untouched(arm).replace({"seed": each}) for each in seeds]
    ours = protocol.untouched("ours").replace({"seed": seed})  # every arm is held to the same bar
    found = distances([*configs, *untouched, ours], protocol.score)
    bar = DIVERGED * found[ours]
    fids, defaults = [found[config] for config in configs], [found[config] for config in untouched]
    finite = [min(fid, bar) if math.isfinite(fid) else bar for fid in fids]  # one that diverged counts as the bar
    best = int(np.argmin(finite))
    repeated = [configs[best].replace({"seed": each}) for each in seeds]
    again = found | distances([config for config in repeated if config not in found], protocol.score)
    repeats = [again[config] for config in repeated]
    metrics = {
        "diverged_share": 100 * statistics.fmean(value >= bar for value in finite),
        "best_fid": finite[best],
        "default_fid": statistics.fmean(defaults),
        "default_over_best": statistics.fmean(defaults) / finite[best],
        "median_fid": statistics.median(finite),
        "default_spread": _spread(defaults),
        "best_again_fid": statistics.fmean(repeats),
        "best_again_spread": _spread(repeats),
        "bar_fid": bar,
        **{f"expected_best_of_{k}": value for k, value in expected_best(finite).items()},
        **{f"fid_{number:02d}": fid for number, fid in enumerate(fids)},
    }
    return Outcome(metrics, time.perf_counter() - start, len(again) * protocol.images)


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take one with few configurations and short runs."""
    arms = {
        arm: Arm(
            recipe.text,
            functools.partial(sweep, protocol, arm),
            functools.partial(_recipe, protocol, arm),
            seeds=1,  # of the configurations; sweep repeats untouched and best settings itself
        )
        for arm, recipe in RECIPES.items()
    }
    for fault, (text, _) in FAULTS.items():
        for ending, watched in (("on", True), ("off", False)):
            arms[f"fault_{fault}_{ending}"] = Arm(
                f"{text}; the watchdog is {ending}.",
                functools.partial(_damaged, protocol, fault, watched),
                functools.partial(_recipe, protocol, "ours"),
                seeds=protocol.fault_seeds,
            )
    arms["watchdog_cost"] = Arm(
        f"`configs/{protocol.config}.py` as it is, with and without watchdog, timed in turns on an idle machine.",
        lambda seed: watchdog_cost(checkout_config(protocol.config), protocol.rounds, protocol.block_seconds),
        seeds=1,
    )
    return Suite(
        name="stability",
        description=_describe(protocol),
        arms=arms,
        protocol=protocol.facts,
        plots=_plot,
        headline=(
            "diverged_share",
            "best_fid",
            "default_fid",
            "noticed_steps",
            "fid",
            "fid_undisturbed",
            "cost_percent",
        ),
    )


def _damaged(protocol: Protocol, fault: str, watched: bool, seed: int) -> Outcome:
    changes = {"seed": seed, "total_images": protocol.fault_images, "watchdog.enabled": watched}
    return damaged(protocol.untouched("ours").replace(changes), fault, protocol.fault_at, protocol.score)


def _recipe(protocol: Protocol, arm: str) -> dict[str, Any]:
    return config_recipe(protocol.untouched(arm), ["total_images"])


def _plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    some = {**result, "records": [record for record in result["records"] if record["arm"] in RECIPES]}
    return [
        draw_curves(
            some, folder / "stability_best_of.png", "expected_best_of", "Fréchet distance, classifier features",
            unit="", across="random configurations tried",
        )
    ] if some["records"] else []  # fmt: skip


def _describe(protocol: Protocol) -> str:
    changes = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in protocol.changes.items())
    return (
        f"Losses: `configs/{protocol.config}.py` with {changes}, {protocol.images:,} images a run whatever it does with"
        f" them, no watchdog. {protocol.configurations} random configurations, the same for every loss: learning rate"
        " log-uniform in 5e-5 to 2e-3 for both networks, beta1 of 0, 0.5, 0.9, D updates a G update of 1, 2, 5, gamma"
        f" log-uniform in 0.01 to 10, D's normalisation of {', '.join(protocol.norms)}. fid_NN: Fréchet distance of"
        f" {protocol.count:,} samples of the averaged generator in the classifier's features (features: its sha256) for"
        f" configuration NN. diverged_share: percent that are not finite or not below bar_fid, {DIVERGED} times the"
        " distance of our untouched settings; they count as bar_fid below. default_fid, default_spread: untouched"
        f" settings, mean and standard deviation over {protocol.repeats} seeds; best_fid: the best configuration;"
        " best_again_*: the same, trained with as many seeds, which takes out the luck of the draw. expected_best_of_k:"
        " expected best of k of the configurations. Faults: the untouched default through `gan_jax.train`,"
        f" {protocol.fault_images:,} images, damaged once at step {protocol.fault_at}. noticed_steps: from there to the"
        " first rollback. fid_undisturbed: of the same run without fault; false_alarms: the watchdog's in that run."
        " cost_percent: of a step with the watchdog, looks included, over one without it, median over rounds."
    )


SUITE = make_suite(Protocol())
