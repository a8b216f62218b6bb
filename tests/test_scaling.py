"""Suite scaling: collectives counted in real programs, and estimates that obey the formulas they quote."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax.benchmark.suites import scaling
from gan_jax.benchmark.suites.scaling import (
    CHIPS,
    PROGRAMS,
    SLICES,
    Asks,
    count_collectives,
    count_statistics,
    estimate,
)
from gan_jax.models.layers import BatchNorm
from gan_jax.program import build
from gan_jax.runtime.mesh import make_mesh


def test_collectives_are_counted_in_a_compiled_program() -> None:
    mesh = make_mesh()
    split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())

    def compiled(out: NamedSharding) -> str:
        total = jax.jit(lambda x: x.sum(0) if out is whole else 2 * x, in_shardings=split, out_shardings=out)
        return total.lower(jax.ShapeDtypeStruct((16, 5, 3), jnp.float32)).compile().as_text() or ""

    assert count_collectives(compiled(whole)) == (1, 5 * 3 * 4)  # every device hands over its part of the sum
    assert count_collectives(compiled(split)) == (0, 0)


def test_collectives_of_tuples_and_of_asynchronous_operations() -> None:
    text = """
  %all-reduce.1 = (f32[4,8]{1,0:T(8,128)}, bf16[3], pred[]) all-reduce(%a, %b, %c), replica_groups={}
  %start = f32[10] all-gather-start(%d)
  %done = f32[80] all-gather-done(%start)
  ROOT %r = f32[4] add(%all-reduce.1, %e)
"""
    assert count_collectives(text) == (2, 4 * 8 * 4 + 3 * 2 + 1 + 10 * 4)


def test_sums_of_batch_normalisation_are_told_apart() -> None:
    mesh = make_mesh()
    split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.tanh(BatchNorm(name="base_norm")(nn.Dense(3, use_bias=False)(x), train=True))

    x = jax.ShapeDtypeStruct((16, 5), jnp.float32)
    variables = jax.eval_shape(Net().init, jax.random.key(0), x)

    def run(variables: Any, x: jax.Array) -> Any:
        return Net().apply(variables, x, mutable="batch_stats")[0].sum(0)

    text = jax.jit(run, in_shardings=(whole, split), out_shardings=whole).lower(variables, x).compile().as_text() or ""
    number, statistics = count_collectives(text)[0], count_statistics(text)
    assert number == statistics + 1 and statistics >= 1  # the output's own sum is none of them


@pytest.mark.parametrize("name", CHIPS)
def test_estimates_follow_the_roofline(name: str) -> None:
    chip, asks = CHIPS[name], Asks(1e12, 1e9, 2, 0, 1e8, 0.0)
    alone = estimate(chip, asks, 1)
    assert alone["collectives"] == 0
    assert alone["arithmetic"] == pytest.approx(1e12 / (scaling.REACHED * chip.flops))
    assert alone["memory"] == pytest.approx(1e9 / (scaling.REACHED * chip.memory))
    waits = [estimate(chip, asks, chips)["collectives"] for chips in SLICES]
    assert waits == sorted(waits) and waits[1] > 1e8 / chip.link  # of two chips each sends its half twice
    twice = estimate(chip, asks._replace(collective_bytes=2e8), 8)["collectives"]
    assert twice - estimate(chip, asks, 8)["collectives"] == pytest.approx(2 * 7 / 8 * 1e8 / chip.link)


def test_every_program_fits_its_data_and_every_slice() -> None:
    for architecture, (_, _, shape, classes) in PROGRAMS.items():
        config = scaling.program_config(architecture)
        program = build(config, shape, classes, make_mesh())
        assert config.model.architecture == architecture and program.per_dispatch == 1
        assert program.abstract_state.g.params and config.data.batch_size % max(SLICES) == 0
    assert set(scaling.SUITE.arms) == {f"{name}_{chips}" for name in PROGRAMS for chips in SLICES}
    for chips, text in SLICES.items():
        rows, columns = map(int, text.split("x"))
        assert rows * columns == chips


def test_efficiency_is_that_of_the_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = {1: Asks(8e12, 8e9, 0, 0, 0.0, 0.0), 8: Asks(1e12, 1e9, 12, 10, 1e8, 0.0)}  # work split evenly
    monkeypatch.setattr(scaling, "compiled_asks", lambda architecture, chips: asks[chips])
    found = scaling.measure("dcgan", 8, 0).metrics
    assert found["flops_per_device_share"] == 1 / 8 and found["gradient_collectives"] == 2
    parts = estimate(CHIPS["v5e"], asks[8], 8)
    work = max(parts["arithmetic"], parts["memory"])
    assert found["v5e_efficiency"] == pytest.approx(work / (work + parts["collectives"]))
    assert found["v5e_weak_efficiency"] == pytest.approx(8 * work / (8 * work + parts["collectives"]))
    table = scaling.pod_table({"dcgan_8": found, "dcgan_256": found, "mlp_8": found})
    assert len(table) == 3 and "0.1250 | 2 + 10" in table[2]
