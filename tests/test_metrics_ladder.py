"""Each kind of damage, step by step, must raise every distance; losing classes must show in every diversity score."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
from metrics_digits import devices, digits, trained
from scipy.ndimage import uniform_filter

from gan_jax.metrics.features import FeatureNetwork, extract
from gan_jax.metrics.frechet import frechet_distance, moments_of
from gan_jax.metrics.kernel import kernel_distance
from gan_jax.metrics.manifold import manifold_scores
from gan_jax.metrics.memorisation import memorisation
from gan_jax.metrics.pca import fit_pca
from gan_jax.metrics.scores import class_shares

HALF = 900


def noise(images: np.ndarray, labels: np.ndarray, level: int) -> np.ndarray:
    added = 40 * level * np.random.default_rng(0).normal(size=images.shape)
    return np.clip(images + added, 0, 255).astype(np.uint8)


def blur(images: np.ndarray, labels: np.ndarray, level: int) -> np.ndarray:
    for _ in range(level):
        images = uniform_filter(images, size=(1, 3, 3, 1), mode="constant")
    return images


def crop(images: np.ndarray, labels: np.ndarray, level: int) -> np.ndarray:
    """Cuts `level` pixels off each side and blows up the rest."""
    places = level + np.arange(8) * (8 - 2 * level) // 8
    return images[:, places][:, :, places]


def thin(images: np.ndarray, labels: np.ndarray, level: int) -> np.ndarray:
    """Takes thirds of one class away: the mean of any feature then moves on one straight line."""
    place = np.cumsum(labels == 0) % 3
    return images[(labels != 0) | (place >= level)]


@functools.cache
def network(name: str) -> FeatureNetwork:
    return trained().network if name == "classifier" else fit_pca(digits()[0][:HALF])


@pytest.mark.parametrize("name", ["classifier", "pca"])
@pytest.mark.parametrize("damage", [noise, blur, crop, thin])
def test_every_step_of_damage_raises_every_distance(name: str, damage: Callable[..., np.ndarray]) -> None:
    images, labels = digits()
    real = extract(network(name), images[:HALF]).features
    fakes = [extract(network(name), damage(images[HALF:], labels[HALF:], level)).features for level in range(4)]
    distances = np.array([
        [frechet_distance(moments_of(real), moments_of(fake)), kernel_distance(real, fake)] for fake in fakes
    ])  # fmt: skip
    assert (np.diff(distances, axis=0) > 0).all(), distances


@pytest.mark.parametrize("name", ["classifier", "pca"])
def test_each_lost_class_lowers_recall_coverage_and_the_number_of_classes(name: str) -> None:
    images, labels = digits()
    real = extract(network(name), images[:HALF]).features
    scores = []
    for lost in range(4):
        kept = images[HALF:][labels[HALF:] >= lost]
        fake = extract(network(name), kept).features
        found = manifold_scores(real, fake)
        classes = (class_shares(extract(trained().network, kept).logits) > 0.02).sum()
        scores.append([-frechet_distance(moments_of(real), moments_of(fake)), found.recall, found.coverage, classes])
    assert (np.diff(scores, axis=0) < 0).all(), scores
    assert scores[-1][-1] == 7


def test_all_scores_agree_on_one_two_and_eight_devices() -> None:
    images, _ = digits()

    def scores(count: int) -> list[float]:
        place, judge = devices(count), network("classifier")
        real, fake = (
            extract(judge, part, batch_size=64, sharding=place).features for part in (images[:500], images[900:1300])
        )
        return [
            frechet_distance(moments_of(real), moments_of(fake)),
            kernel_distance(real, fake, sharding=place),
            *manifold_scores(real, fake, sharding=place),
            *memorisation(images[900:1000], images[500:600], images[:500], sharding=place),
        ]

    one = scores(1)
    np.testing.assert_allclose(scores(2), one, rtol=1e-4)
    np.testing.assert_allclose(scores(8), one, rtol=1e-4)
