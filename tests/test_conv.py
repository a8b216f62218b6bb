"""Convolutions: our forms against XLA's, their derivatives, and what they are lowered to."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax.models.conv import conv, up_conv

LAYOUT = ("NHWC", "HWIO", "NHWC")
# height, width, channels in, channels out, kernel, stride, padding, groups
CASES = [
    (7, 9, 3, 5, (3, 3), 1, "SAME", 1),
    (8, 6, 4, 6, (5, 5), 2, "SAME", 1),
    (7, 5, 4, 4, (4, 4), 2, "SAME", 1),
    (6, 6, 4, 3, (3, 2), 1, "VALID", 1),
    (9, 8, 2, 3, (3, 3), 2, "VALID", 1),
    (5, 6, 4, 3, (1, 1), 1, "SAME", 1),
    (6, 6, 4, 3, (1, 1), 2, "SAME", 1),
    (6, 8, 6, 12, (3, 3), 1, "SAME", 3),
    (8, 8, 4, 4, (3, 3), 2, "SAME", 4),
    (16, 16, 32, 33, (3, 3), 1, "SAME", 1),
    (16, 17, 64, 64, (3, 3), 1, "VALID", 2),
]


def draw(*shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def operands(case, dtype=jnp.float32):
    height, width, channels, features, kernel, _, _, groups = case
    return draw(2, height, width, channels, dtype=dtype), draw(
        *kernel, channels // groups, features, seed=1, dtype=dtype
    )


def pair(case):
    """Ours and XLA's for a case."""
    *_, stride, padding, groups = case

    def reference(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT, feature_group_count=groups
        )

    return lambda x, kernel: conv(x, kernel, stride, padding, groups), reference


def with_gradients(function):
    def run(x, kernel):
        y, pull = jax.vjp(function, x, kernel)
        return (y, *pull(jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype)))

    return jax.jit(run)


def penalty_gradients(function):
    """Gradients of a squared input gradient, as R1 takes them."""

    def penalty(x, kernel):
        return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(function(x, kernel))))(x) ** 2)

    return jax.jit(jax.grad(penalty, (0, 1)))


def assert_close(ours, reference, tolerance=1e-5):
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradients_are_those_of_xla(case):
    ours, reference = pair(case)
    assert_close(with_gradients(ours)(*operands(case)), with_gradients(reference)(*operands(case)))


@pytest.mark.parametrize("case", [CASES[1], CASES[7], CASES[9]], ids=str)
def test_bfloat16(case):
    ours, reference = pair(case)
    inputs = operands(case, jnp.bfloat16)
    got = with_gradients(ours)(*inputs)
    assert {array.dtype for array in got} == {jnp.dtype(jnp.bfloat16)}
    assert_close(got, with_gradients(reference)(*(array.astype(jnp.float32) for array in inputs)), 0.02)


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[5], CASES[8], CASES[9]], ids=str)
def test_second_order_gradients(case):
    ours, reference = pair(case)
    assert_close(penalty_gradients(ours)(*operands(case)), penalty_gradients(reference)(*operands(case)))


def test_third_order_gradient():
    ours, reference = pair(CASES[1])

    def nested(function):
        def first(x, kernel):
            return jnp.sum(jnp.sin(function(x, kernel)))

        def second(x, kernel):
            return jnp.sum(jax.grad(first, 0)(x, kernel) ** 3)

        return jax.jit(jax.grad(lambda x, kernel: jnp.sum(jax.grad(second, 1)(x, kernel) ** 2), (0, 1)))

    assert_close(nested(ours)(*operands(CASES[1])), nested(reference)(*operands(CASES[1])), 1e-4)


@pytest.mark.parametrize(("size", "kernel"), [((4, 6), (5, 5)), ((5, 4), (4, 4)), ((3, 3), (3, 3)), ((3, 4), (2, 1))])
def test_up_conv_is_the_transposed_convolution(size, kernel):
    x, weights = draw(2, *size, 3), draw(*kernel, 3, 4, seed=1)

    def reference(x, weights):
        return lax.conv_transpose(x, weights.swapaxes(2, 3), (2, 2), "SAME", transpose_kernel=True)

    assert up_conv(x, weights).shape == (2, 2 * size[0], 2 * size[1], 4)
    assert_close(with_gradients(up_conv)(x, weights), with_gradients(reference)(x, weights))
    assert_close(penalty_gradients(up_conv)(x, weights), penalty_gradients(reference)(x, weights))


def test_up_conv_is_the_adjoint_of_conv():
    x, y, weights = draw(2, 4, 6, 3), draw(2, 8, 12, 5, seed=2), draw(5, 5, 3, 5, seed=1)
    up = jnp.vdot(up_conv(x, weights), y)
    down = jnp.vdot(x, conv(y, weights.swapaxes(2, 3), 2))
    np.testing.assert_allclose(up, down, rtol=1e-5)


def critic(x, kernels):
    """All kinds of convolution in a row."""
    x = jnp.tanh(conv(x, kernels[0], 2))
    x = jnp.tanh(conv(x, kernels[1], groups=2))
    x = jnp.tanh(up_conv(x, kernels[2]))
    return jnp.sum(conv(x, kernels[3]), (1, 2, 3))


KERNELS = [(5, 5, 3, 8), (3, 3, 4, 8), (5, 5, 8, 32), (3, 3, 32, 32)]


def critic_gradient(kernels, x):
    def penalised(kernels):
        return jnp.sum(jax.grad(lambda x: jnp.sum(critic(x, kernels)))(x) ** 2) + jnp.sum(critic(x, kernels))

    return jax.grad(penalised)(kernels)


def count(text, *names):
    return [len(re.findall(name, text)) for name in names]


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("case", [CASES[1], CASES[7], CASES[9]], ids=str)
def test_tpu_and_gpu_get_xla_convolutions_only(platform, case):
    def lowered(function):
        traced = with_gradients(function).trace(*operands(case))
        return traced.lower(lowering_platforms=(platform,)).as_text()

    ours, reference = (count(lowered(function), "stablehlo.convolution", "dot_general") for function in pair(case))
    assert ours == reference == [3, 0]


def test_one_program_can_be_lowered_for_several_platforms_at_once():
    ours, _ = pair(CASES[7])
    traced = with_gradients(ours).trace(*operands(CASES[7]))
    assert "stablehlo.convolution" in traced.lower(lowering_platforms=("cpu", "cuda", "tpu")).as_text()


def test_cpu_program_has_no_branches_and_no_loops():
    kernels, x = [draw(*shape) for shape in KERNELS], draw(4, 16, 16, 3)
    text = jax.jit(critic_gradient).lower(kernels, x).compile().as_text()
    branches, loops, grouped = count(text, r"conditional\(", r" while\(", r"_group_count=(?!1\b)\d")
    assert (branches, loops, grouped) == (0, 0, 0)


def test_work_is_shared_among_devices():
    kernels, x = [draw(*shape) for shape in KERNELS], draw(8, 16, 16, 3)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    everywhere, shared = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    one = jax.jit(critic_gradient).lower(kernels, x).compile()
    eight = (
        jax.jit(critic_gradient, in_shardings=(everywhere, shared), out_shardings=everywhere)
        .lower(kernels, x)
        .compile()
    )
    assert eight.cost_analysis()["flops"] < 1.05 * one.cost_analysis()["flops"] / 8
    assert "all-gather" not in eight.as_text()
    assert_close(eight(jax.device_put(kernels, everywhere), jax.device_put(x, shared)), one(kernels, x), 1e-4)


def test_many_networks_at_once_are_each_their_own():
    case = CASES[7]
    ours, _ = pair(case)
    x, kernel = operands(case)
    xs, kernels = jnp.stack([x, 2 * x, x + 1]), jnp.stack([kernel, kernel - 1, 3 * kernel])
    together = penalty_gradients(jax.vmap(ours)).lower(xs, kernels).compile()
    assert count(together.as_text(), r"_group_count=(?!1\b)\d") == [0]
    each = [penalty_gradients(ours)(x, kernel) for x, kernel in zip(xs, kernels, strict=True)]
    assert_close(together(xs, kernels), jax.tree.map(lambda *arrays: jnp.stack(arrays), *each))
    # One kernel for all: the new axis joins the batch.
    assert_close(jax.vmap(ours, (0, None))(xs, kernel), jnp.stack([ours(one, kernel) for one in xs]))
    assert_close(jax.vmap(ours, (None, 0))(x, kernels), jnp.stack([ours(x, one) for one in kernels]))
