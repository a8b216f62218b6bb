"""Suite choices: every arm is a legal change of one thing, and one tiny measurement."""

import dataclasses
import functools
import math
import pathlib

import jax
import pytest

from gan_jax.benchmark import sweeping
from gan_jax.benchmark.suites import SUITES, choices, stability
from gan_jax.config import DataConfig
from gan_jax.evaluation.making import train_on_labels
from gan_jax.population.members import make_population
from gan_jax.program import build
from gan_jax.runtime.mesh import make_mesh


def test_every_arm_is_a_change_that_builds() -> None:
    protocol, mesh = choices.Protocol(), make_mesh(jax.devices()[:1])
    ours = protocol.config("ours")
    for arm, (_, changes) in choices.ARMS.items():
        config = protocol.config(arm)
        assert (config == ours) == (not changes)
        assert config.total_images == protocol.images and config.loss == ours.loss
        assert build(config, (28, 28, 1), 10, mesh).abstract_state.d.params
    assert SUITES["choices"].arms.keys() == choices.ARMS.keys()


def test_seeds_are_measured_together_on_all_and_on_few_images(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = tmp_path / "digits.npz"
    train_on_labels(DataConfig(source="digits", image_size=(8, 8)), features, epochs=1)
    base = stability.Protocol(
        config="digits", features=features, changes={"model.g_width": 16, "model.d_width": 16}, count=300
    )
    protocol = choices.Protocol(base=base, images=64 * 20, few=100, together=2)
    seen: list[int] = []

    def counted(config: DataConfig, split: str, seed: int) -> object:
        source = load(config, split, seed)
        seen.append(len(source))
        return source

    load = sweeping.load_source
    monkeypatch.setattr(sweeping, "load_source", counted)
    one = functools.partial(make_population, devices=jax.devices()[:1], side_by_side=False)
    monkeypatch.setattr(sweeping, "make_population", one)
    found = choices.make_suite(protocol).arms["minibatch_std"].measure(1)
    assert list(found) == [0, 1] and seen == [1437, 100]
    values = [value for outcome in found.values() for value in outcome.metrics.values()]
    assert len(set(values)) == 4 and all(math.isfinite(value) and value > 0 for value in values)
    assert dataclasses.asdict(found[0])["images"] == 2 * 64 * 20
