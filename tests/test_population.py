"""Many GANs in one compiled step: each equals its lone run, numbers are data, and refusals name the field."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import ARCHITECTURES, SHAPES, tiny_config

from gan_jax.adversarial.schedules import NUMBERS, hyperparameters, numbers_of
from gan_jax.adversarial.state import State
from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.population.likeness import pays_side_by_side, structure
from gan_jax.population.members import Population, _row, make_population
from gan_jax.population.training import Feed, train_population
from gan_jax.program import build
from gan_jax.runtime.mesh import batch_sharding, make_mesh, replicated

STEPS = 20
ALONE: dict[str, Any] = {"total_images": 16 * STEPS, "penalty.r2": 0.0, "model.g_width": 8, "model.d_width": 8}
# Two sets of numbers that share no value: a member's must not come from the program, which was made for another.
NUMBERS_OF_TWO: list[dict[str, Any]] = [
    {},
    {
        "optimizer.g_lr": 3e-3,
        "optimizer.d_lr": {"start": 1e-3, "end": 5e-3},
        "optimizer.beta1": 0.0,
        "optimizer.beta2": 0.9,
        "penalty.r1": 0.9,
        "ema_half_life": {"start": 0, "end": 50},
    },
]


@pytest.fixture(scope="module", autouse=True)
def quick_compiler() -> Iterator[None]:
    """These tests run few steps of many programs."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def configs(count: int) -> list[Config]:
    base = tiny_config("mlp", ALONE)
    return [base.replace(NUMBERS_OF_TWO[number % 2] | {"seed": number}) for number in range(count)]


@functools.cache
def lone_states() -> list[State]:
    """The states that the runs of gan_jax.main would reach."""
    mesh = make_mesh(jax.devices()[:1])
    programs = [build(config, (2,), 8, mesh) for config in configs(2)]  # the seed is no part of a program
    found = []
    for number, config in enumerate(configs(9)):
        program, source = programs[number % 2], load_source(config.data, "train", config.seed)
        state = program.init(jax.device_put(np.uint32(config.seed), replicated(mesh)))
        lead = program.passes, program.micro_batch
        with Pipeline(source, config.data, config.seed, *lead, batch_sharding(mesh, axis=1)) as pipeline:
            for step in range(0, STEPS, program.per_dispatch):
                count = np.int32(min(program.per_dispatch, STEPS - step))
                state, _ = program.step(state, pipeline.batch(step, program.per_dispatch), count)
        found.append(jax.device_get(state))
    return found


def population(count: int, devices: int) -> Population:
    """Side by side on one device, and on eight one after another."""
    return make_population(configs(count), (2,), 8, jax.devices()[:devices], side_by_side=devices == 1)


@pytest.mark.parametrize(("count", "devices", "rounds"), [(8, 1, 1), (8, 8, 1), (9, 8, 2)])
def test_members_equal_their_lone_runs(count: int, devices: int, rounds: int) -> None:
    members = population(count, devices)
    assert (members.rounds, members.width) == (rounds, 8 if devices == 1 else 1)
    lines = []
    states = train_population(members, lambda step, states, metrics: lines.append(members.gather(metrics)))
    assert lines[-1]["d_loss"].shape == (count,) and len(set(lines[-1]["d_loss"].tolist())) == count
    for index, lone in enumerate(lone_states()[:count]):
        found = jax.device_get(members.member(states, index))
        assert (int(found.step), int(found.seed)) == (STEPS, index)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, lone)


def test_each_device_works_for_its_own_members_alone() -> None:
    members = population(8, 8)
    states = members.init()
    with Feed(members) as feed:
        batches = feed.batch(0, members.program.per_dispatch)
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves((states, batches)))
    text = members.lower(states, batches).as_text()
    assert not [name for name in ("all_reduce", "all_gather", "all_to_all", "collective_permute") if name in text]


def test_numbers_change_without_compiling_again() -> None:
    members = population(8, 1)
    with Feed(members) as feed:
        states, _ = members.step(members.init(), feed.batch(0, 3), 3)
        compiled = members.compiled_programs
        other = members.with_configs([c.replace({"optimizer.g_lr": 0.0, "seed": c.seed + 50}) for c in configs(8)])
        before = members.member(states, 2)
        states, metrics = other.step(states, feed.batch(3, 3), 3)
    after = other.member(states, 2)
    assert other.compiled_programs == compiled == 1
    jax.tree.map(np.testing.assert_array_equal, before.g.params, after.g.params)  # a learning rate of 0
    assert np.all(other.gather(metrics)["g_lr"] == 0)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before.d.params, after.d.params)
    assert max(jax.tree.leaves(moved)) > 0


@pytest.mark.parametrize("slot", range(8))
def test_a_member_is_read_on_its_own_device_alone(slot: int) -> None:
    """Indexing the whole array is a program of all devices; hundreds of those at once have stopped them for ever."""
    mesh = make_mesh(jax.devices()[:4])
    whole = jax.device_put(np.arange(24.0).reshape(8, 3), batch_sharding(mesh))
    row = _row(whole, slot)
    assert row.devices() == {jax.devices()[slot // 2]}
    np.testing.assert_array_equal(row, np.arange(24.0).reshape(8, 3)[slot])


def test_a_member_can_take_over_the_weights_of_another() -> None:
    members = population(9, 8)
    states = members.init()
    source = members.member(states, 8)
    changed = members.with_member(states, 2, source)
    for index in range(9):
        found, expected = members.member(changed, index), members.member(states, index)
        jax.tree.map(np.testing.assert_array_equal, found.g, source.g if index == 2 else expected.g)
        assert int(found.seed) == index
    placed = zip(jax.tree.leaves(changed), jax.tree.leaves(states), strict=True)
    assert all(new.sharding == old.sharding for new, old in placed)


def test_members_join_again_from_their_own_states() -> None:
    members = population(9, 8)
    with Feed(members) as feed:
        batches = feed.batch(0, 3)
    states, metrics = members.step(members.init(), batches, 3)
    joined = members.join([members.member(states, index) for index in range(9)])
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(joined), jax.device_get(states))
    assert jax.tree.map(lambda leaf: leaf.sharding, joined) == jax.tree.map(lambda leaf: leaf.sharding, states)
    signs = members.gather(members.signs(states, batches))
    assert signs["finite"].tolist() == [1.0] * 9
    for index in (0, 8):
        number, slot = divmod(index, members.capacity)
        expected = np.asarray(batches[number]["image"][slot, 0]).std(axis=0).mean()
        assert signs["real_diversity"][index] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="8 states"):
        members.join([members.member(states, index) for index in range(8)])


def test_traced_numbers_are_those_of_the_config() -> None:
    for config in (*configs(2), tiny_config("dcgan", {"penalty.wgan_gp": 3.0, "penalty.dragan": 0.5})):
        for step in (0, 7, 30):
            own = hyperparameters(config, jnp.int32(step))
            traced = hyperparameters(structure(config), jnp.int32(step), numbers_of(config))
            assert set(own) == set(NUMBERS)
            for name, value in own.items():
                assert float(traced[name]) == pytest.approx(float(value), rel=1e-6), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_members_share_is_a_config_that_builds(architecture: str) -> None:
    common = structure(tiny_config(architecture))
    assert build(common, SHAPES[architecture], 10, make_mesh(jax.devices()[:1])).config == common


def test_members_must_be_alike() -> None:
    first, devices = tiny_config("mlp"), jax.devices()[:1]
    cases: dict[str, dict[str, Any]] = {
        "model.g_width": {"model.g_width": 32},
        "loss.name": {"loss.name": "nonsaturating"},
        "penalty.r2.start": {"penalty.r2": 0.0},  # off: no part of the program
        "optimizer.g_lr.shape": {"optimizer.g_lr": {"start": 1e-3, "end": 1e-4, "shape": "linear"}},
        "total_images": {"total_images": 16 * 13},
    }
    for name, change in cases.items():
        with pytest.raises(InputError, match=f"^config.{name} differs between members"):
            make_population([first, first, first.replace(change)], (2,), 8, devices)
    with pytest.raises(InputError, match="at least one config"):
        make_population([], (2,), 8, devices)
    with pytest.raises(InputError, match="population of 2 cannot take 1"):
        make_population([first, first], (2,), 8, devices).with_configs([first])


def test_members_go_side_by_side_where_that_pays() -> None:
    small, wide = ({"model.g_width": width, "model.d_width": width, "data.batch_size": 64} for width in (64, 1024))
    rows = [
        ("mlp", small, "cpu", True),
        ("mlp", wide, "cpu", False),
        ("mlp", wide, "gpu", True),
        ("dcgan", small | {"data.image_size": 8}, "cpu", True),
        ("dcgan", small | {"data.image_size": 28}, "cpu", False),
        ("dcgan", small | {"data.image_size": 8}, "gpu", False),
        ("resnet", small | {"data.image_size": 8}, "cpu", False),
    ]
    for architecture, changes, platform, expected in rows:
        config = tiny_config(architecture, changes)
        assert pays_side_by_side(config, platform) is expected
    chosen = make_population([tiny_config("mlp", small)] * 4, (2,), 8, jax.devices()[:2])
    assert (chosen.width, chosen.rounds) == (2, 1)
    chosen = make_population([tiny_config("mlp", wide)] * 3, (2,), 8, jax.devices()[:2])
    assert (chosen.width, chosen.rounds) == (1, 2)
