"""From images back to noise: closed forms for a linear generator, a trained network's own samples, and bad input."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax
from gan_jax.errors import InputError
from gan_jax.inversion import invert, principal_directions
from gan_jax.latents import draw_noise, great_circle, in_batches

MATRIX = np.diag([3.0, 1.0, 0.5]).astype(np.float32) @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0].T
OFFSETS = np.array([[0.0] * 4, [5.0] * 4], np.float32)  # of two classes


def linear(z: jax.Array, labels: jax.Array) -> jax.Array:
    """Images [B, 2, 2, 1] = (M z, 0) + an offset a class."""
    flat = jnp.pad(z @ jnp.asarray(MATRIX.T, jnp.float32), ((0, 0), (0, 1))) + jnp.asarray(OFFSETS)[labels]
    return flat.reshape(-1, 2, 2, 1)


def test_a_linear_generator_is_inverted_with_its_classes() -> None:
    z = np.asarray(draw_noise(jax.random.key(1), 6, 3))
    labels = np.array([0, 1, 1, 0, 1, 0], np.int32)
    found = invert(linear, linear(z, labels), latent_size=3, classes=2, key=jax.random.key(0))
    np.testing.assert_allclose(found.z, z, atol=0.01)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.error.max() < 0.01
    wrong = invert(linear, linear(z, labels), latent_size=3, classes=2, key=jax.random.key(0), labels=1 - labels)
    np.testing.assert_array_equal(wrong.labels, 1 - labels)
    assert wrong.error.min() > 1  # the offset of the other class cannot be reached in the last pixel


def test_directions_of_a_linear_generator_are_its_singular_vectors() -> None:
    directions, strengths = principal_directions(
        linear, latent_size=3, classes=0, key=jax.random.key(0), samples=20_000
    )
    np.testing.assert_allclose(strengths, [3, 1, 0.5], rtol=0.03)
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-5)
    truth = np.linalg.svd(MATRIX)[2]
    np.testing.assert_allclose(np.abs(np.sum(directions * truth, 1)), 1, atol=0.01)


def test_own_samples_are_recovered(small_run: pathlib.Path) -> None:
    gan = gan_jax.load(small_run)
    images = np.asarray(gan.sample(jax.random.key(11), 6))
    best_guess = gan.invert(images, steps=0)
    found = gan.invert(images)
    assert (found.error < 0.1 * best_guess.error).all() and best_guess.error.min() > 0
    np.testing.assert_array_equal(np.asarray(gan.generate(found.z, found.labels)), found.images)
    np.testing.assert_array_equal(gan.invert(images).z, found.z)  # the same key, the same noise
    with pytest.raises(InputError, match="trained on"):
        gan.invert(np.zeros((1, 9, 9, 1)))
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.9"):
        gan.invert(images, labels=[10])
    directions, strengths = gan.directions()
    z = np.asarray(gan.latents(jax.random.key(2), 64))
    moved = [np.square(np.asarray(gan.generate(z + 0.1 * d) - gan.generate(z))).sum() for d in directions[[0, -1]]]
    assert moved[0] > 4 * moved[1] and (np.diff(strengths) <= 0).all()


def test_walks_keep_the_length_of_noise_and_reach_their_ends() -> None:
    start, end = np.asarray(draw_noise(jax.random.key(0), 2 * 50, 64)).reshape(2, 50, 64)
    path = np.asarray(great_circle(start, end, 5))
    np.testing.assert_allclose(path[:, 0], start, atol=1e-5)
    np.testing.assert_allclose(path[:, -1], end, atol=1e-5)
    assert np.abs(np.linalg.norm(path, axis=-1) - 8).max() < 3  # the straight line's middle is at 8 / sqrt(2)
    same = np.asarray(great_circle(start, start, 3))
    np.testing.assert_allclose(same, np.broadcast_to(start[:, None], same.shape), atol=1e-5)


def test_batches_of_one_size_give_what_one_batch_gives() -> None:
    sizes: list[int] = []

    def double(x: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(len(x))
        return {"twice": 2 * x}

    array = np.arange(14).reshape(7, 2)
    np.testing.assert_array_equal(in_batches(double, array, size=3)["twice"], 2 * array)
    assert sizes == [3, 3, 3]
