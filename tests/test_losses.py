"""Each loss and penalty against a value worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.adversarial import penalties
from gan_jax.adversarial.losses import LOSSES
from gan_jax.adversarial.schedules import ema_decay, value_at
from gan_jax.config import Schedule

REAL, FAKE = 2.0, -0.5
HAND = {
    "minimax": (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-0.5)), math.log(1 - 1 / (1 + math.exp(0.5)))),
    "nonsaturating": (
        math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-0.5)),
        -math.log(1 / (1 + math.exp(0.5))),
    ),
    "least_squares": (0.5 * (1.0 + 0.25), 0.5 * 2.25),
    "hinge": (0.0 + 0.5, 0.5),
    "wasserstein": (-2.5, 0.5),
    "relativistic": (math.log(1 + math.exp(-2.5)), math.log(1 + math.exp(2.5))),
    "article_squared_error": (4.0 + 0.25, 0.25),
}


def test_every_loss_of_logits_has_a_hand_value() -> None:
    """Feature matching looks at features: tests/test_recognition.py."""
    assert set(HAND) == {name for name, loss in LOSSES.items() if not loss.matches_features}


@pytest.mark.parametrize("name", HAND)
def test_loss_equals_hand_value(name: str) -> None:
    real, fake = jnp.array([REAL, 0.0]), jnp.array([FAKE, 0.0])
    d_value, g_value = LOSSES[name].discriminator(real, fake), LOSSES[name].generator(real, fake)
    assert d_value.shape == g_value.shape == (2,)
    np.testing.assert_allclose([d_value[0], g_value[0]], HAND[name], rtol=1e-6)


@pytest.mark.parametrize("name", HAND)
def test_pairs_tells_whether_the_generator_looks_at_real_logits(name: str) -> None:
    loss = LOSSES[name]
    slope = jax.grad(lambda real: loss.generator(real, jnp.array([0.3])).sum())(jnp.array([0.7]))
    assert bool(slope[0] != 0) == loss.pairs


def test_articles_squared_error_is_no_game() -> None:
    """Both players push D(G(z)) the same way, and a constant D = 0 satisfies both."""
    loss = LOSSES["article_squared_error"]
    logits = jnp.linspace(-3, 3, 7)
    d_slope = jax.vmap(jax.grad(lambda fake: loss.discriminator(jnp.float32(1.0), fake)))(logits)
    g_slope = jax.vmap(jax.grad(lambda fake: loss.generator(jnp.float32(1.0), fake)))(logits)
    np.testing.assert_array_equal(d_slope, g_slope)
    assert loss.discriminator(jnp.zeros(1), jnp.zeros(1)) == 0


def linear(weight: jax.Array):
    return lambda x: (x.reshape(len(x), -1) @ weight, None)


def test_r1_of_a_linear_discriminator_is_its_squared_norm() -> None:
    weight = jax.random.normal(jax.random.key(0), (12,))
    images = jax.random.normal(jax.random.key(1), (5, 2, 2, 3))
    logits, squared, _ = penalties.squared_gradient_norms(linear(weight), images)
    np.testing.assert_allclose(squared, np.full(5, np.sum(np.square(weight))), rtol=1e-6)
    np.testing.assert_allclose(logits, images.reshape(5, -1) @ weight, rtol=1e-5)


def test_penalty_gradient_reaches_the_weights() -> None:
    """d/dw mean |w|^2 = 2 w: the penalty is differentiated through the input gradient."""
    weight = jnp.array([3.0, -4.0])
    images = jnp.ones((4, 2))
    slope = jax.grad(lambda w: jnp.mean(penalties.squared_gradient_norms(linear(w), images)[1]))(weight)
    np.testing.assert_allclose(slope, 2 * weight, rtol=1e-6)


def test_unit_gradient_is_zero_for_a_unit_critic_and_sixteen_for_norm_five() -> None:
    images = jnp.ones((3, 2))
    np.testing.assert_allclose(penalties.unit_gradient(linear(jnp.array([0.6, 0.8])), images), 0, atol=1e-10)
    np.testing.assert_allclose(penalties.unit_gradient(linear(jnp.array([3.0, 4.0])), images), 16, rtol=1e-5)


def test_between_lies_on_the_segments() -> None:
    real, fake = jnp.zeros((64, 3, 3, 1)), jnp.ones((64, 3, 3, 1)) * 2
    points = penalties.between(jax.random.key(0), real, fake)
    share = points / 2
    np.testing.assert_allclose(share, share[:, :1, :1, :] * jnp.ones((1, 3, 3, 1)))  # one share an example
    assert 0 <= share.min() < 0.2 and 0.8 < share.max() <= 1


def test_near_adds_half_a_deviation_of_one_sided_noise() -> None:
    real = jax.random.normal(jax.random.key(0), (50, 8, 8, 1)) * 3
    noise = np.asarray(penalties.near(jax.random.key(1), real) - real)
    assert 0 <= noise.min() and noise.max() <= 0.5 * float(jnp.std(real)) * 1.0001
    np.testing.assert_allclose(noise.mean(), 0.25 * np.std(real), rtol=0.05)


@pytest.mark.parametrize(("shape", "middle"), [("cosine", 5.0), ("linear", 5.0), ("geometric", 4.0)])
def test_schedule_ends_and_middle(shape: str, middle: float) -> None:
    schedule = Schedule(start=8.0, end=2.0, shape=shape)
    values = [float(value_at(schedule, jnp.float32(p))) for p in (0.0, 0.5, 1.0, 2.0)]
    np.testing.assert_allclose(values, [8.0, middle, 2.0, 2.0], rtol=1e-5)
    assert float(value_at(Schedule(start=3.0), jnp.float32(0.7))) == 3.0


def test_cosine_is_flat_at_the_ends_and_linear_is_not() -> None:
    at = jnp.float32(0.1)
    assert value_at(Schedule(start=1.0, end=0.0, shape="cosine"), at) > 0.97
    np.testing.assert_allclose(value_at(Schedule(start=1.0, end=0.0, shape="linear"), at), 0.9, rtol=1e-6)


def test_ema_after_one_half_life_is_the_half_blend() -> None:
    np.testing.assert_allclose(ema_decay(640, jnp.float32(640)), 0.5)
    np.testing.assert_allclose(ema_decay(64, jnp.float32(640)) ** 10, 0.5, rtol=1e-5)
    assert ema_decay(64, jnp.float32(0)) == 0
