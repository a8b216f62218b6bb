"""One device or eight: the same numbers, an eighth of the work, one compilation; and it lowers for GPU and TPU."""

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec
from tiny import ARCHITECTURES, fill, run, tiny_program

from gan_jax.errors import InputError


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_1_2_and_8_devices_agree(architecture: str) -> None:
    states = {}
    for devices in (1, 2, 8):
        state, _ = run(tiny_program(architecture, devices), 3)
        states[devices] = jax.device_get((state.g.params, state.d.params, state.ema.params))
    for devices in (2, 8):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), states[1], states[devices])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_8_devices_share_the_work(architecture: str) -> None:
    """At a batch at which Adam, which every device does for all parameters, is small beside the networks."""
    flops = {}
    for devices in (1, 8):
        program = tiny_program(architecture, devices, {"data.batch_size": 512, "total_images": 5_120})
        count = jax.ShapeDtypeStruct((), np.int32)
        compiled = program.step.lower(program.abstract_state, program.abstract_batch, count).compile()
        flops[devices] = compiled.cost_analysis()["flops"]
    assert flops[8] <= 1.15 / 8 * flops[1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_step_lowers_for_accelerators_on_eight_devices(architecture: str, platform: str) -> None:
    program = tiny_program(architecture, 8)
    mesh = AbstractMesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def abstract(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, leaf.sharding.spec))

    state, batch = jax.tree.map(abstract, (program.abstract_state, program.abstract_batch))
    count = jax.ShapeDtypeStruct((), np.int32, sharding=NamedSharding(mesh, PartitionSpec()))
    text = program.on_mesh(mesh).step.trace(state, batch, count).lower(lowering_platforms=(platform,)).as_text()
    assert "num_partitions = 8" in text and "sharding" in text


@pytest.mark.parametrize("architecture", ["mlp", "dcgan"])
def test_the_step_compiles_once_and_copies_nothing_implicitly(architecture: str) -> None:
    program = tiny_program(architecture)
    place = NamedSharding(program.mesh, PartitionSpec())
    state = program.init(jax.device_put(np.uint32(0), place))
    batch = fill(program)
    with jax.transfer_guard("disallow"):
        for index in range(100):
            state, _ = program.step(state, batch, jax.device_put(np.int32(1 + index % 2), place))
    assert program.step._cache_size() == 1


def test_many_steps_a_call_are_the_same_steps() -> None:
    """Where a run is cut into calls changes no bit of it."""
    program = tiny_program("mlp", changes={"step.per_dispatch": 6})
    place, results = NamedSharding(program.mesh, PartitionSpec()), []
    whole = {name: np.asarray(array) for name, array in fill(program).items()}
    for cuts in ([6], [2, 4], [1, 1, 1, 3]):
        state, done = program.init(jax.device_put(np.uint32(0), place)), 0
        for count in cuts:
            rolled = {name: np.roll(array, -done * program.passes, 0) for name, array in whole.items()}
            state, _ = program.step(state, rolled, np.int32(count))
            done += count
        assert int(state.step) == 6
        results.append(jax.device_get(state))
    for other in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, results[0], other)


def test_batch_must_fit_the_devices() -> None:
    with pytest.raises(InputError, match="batch_size=12 must be divisible by 8 devices"):
        tiny_program("mlp", 8, {"data.batch_size": 12})
    with pytest.raises(InputError, match="2 devices x 16 micro-batches: try --config.data.batch_size=32"):
        tiny_program("mlp", 2, {"step.accumulate": 16})
