"""Suite `modes`: one protocol for all arms, seeds side by side, and refusals before the work."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from tiny import tiny_config

from gan_jax.benchmark import runner
from gan_jax.benchmark.results import read_result
from gan_jax.benchmark.suite import Arm, Outcome, Suite
from gan_jax.benchmark.suites import modes
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.program import build
from gan_jax.runtime.mesh import make_mesh

POINT_METRICS = {"modes", "high_quality", "reverse_kl", "spread_min", "spread_max"}
STACKED_METRICS = {"modes", "kl", "modes_real", "kl_real"}


@pytest.fixture(scope="module", autouse=True)
def quick_compiler() -> Iterator[None]:
    """These tests run few steps of many programs."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def small(name: str) -> Config:
    """A few steps, on stacks of 28x28 images made of the digits."""
    config = tiny_config("mlp", {"data.source": name, "total_images": 16 * 6, "model.g_width": 32})
    return config.replace({"data.path": "digits", "data.channels": 3}) if name == "stacked" else config


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch) -> modes.Protocol:
    """The suite's rules with few seeds and samples."""
    monkeypatch.setattr(modes, "checkout_config", small)
    return modes.Protocol(together=2, stacked_seeds=1, stacks=300)


def test_seeds_come_together_and_survive_a_second_run(protocol: modes.Protocol, tmp_path: pathlib.Path) -> None:
    suite = modes.make_suite(protocol)
    arms = ["ring_ours", "stacked_ours_quarter_d"]
    runner.run(suite, tmp_path, 1, arms, {"modes": suite})
    path = tmp_path / "modes.json"
    result = read_result(path)
    found = {(r["arm"], r["seed"]): r for r in result["records"]}
    assert set(found) == {("ring_ours", 0), ("ring_ours", 1), ("stacked_ours_quarter_d", 0)}
    assert set(found["ring_ours", 0]["metrics"]) == POINT_METRICS
    stacked = found["stacked_ours_quarter_d", 0]["metrics"]
    assert set(stacked) == STACKED_METRICS and 0 < stacked["modes_real"] <= 300 and stacked["modes"] <= 300
    assert len(result["protocol"]["features"]) == 64
    assert (tmp_path / "modes.png").read_bytes().startswith(b"\x89PNG")
    # A kill between two records: the figures that come back are those that were lost.
    path.write_text(json.dumps(result | {"records": [found["ring_ours", 1], found["stacked_ours_quarter_d", 0]]}))
    runner.run(suite, tmp_path, 3, ["ring_ours", "stacked_ours_quarter_d"], {"modes": suite})
    again = {(r["arm"], r["seed"]): r["metrics"] for r in read_result(path)["records"]}
    assert again["ring_ours", 0] == found["ring_ours", 0]["metrics"] != again["ring_ours", 1]
    # Seed 2 brings seed 3; stacked images have one seed only.
    assert set(again) == {*((("ring_ours"), seed) for seed in range(4)), ("stacked_ours_quarter_d", 0)}


def test_all_arms_of_a_set_share_networks_batch_and_length() -> None:
    rules = modes.Protocol()
    for name in rules.sets:
        ours = rules.ours(name)
        assert ours == rules.arm_config(name, "ours")
        for arm in modes.STACKED_ARMS if name == "stacked" else modes.POINT_ARMS:
            config = rules.arm_config(name, arm)
            assert (config.data, config.total_images, config.ema_half_life) == (
                ours.data,
                ours.total_images,
                ours.ema_half_life,
            )
            networks = dataclasses.asdict(config.model) | {"pack": 1}
            if arm == "ours_quarter_d":
                assert networks.pop("d_width") < ours.model.d_width
                networks["d_width"] = ours.model.d_width
            assert networks == dataclasses.asdict(ours.model)
            assert (config.model.pack == 2) == (arm == "pacgan2")
    expected = {f"{name}_{arm}" for name in ("ring", "grid") for arm in (*modes.POINT_ARMS, "ours")}
    expected |= {f"stacked_{arm}" for arm in ("nonsaturating", "pacgan2", "ours", "ours_quarter_d")}
    assert set(modes.SUITE.arms) == expected
    assert {f"stacked_{arm}" for arm in (*modes.STACKED_ARMS, "ours")} == set(modes.MNIST_SUITE.arms)


def test_quarter_of_the_parameters() -> None:
    config = small("stacked").replace({"model.d_width": 200})
    width = modes.quarter_width(config)
    shares = []
    for d_width in (width, width + 1):
        program = build(config.replace({"model.d_width": d_width}), (28, 28, 3), 1000, make_mesh(jax.devices()[:1]))
        state = program.abstract_state
        g, d = (sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(net.params)) for net in (state.g, state.d))
        shares.append(d / g)
    assert shares[0] <= 0.25 < shares[1]


def test_mnist_is_taken_where_it_is_at_hand() -> None:
    rules = modes.Protocol(sets=("stacked",), base="tfds:mnist")
    config = rules.arm_config("stacked", "pacgan2")
    assert (config.data.source, config.data.path) == ("stacked", "tfds:mnist")
    with pytest.raises(InputError, match=r"mnist.npz is missing: python -m gan_jax.features --config=configs/mnist.py"):
        modes.MNIST_SUITE.protocol()


def test_arms_have_their_own_number_of_seeds(tmp_path: pathlib.Path) -> None:
    def pair(seed: int) -> dict[int, Outcome]:
        return {number: Outcome({"value": number}, 1.0, 0) for number in (seed - seed % 2, seed - seed % 2 + 1)}

    arms = {
        "pairs": Arm("two seeds at once", lambda seed: pair(seed)[seed], together=pair),
        "few": Arm("one seed", lambda seed: Outcome({"value": seed}, 1.0, 0), seeds=1),
    }
    suite = Suite("counted", "", arms)
    runner.run(suite, tmp_path, 3, None, {})
    found = [(r["arm"], r["seed"], r["metrics"]["value"]) for r in read_result(tmp_path / "counted.json")["records"]]
    assert found == [("pairs", 0, 0), ("pairs", 1, 1), ("pairs", 2, 2), ("pairs", 3, 3), ("few", 0, 0)]
