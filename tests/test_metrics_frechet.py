"""The Fréchet distance: closed forms, invariances, and moments that do not depend on how they were gathered."""

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.frechet import Moments, frechet_distance, merge_moments, moments_of


def gaussian(mean: np.ndarray, covariance: np.ndarray, count: int = 100) -> Moments:
    """Moments that are exactly those of a Gaussian."""
    return Moments(count, np.asarray(mean, float), np.asarray(covariance, float) * (count - 1))


def test_shifted_and_stretched_gaussians_give_the_closed_form() -> None:
    first = gaussian([0.0, 1.0, 2.0], np.diag([1.0, 4.0, 9.0]))
    second = gaussian([1.0, 1.0, 0.0], np.diag([4.0, 4.0, 1.0]))
    # |shift|^2 + sum of (difference of standard deviations)^2
    assert frechet_distance(first, second) == pytest.approx((1 + 4) + (1 + 0 + 4), rel=1e-12)


def test_covariances_that_do_not_commute_give_the_two_by_two_closed_form() -> None:
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    root_trace = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))  # tr sqrt(M) of a 2x2 matrix M
    expected = np.trace(a) + np.trace(b) - 2 * root_trace
    assert frechet_distance(gaussian([0, 0], a), gaussian([0, 0], b)) == pytest.approx(expected, rel=1e-12)


def test_samples_of_two_gaussians_come_near_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(0.0, 1.0, (40_000, 4))
    second = rng.normal(0.5, 2.0, (40_000, 4))
    assert frechet_distance(moments_of(first), moments_of(second)) == pytest.approx(4 * (0.25 + 1.0), rel=0.03)


@pytest.mark.parametrize("rows", [500, 20])  # 20 rows of 64 features: a singular covariance
def test_a_set_against_itself_gives_zero(rows: int) -> None:
    features = np.random.default_rng(1).normal(3.0, 2.0, (rows, 64)).astype(np.float32)
    moments = moments_of(features)
    scale = np.trace(moments.covariance)
    assert 0 <= frechet_distance(moments, moments) <= 1e-6 * scale
    again = moments_of(features[::-1])
    assert 0 <= frechet_distance(moments, again) <= 1e-6 * scale


def test_singular_covariances_stay_real_and_keep_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.normal(size=(32, 32)))[0]
    first = basis[:, :4] @ np.diag([1.0, 2.0, 3.0, 4.0]) @ basis[:, :4].T
    second = basis[:, 2:6] @ np.diag([12.0, 1.0, 5.0, 6.0]) @ basis[:, 2:6].T
    expected = 10 + 24 - 2 * (np.sqrt(3 * 12) + np.sqrt(4 * 1))  # only two axes overlap
    found = frechet_distance(gaussian(np.zeros(32), first), gaussian(np.zeros(32), second))
    assert isinstance(found, float) and found == pytest.approx(expected, rel=1e-9)


def test_the_distance_is_symmetric_and_ignores_rotation() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(50, 8)), rng.normal(1.0, 3.0, (60, 8))
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    found = frechet_distance(moments_of(first), moments_of(second))
    assert frechet_distance(moments_of(second), moments_of(first)) == pytest.approx(found, rel=1e-9)
    assert frechet_distance(moments_of(first @ turn), moments_of(second @ turn)) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_moments_do_not_depend_on_batch_size_or_order(batch: int) -> None:
    rng = np.random.default_rng(4)
    features = (1e3 + rng.normal(size=(300, 6))).astype(np.float32)  # far from 0: a sum of squares would lose digits
    shuffled = rng.permutation(features)
    found = merge_moments(moments_of(shuffled[start : start + batch]) for start in range(0, 300, batch))
    np.testing.assert_allclose(found.mean, features.astype(float).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(features.astype(float), rowvar=False), rtol=1e-7)
    assert found.count == 300


def test_moments_survive_a_file() -> None:
    moments = moments_of(np.random.default_rng(5).normal(size=(30, 3)))
    assert frechet_distance(Moments.from_arrays(moments.to_arrays()), moments) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros(3), r"shape \[N, F\]"),
        (np.zeros((0, 3)), "too few"),
        (np.array([[0.0, np.nan]]), "NaN"),
    ],
)
def test_bad_features_are_refused(features: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        moments_of(features)


def test_one_row_and_unequal_sizes_are_refused() -> None:
    one, two, narrow = moments_of(np.zeros((1, 3))), moments_of(np.eye(3)), moments_of(np.eye(2))
    with pytest.raises(InputError, match="at least 2 rows"):
        frechet_distance(one, two)
    with pytest.raises(InputError, match="one feature network"):
        frechet_distance(two, narrow)
    with pytest.raises(InputError, match="one feature network"):
        two.merge(narrow)
    with pytest.raises(InputError, match="no features"):
        merge_moments([])
