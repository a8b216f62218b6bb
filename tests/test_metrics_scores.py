"""Classifier score, class shares, modes and memorisation against closed forms and known samplers."""

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.memorisation import memorisation, nearest_neighbours
from gan_jax.metrics.modes import mixture_modes, stacked_modes
from gan_jax.metrics.scores import class_shares, classifier_score

RING = np.stack([[np.cos(angle), np.sin(angle)] for angle in 2 * np.pi * np.arange(8) / 8])


def ring_samples(count: int, std: float = 0.01, modes: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return RING[rng.integers(modes, size=count)] + std * rng.normal(size=(count, 2))


def test_the_classifier_score_runs_from_one_to_the_number_of_classes() -> None:
    assert classifier_score(np.zeros((50, 10))).mean == pytest.approx(1)
    sure = 1e3 * np.eye(10)[np.arange(50) % 10]
    assert classifier_score(sure).mean == pytest.approx(10)
    assert classifier_score(sure[::10]).mean == pytest.approx(1)  # one class only


def test_the_classifier_score_is_the_exponential_of_the_mutual_information() -> None:
    # Two kinds of sample, p(y|x) = (.9, .1) or (.1, .9): log 2 minus the entropy of (.9, .1).
    logits = np.log([[0.9, 0.1], [0.1, 0.9]] * 5)
    expected = np.exp(np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert classifier_score(logits + 7).mean == pytest.approx(expected)  # a constant on all logits changes nothing
    split = classifier_score(logits, splits=5)
    assert split.mean == pytest.approx(expected) and split.std == pytest.approx(0, abs=1e-12)


def test_class_shares() -> None:
    np.testing.assert_allclose(class_shares(np.eye(4)[[0, 0, 0, 2]]), [0.75, 0, 0.25, 0])


def test_scores_refuse_bad_input() -> None:
    with pytest.raises(InputError, match="splits=0"):
        classifier_score(np.eye(3), splits=0)
    with pytest.raises(InputError, match="too few"):
        classifier_score(np.eye(3), splits=4)


def test_a_perfect_sampler_of_the_ring() -> None:
    found = mixture_modes(ring_samples(20_000), RING, 0.01)
    assert found.modes == 8
    assert found.high_quality == pytest.approx(1 - np.exp(-4.5), abs=0.003)  # chi-squared with 2 degrees within 3
    assert found.reverse_kl == pytest.approx(7 / (2 * 20_000), abs=1e-3)  # (K - 1) / 2N by chance
    assert 0.95 < found.spread_min <= found.spread_max < 1.05


def test_each_dropped_mode_is_missed() -> None:
    found = [mixture_modes(ring_samples(2500, modes=kept), RING, 0.01) for kept in (8, 6, 3, 1)]
    assert [score.modes for score in found] == [8, 6, 3, 1]
    assert found[2].reverse_kl == pytest.approx(np.log(8 / 3), abs=0.01)
    assert found[3].reverse_kl == pytest.approx(np.log(8))


def test_shrunk_and_widened_modes_show_in_the_spread() -> None:
    shrunk = mixture_modes(ring_samples(5000, std=0.005), RING, 0.01)
    assert 0.45 < shrunk.spread_min <= shrunk.spread_max < 0.55 and shrunk.high_quality > 0.999
    wide = mixture_modes(ring_samples(5000, std=0.02), RING, 0.01)
    assert wide.spread_min > 1.2 and wide.high_quality == pytest.approx(1 - np.exp(-9 / 8), abs=0.02)


def test_points_that_hit_nothing() -> None:
    found = mixture_modes(np.array([[5.0, 5.0], [np.nan, 0.0]]), RING, 0.01)
    assert found == (0, 0.0, pytest.approx(np.log(8)), 0.0, 0.0)


def test_mixture_modes_refuses_bad_input() -> None:
    with pytest.raises(InputError, match=r"\[N, D\] and \[K, D\]"):
        mixture_modes(np.zeros((3, 3)), RING, 0.01)
    with pytest.raises(InputError, match="std=0"):
        mixture_modes(np.zeros((3, 2)), RING, 0)


def test_stacked_modes_of_perfect_and_collapsed_samplers() -> None:
    rng = np.random.default_rng(1)
    perfect = stacked_modes(rng.integers(10, size=(26_000, 3)))
    assert perfect.modes == 1000 and perfect.reverse_kl == pytest.approx(999 / 52_000, abs=0.004)
    half = stacked_modes(rng.integers(5, size=(26_000, 3)))
    assert half.modes == 125 and half.reverse_kl == pytest.approx(np.log(8), abs=0.01)
    assert stacked_modes([[3, 3, 3]]) == (1, pytest.approx(np.log(1000)))
    with pytest.raises(InputError, match="0 to 9"):
        stacked_modes([[3, 10, 3]])


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 6, 6, 1), dtype=np.uint8)


def test_nearest_neighbours_are_exact() -> None:
    queries, points = images(30, 0), images(200, 1)
    points[17] = queries[4]
    distances, indices = nearest_neighbours(queries, points)
    flat = queries.reshape(30, -1).astype(float), points.reshape(200, -1).astype(float)
    expected = np.linalg.norm(flat[0][:, None] - flat[1][None], axis=2)
    np.testing.assert_array_equal(indices, expected.argmin(axis=1))
    np.testing.assert_allclose(distances, expected.min(axis=1), rtol=1e-12)
    assert indices[4] == 17 and distances[4] == 0


def test_copies_honest_samples_and_a_mixture_are_told_apart() -> None:
    train, held_out, honest = images(400, 2), images(300, 3), images(300, 4)
    copies = memorisation(train[:250], held_out, train)
    assert copies == (0.0, 1.0)
    fair = memorisation(honest, held_out, train)
    assert fair.nn_ratio == pytest.approx(1, abs=0.05) and fair.copied_share < 0.05
    mixed = memorisation(np.concatenate([honest[:200], train[:100]]), held_out, train)
    assert mixed.copied_share == pytest.approx(1 / 3, abs=0.05)
    few = memorisation(honest, held_out, train, most=100)  # 100 of each tell the same
    assert few.nn_ratio == pytest.approx(fair.nn_ratio, abs=0.05)
    noisy = np.clip(train[:200].astype(int) + np.random.default_rng(5).integers(-5, 6, (200, 6, 6, 1)), 0, 255)
    assert memorisation(noisy.astype(np.uint8), held_out, train).nn_ratio < 0.1


def test_memorisation_refuses_what_cannot_be_compared() -> None:
    train, held_out = images(50, 6), images(20, 7)
    with pytest.raises(InputError, match="resize them alike"):
        memorisation(train[:, :5], held_out, train)
    with pytest.raises(InputError, match="both as uint8 or both as floats"):
        memorisation(held_out / 255, held_out, train)
    with pytest.raises(InputError, match="hold out images"):
        memorisation(held_out, train[:20], train)
