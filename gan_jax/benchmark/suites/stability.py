"""Suite `stability`: how often does a recipe fail when its settings are off, and when a run is damaged?"""

import dataclasses
import functools
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.clock import train_to
from gan_jax.benchmark.faulty_program import FAULTS, faulty
from gan_jax.benchmark.guarding import guarded_run, watchdog_cost
from gan_jax.benchmark.loss_recipes import RECIPES, Settings
from gan_jax.benchmark.plots import draw_curves
from gan_jax.benchmark.suite import Arm, Outcome, Suite, config_recipe
from gan_jax.benchmark.suites import quality
from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.gan import Gan, from_state
from gan_jax.program import Program, build, steps_per_call
from gan_jax.runtime.mesh import batch_sharding, make_mesh
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
        rounds: of the watchdog's cost, with and without it in turns.
        block_seconds: of a round, each.
    """

    config: str = "fashion_mnist"
    features: Path = quality.Protocol.features
    changes: Settings = dataclasses.field(default_factory=lambda: {"model.g_width": 256, "model.d_width": 256})
    configurations: int = 20
    images: int = 40_000
    repeats: int = 3
    norms: tuple[str, ...] = ("none", "spectral")
    count: int = 5_000
    fault_images: int = 100_000
    fault_at: int = 600
    rounds: int = 20
    block_seconds: float = 3.0

    def facts(self) -> dict[str, Any]:
        """What the figures rest on, for the file."""
        rules = ("images", "repeats", "fault_images", "fault_at")
        own = {name: getattr(self, name) for name in rules}
        return {**self.changes, **own, **self.scorer.facts(), "drawn": self.drawn()}

    @property
    def scorer(self) -> quality.Protocol:
        """Suite quality's judge of samples, made once a process."""
        return _scorer(self.config, self.features, self.count)

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
        return checkout_config(self.config).replace({**self.changes, **RECIPES[arm].changes})

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


# ---------------------------------------------------------------- random settings


def sweep(protocol: Protocol, arm: str, seed: int) -> Outcome:
    """Trains an arm with its untouched settings, with every drawn configuration, and with the best of them again."""
    start = time.perf_counter()
    configs = [protocol.configured(arm, settings) for settings in protocol.drawn()]
    bar = DIVERGED * _reference(protocol, seed)
    fids: list[float] = []
    for number, config in enumerate(configs):
        fids.append(_distance(protocol, config, seed))
        print(f"  {arm} configuration {number}: fid {fids[-1]:.4g}", flush=True)
    untouched = [_untouched_distance(protocol, arm, seed + repeat) for repeat in range(protocol.repeats)]
    finite = [min(fid, bar) if math.isfinite(fid) else bar for fid in fids]  # one that diverged counts as the bar
    best = int(np.argmin(finite))
    again = [fids[best], *(_distance(protocol, configs[best], seed + repeat) for repeat in range(1, protocol.repeats))]
    metrics = {
        "diverged_share": 100 * statistics.fmean(value >= bar for value in finite),
        "best_fid": finite[best],
        "default_fid": statistics.fmean(untouched),
        "default_over_best": statistics.fmean(untouched) / finite[best],
        "median_fid": statistics.median(finite),
        "default_spread": _spread(untouched),
        "best_again_fid": statistics.fmean(again),
        "best_again_spread": _spread(again),
        "bar_fid": bar,
        **{f"expected_best_of_{k}": value for k, value in expected_best(finite).items()},
        **{f"fid_{number:02d}": fid for number, fid in enumerate(fids)},
    }
    runs = len(fids) + 2 * protocol.repeats - 1
    return Outcome(metrics, time.perf_counter() - start, runs * protocol.images)


def expected_best(values: Sequence[float]) -> dict[int, float]:
    """Expected least of k draws with replacement, for k = 1, 2, 5, 10, ...: the bootstrap's mean in closed form.

    With x_1 <= ... <= x_n the least of k draws is x_i or more with probability ((n - i + 1) / n)^k.
    """
    ordered, n = np.sort(values), len(values)
    ks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= n]
    return {k: float(sum(x * (((n - i) / n) ** k - ((n - i - 1) / n) ** k) for i, x in enumerate(ordered))) for k in ks}


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _reference(protocol: Protocol, seed: int) -> float:
    """Distance of our untouched settings: every arm is held to the same bar."""
    return _untouched_distance(protocol, "ours", seed)


_UNTOUCHED: dict[tuple[str, str, int], float] = {}


def _untouched_distance(protocol: Protocol, arm: str, seed: int) -> float:
    """Distance of an arm's untouched settings, trained once a process."""
    key = (json.dumps(protocol.facts(), sort_keys=True), arm, seed)
    if key not in _UNTOUCHED:
        _UNTOUCHED[key] = _distance(protocol, protocol.untouched(arm), seed)
        print(f"  {arm} untouched, seed {seed}: fid {_UNTOUCHED[key]:.4g}", flush=True)
    return _UNTOUCHED[key]


def _distance(protocol: Protocol, config: Config, seed: int) -> float:
    """Trains a config for the protocol's images, without watchdog, and scores its averaged generator."""
    call = config.images_per_step * steps_per_call(config)
    images = call * max(1, round(protocol.images / call))
    config = config.replace({"seed": seed, "total_images": images, "watchdog.enabled": False})
    mesh, source = make_mesh(), load_source(config.data, "train", seed)
    program = build(config, source.shape, source.num_classes, mesh)
    found: list[float] = []

    def on_mark(number: int, state: Any) -> None:
        found.append(_fid(protocol, from_state(program, state, ()), seed))

    with Pipeline(
        source, config.data, seed, program.passes, program.micro_batch, batch_sharding(mesh, axis=1)
    ) as pipeline:
        train_to(program, pipeline, seed, [config.total_steps], on_mark)
    return found[0]


def _fid(protocol: Protocol, gan: Gan, seed: int) -> float:
    samples = np.asarray(gan.sample(jax.random.key(seed), protocol.count))
    if not np.isfinite(samples).all():
        return math.nan
    return protocol.scorer.judge.scores(to_uint8(samples), ("fid",))["fid"]


# ---------------------------------------------------------------- damaged runs


def damaged(protocol: Protocol, fault: str, watched: bool, seed: int) -> Outcome:
    """Trains our default through `gan_jax.train` while something goes wrong once.

    Returns:
        noticed_steps: from the fault to the first rollback; not a number if there was none. fid, and
        fid_undisturbed: of the same run without the fault, and false_alarms in it. rollbacks.
    """
    start = time.perf_counter()
    whole, false_alarms = _undisturbed(protocol, seed)
    fid, events = _through_train(protocol, faulty(fault, protocol.fault_at), watched, seed)
    back = [event for event in events if event["event"] == "rollback"]
    metrics = {
        "noticed_steps": back[0]["noticed"] - protocol.fault_at if back else math.nan,
        "rollbacks": len(back),
        "fid": fid,
        "fid_undisturbed": whole,
        "fid_over_undisturbed": fid / whole,
        "false_alarms": false_alarms,
    }
    return Outcome(metrics, time.perf_counter() - start, protocol.fault_images)


_WHOLE: dict[tuple[str, int], tuple[float, int]] = {}


def _undisturbed(protocol: Protocol, seed: int) -> tuple[float, int]:
    """Distance of the run to which nothing happens, and what the watchdog has to say of it; once a process."""
    key = (json.dumps(protocol.facts(), sort_keys=True), seed)
    if key not in _WHOLE:
        fid, events = _through_train(protocol, build, True, seed)
        _WHOLE[key] = fid, sum(event["event"] in ("warning", "rollback", "given_up") for event in events)
    return _WHOLE[key]


def _through_train(
    protocol: Protocol, make_program: Callable[..., Program], watched: bool, seed: int
) -> tuple[float, list[dict[str, Any]]]:
    changes = {"seed": seed, "total_images": protocol.fault_images, "watchdog.enabled": watched}
    gan, events = guarded_run(protocol.untouched("ours").replace(changes), make_program)
    return (_fid(protocol, gan, seed) if gan else math.nan), events


# ---------------------------------------------------------------- the suite


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take one with few configurations and short runs."""
    arms = {
        arm: Arm(recipe.text, functools.partial(sweep, protocol, arm), functools.partial(_recipe, protocol, arm))
        for arm, recipe in RECIPES.items()
    }
    for fault, (text, _) in FAULTS.items():
        for ending, watched in (("on", True), ("off", False)):
            arms[f"fault_{fault}_{ending}"] = Arm(
                f"{text}; the watchdog is {ending}.",
                functools.partial(damaged, protocol, fault, watched),
                functools.partial(_recipe, protocol, "ours"),
            )
    arms["watchdog_cost"] = Arm(
        f"`configs/{protocol.config}.py` as it is, with and without watchdog, timed in turns, whatever the seed.",
        lambda seed: watchdog_cost(checkout_config(protocol.config), protocol.rounds, protocol.block_seconds),
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
    widths = ", ".join(f"{name.partition('.')[2]} {value}" for name, value in protocol.changes.items())
    return (
        f"Losses: `configs/{protocol.config}.py` with {widths}, {protocol.images:,} images a run whatever it does with"
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
