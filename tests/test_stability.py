"""Suite stability: its arithmetic, its configurations, and one tiny measurement of each kind."""

import functools
import math
import pathlib
from collections.abc import Iterable

import jax
import numpy as np
import pytest
from tiny import tiny_config

from gan_jax.benchmark import guarding, runner, sweeping
from gan_jax.benchmark.clock import train_to
from gan_jax.benchmark.results import read_result
from gan_jax.benchmark.suites import SUITES, stability
from gan_jax.config import Config, DataConfig
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.evaluation.making import train_on_labels
from gan_jax.gan import Gan, from_state
from gan_jax.population.members import make_population
from gan_jax.program import build
from gan_jax.runtime.mesh import batch_sharding, make_mesh
from gan_jax.training import train


def test_expected_best_is_the_mean_of_the_bootstrap() -> None:
    values = np.random.default_rng(0).uniform(1, 9, 20)
    found = sweeping.expected_best(values)
    assert list(found) == [1, 2, 5, 10, 20]
    assert found[1] == pytest.approx(values.mean())
    draws = np.random.default_rng(1).choice(values, (100_000, 10))
    assert found[10] == pytest.approx(draws.min(axis=1).mean(), rel=0.01)
    pairs = np.minimum(*np.meshgrid(values, values)).mean()  # all pairs with replacement
    assert found[2] == pytest.approx(pairs)


def test_every_loss_meets_the_same_configurations_and_nothing_else_changes() -> None:
    protocol = stability.Protocol()
    drawn = protocol.drawn()
    assert len(drawn) == 20 and drawn == stability.Protocol().drawn()
    assert all(5e-5 <= each["lr"] <= 2e-3 and 0.01 <= each["gamma"] <= 10 for each in drawn)
    for name, values in (("beta1", {0, 0.5, 0.9}), ("critic_steps", {1, 2, 5}), ("norm", {"none", "spectral"})):
        assert {each[name] for each in drawn} == values
    mesh = make_mesh(jax.devices()[:1])
    for arm, recipe in stability.RECIPES.items():
        untouched = protocol.untouched(arm)
        for settings in drawn:
            config = protocol.configured(arm, settings)
            assert config.optimizer.g_lr.start == config.optimizer.d_lr.start == settings["lr"]
            assert config.model.d_norm == settings["norm"] and config.step.critic_steps == settings["critic_steps"]
            same = ("data", "loss", "ema_half_life", "total_images")
            assert all(getattr(config, name) == getattr(untouched, name) for name in same)
        assert build(config, (28, 28, 1), 10, mesh).abstract_state.d.params
        penalties = {name.partition(".")[2] for name in recipe.gamma}
        for name in ("r1", "r2", "wgan_gp", "dragan"):
            weight = getattr(config.penalty, name)
            assert (getattr(weight, "start", weight) == drawn[-1]["gamma"]) == (name in penalties)
    faults = {f"fault_{fault}_{ending}" for fault in stability.FAULTS for ending in ("on", "off")}
    wanted = {*stability.RECIPES, *faults, "watchdog_cost"}
    assert set(SUITES["stability"].arms) == wanted


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> stability.Protocol:
    """The suite's rules on the digits, with seconds in place of minutes."""
    features = tmp_path_factory.mktemp("features") / "digits.npz"
    train_on_labels(DataConfig(source="digits", image_size=(8, 8)), features, epochs=1)
    return stability.Protocol(
        config="digits",
        features=features,
        changes={"model.g_width": 16, "model.d_width": 16, "watchdog.warmup": 50, "watchdog.separation": 2.0},
        configurations=4,
        images=64 * 20,
        repeats=2,
        count=300,
        fault_images=64 * 320,
        fault_at=200,
        rounds=1,
        block_seconds=0.01,
    )


def test_a_sweep_counts_what_diverged(protocol: stability.Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = protocol.drawn()
    made_up = dict(zip([each["lr"] for each in drawn], (30.0, math.nan, 5.0, 200.0), strict=True))

    def distances(configs: Iterable[Config], score: sweeping.Score) -> dict[Config, float]:
        return {each: made_up.get(each.optimizer.g_lr.start, 10.0) + each.seed for each in configs}  # untouched: 10

    monkeypatch.setattr(stability, "distances", distances)
    found = stability.sweep(protocol, "hinge", 0).metrics
    assert found["diverged_share"] == 50 and found["bar_fid"] == 100
    assert found["best_fid"] == 5 and found["best_again_fid"] == 5.5 and found["default_fid"] == 10.5
    assert found["default_over_best"] == pytest.approx(10.5 / 5)
    assert found["default_spread"] == found["best_again_spread"] == pytest.approx(math.sqrt(0.5))
    assert found["expected_best_of_1"] == pytest.approx((30 + 100 + 5 + 100) / 4) and math.isnan(found["fid_01"])


def test_configs_of_one_structure_share_a_program_and_score_as_alone(
    protocol: stability.Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sweeping, "make_population", functools.partial(make_population, devices=jax.devices()[:1], side_by_side=False)
    )
    programs: list[int] = []

    def scored(gan: Gan, seed: int) -> float:
        programs.append(id(gan.program))
        return protocol.score(gan, seed)

    base = protocol.untouched("ours")
    calm, other = base.replace({"optimizer.g_lr": 1e-5, "seed": 3}), base.replace({"step.critic_steps": 2})
    found = sweeping.distances([base, other, calm, base], scored)
    assert list(found) == [base, calm, other] and len(programs) == 3 and len(set(programs)) == 2
    assert all(math.isfinite(fid) and fid > 0 for fid in found.values())
    assert len(set(found.values())) == 3
    alone = train_alone(calm)
    assert protocol.score(alone, 3) == pytest.approx(found[calm], rel=1e-3)


def train_alone(config: Config) -> Gan:
    """The pair of a config trained by the lone run's program."""
    mesh, source = make_mesh(jax.devices()[:1]), load_source(config.data, "train", config.seed)
    program, pairs = build(config, source.shape, source.num_classes, mesh), []
    lead = program.passes, program.micro_batch
    with Pipeline(source, config.data, config.seed, *lead, batch_sharding(mesh, axis=1)) as pipeline:
        train_to(
            program,
            pipeline,
            config.seed,
            [config.total_steps],
            lambda number, state: pairs.append(from_state(program, state, ())),
        )
    return pairs[0]


def test_a_fault_and_the_cost_are_measured(
    protocol: stability.Protocol, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "make_mesh", lambda: make_mesh(jax.devices()[:1]))
    suite = stability.make_suite(protocol)
    monkeypatch.setattr(stability, "checkout_config", lambda name: tiny_config("mlp"))
    cost = suite.arms["watchdog_cost"].run(0).metrics
    monkeypatch.undo()
    monkeypatch.setattr(guarding, "train", functools.partial(train, devices=jax.devices()[:1]))
    assert cost["ms_on"] > 0 and cost["ms_off"] > 0 and cost["cost_percent"] > -100
    runner.run(suite, tmp_path, 1, ["fault_generator_on"], {"stability": suite})
    (record,) = read_result(tmp_path / "stability.json")["records"]
    fault = record["metrics"]
    assert fault["rollbacks"] == 1 and 0 <= fault["noticed_steps"] < 200 and fault["false_alarms"] == 0
    assert 0 < fault["fid_over_undisturbed"] < 2


def test_the_plot_shows_the_losses(tmp_path: pathlib.Path) -> None:
    metrics = {"expected_best_of_1": 30.0, "expected_best_of_5": 10.0}
    result = {"records": [{"arm": "ours", "seed": 0, "metrics": metrics}, {"arm": "fault_nan_on", "metrics": {}}]}
    (path,) = SUITES["stability"].plots(result, tmp_path)
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert SUITES["stability"].plots({"records": result["records"][1:]}, tmp_path) == []
