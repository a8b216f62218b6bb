"""libtpu compiles the train step for a described slice: one fused all-reduce a network, work split evenly."""

import re

import jax
import pytest
from tiny import tiny_config

from gan_jax.benchmark.suites.scaling import compile_step, count_collectives, slice_mesh
from gan_jax.program import Program, build

pytestmark = pytest.mark.peers


def test_dense_pair_on_a_tpu_slice() -> None:
    config = tiny_config(
        "mlp", {"data.batch_size": 1024, "total_images": 4096, "model.g_width": 128, "model.d_width": 128}
    )
    config = config.replace({"step.per_dispatch": 1})

    def program(chips: int) -> Program:
        return build(config, (2,), 0, slice_mesh(chips))

    alone, eight = compile_step(program(1)), compile_step(program(8))
    assert count_collectives(alone.as_text() or "") == (0, 0)
    number, size = count_collectives(eight.as_text() or "")
    weights = sum(leaf.size for leaf in jax.tree.leaves(program(8).abstract_state.d.params))
    assert number == 2 and size >= 4 * weights
    assert eight.cost_analysis()["flops"] <= 1.1 / 8 * alone.cost_analysis()["flops"]


@pytest.mark.parametrize("dtype, types", [("float32", ["f32"]), ("bfloat16", ["bf16", "f32"])])
def test_r3gan_sums_once_a_network_and_type(dtype: str, types: list[str]) -> None:
    """XLA joins sums of one type only: in bfloat16, biases and 1x1 kernels are summed apart, in float32."""
    config = tiny_config("r3gan", {"data.batch_size": 64, "total_images": 256, "model.dtype": dtype})
    config = config.replace({"step.per_dispatch": 1})
    program = build(config, (16, 16, 1), 0, slice_mesh(8))
    found = re.findall(r"= \(?(\w+)\[.*? all-reduce(?:-start)?\(", compile_step(program).as_text() or "")
    assert sorted(found) == sorted(types * 2)
