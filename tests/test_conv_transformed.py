"""Convolutions by transforms: the same three maps as XLA's, taken where they pay, and on CPU alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from test_conv import assert_close, count, draw, penalty_gradients, with_gradients

from gan_jax.models import transformed
from gan_jax.models.conv import conv, up_conv

WORTHWHILE = (64, 7, 64, 64, 5)  # batch, side, channels in and out, taps


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    """What promises half the time is taken."""
    monkeypatch.setattr(transformed, "_WORTH", 0.5)


def reference(x, kernel, stride=1, padding="SAME"):
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.mark.parametrize(
    ("side", "taps", "stride", "padding"),
    [(7, 5, 1, "SAME"), (14, 5, 2, "SAME"), (12, 4, 2, "SAME"), (11, 3, 1, "SAME"), (9, 3, 2, "VALID")],
)
def test_every_plan_gives_the_value_and_both_gradients(side, taps, stride, padding):
    x, kernel = draw(2, side, side, 3), draw(taps, taps, 3, 4, seed=1)
    low = lax.padtype_to_pads((side,), (taps,), (stride,), padding)[0][0]
    y, pull = jax.vjp(lambda x, kernel: reference(x, kernel, stride, padding), x, kernel)
    g = draw(*y.shape, seed=2)
    plans = transformed._plans(transformed.Shape(side, y.shape[1], taps, stride, low))
    assert plans
    for plan in plans:

        @jax.jit
        def ours(x, kernel, g, plan=plan):
            forward = transformed.forward(x, kernel, plan)
            return forward, transformed.input_gradient(g, kernel, plan), transformed.weight_gradient(x, g, plan)

        assert len(plan.a) * plan.tiles**2 * stride**2 <= (y.shape[1] * taps) ** 2, "no more products"
        assert_close(ours(x, kernel, g), (y, *pull(g)))


def operands():
    batch, side, channels, features, taps = WORTHWHILE
    # Results of about 1, or the sine in the penalty would turn rounding into noise.
    return draw(batch, side, side, channels), draw(taps, taps, channels, features, seed=1) / (taps * channels**0.5)


def compiled(function, *inputs):
    return count(jax.jit(function).lower(*inputs).compile().as_text(), r" convolution\(")[0]


def test_conv_uses_them_where_they_pay_with_all_derivatives():
    x, kernel = operands()
    assert compiled(with_gradients(conv), x, kernel) == 0
    assert compiled(with_gradients(conv), x[:1], kernel) == 3  # too little work for the kernel's transform
    assert compiled(with_gradients(conv), *(array.astype(jnp.bfloat16) for array in (x, kernel))) == 3
    assert_close(with_gradients(conv)(x, kernel), with_gradients(reference)(x, kernel))
    assert_close(penalty_gradients(conv)(x, kernel), penalty_gradients(reference)(x, kernel))


def test_shared_transforms_are_computed_once():
    x, kernel = operands()
    products = count(jax.jit(with_gradients(conv)).lower(x, kernel).compile().as_text(), r" dot\(")[0]
    # Three products of transforms, three transforms there, three back; unshared there would be six there.
    assert products == 9


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_get_xla_convolutions_only(platform):
    traced = with_gradients(conv).trace(*operands())
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert count(text, "stablehlo.convolution", "dot_general") == [3, 0]


def test_up_convolution_takes_the_adjoint(monkeypatch):
    monkeypatch.setattr(transformed, "_WORTH", np.inf)  # whatever it costs
    x, kernel = draw(3, 6, 6, 2), draw(5, 5, 2, 3, seed=1)

    def transposed(x, kernel):
        return lax.conv_transpose(x, kernel.swapaxes(2, 3), (2, 2), "SAME", transpose_kernel=True)

    assert compiled(up_conv, x, kernel) == 0
    assert_close(with_gradients(up_conv)(x, kernel), with_gradients(transposed)(x, kernel))
