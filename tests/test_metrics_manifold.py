"""Precision, recall, density, coverage: points worked out by hand, the definition, and devices."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from metrics_digits import devices

from gan_jax.errors import InputError
from gan_jax.metrics import pairwise
from gan_jax.metrics.manifold import Manifold, expected_coverage, manifold_scores


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> Manifold:
    """All distances at once, in float64."""

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, None].astype(float) - b[None].astype(float), axis=2)

    real_radii = np.sort(distances(real, real), axis=1)[:, k]
    fake_radii = np.sort(distances(fake, fake), axis=1)[:, k]
    cross = distances(real, fake)
    inside = cross < real_radii[:, None]
    return Manifold(
        inside.any(axis=0).mean(), (cross < fake_radii).any(axis=1).mean(), inside.sum(axis=0).mean() / k,
        inside.any(axis=1).mean(),
    )  # fmt: skip


def line(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_points_on_a_line_worked_out_by_hand() -> None:
    real, fake = line(0, 1, 3, 10), line(0.5, 0.75, 20)
    # k = 1. Radii of the reals: 1, 1, 2, 7; of the fakes: .25, .25, 19.25.
    # Fake .5 and .75 lie in the balls of 0 and 1 (those of 3 and 10 are too far): two balls each. 20 lies in none.
    # Reals: 0 and 1 hold a fake. Ball of 20 reaches below .75, so it holds 1, 3, 10; no fake ball holds 0.
    found = manifold_scores(real, fake, k=1)
    assert found == Manifold(
        precision=pytest.approx(2 / 3), recall=pytest.approx(3 / 4), density=pytest.approx(4 / 3), coverage=0.5
    )


def test_a_point_on_the_edge_of_a_ball_is_outside() -> None:
    real, fake = line(0, 2, 4), line(-2, 6, 6.5)
    found = manifold_scores(real, fake, k=1)  # -2 and 6 are 2 away from 0 and 4, whose radius is 2
    assert (found.precision, found.density, found.coverage) == (0, 0, 0)


def test_a_constant_far_from_the_origin_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(80, 5)).astype(np.float32), rng.normal(0.3, 1, (70, 5)).astype(np.float32)
    far = (real.astype(float) + 1e4, fake.astype(float) + 1e4)
    assert manifold_scores(*far) == manifold_scores(real, fake)


def test_a_perfect_copy_of_the_reals_scores_one() -> None:
    real = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    found = manifold_scores(real, real)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


def test_a_collapsed_sampler_has_no_recall() -> None:
    real = np.random.default_rng(2).normal(size=(100, 3)).astype(np.float32)
    found = manifold_scores(real, np.repeat(real[:1], 50, axis=0))
    assert found.precision == 1 and found.recall == 0 and found.coverage < 0.3


@pytest.mark.parametrize("count", [1, 2, 8])
def test_blocks_and_devices_give_the_definition(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise, "ROWS", 40)
    monkeypatch.setattr(pairwise, "COLUMNS", 56)
    rng = np.random.default_rng(3)
    real, fake = rng.normal(size=(131, 4)).astype(np.float32), rng.normal(0.2, 0.8, (117, 4)).astype(np.float32)
    found = manifold_scores(real, fake, sharding=devices(count))
    np.testing.assert_allclose(found, by_definition(real, fake, 5), rtol=1e-6)
    shuffled = manifold_scores(rng.permutation(real), rng.permutation(fake), sharding=devices(count))
    np.testing.assert_allclose(shuffled, found, rtol=1e-6)


def test_the_search_for_neighbours_is_shared_among_devices() -> None:
    def work(count: int) -> float:
        rows = NamedSharding(devices(count).mesh, PartitionSpec("data"))
        whole = NamedSharding(devices(count).mesh, PartitionSpec())
        shapes = [((64, 5), np.float32, rows), ((64, 5), np.int32, rows), ((64, 128), np.float32, rows),
                  ((64,), np.int32, rows), ((256, 128), np.float32, whole), ((256,), np.int32, whole)]  # fmt: skip
        arguments = [jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape, dtype, place in shapes]
        program = pairwise._merge_compiled(5, True, devices(count)).lower(*arguments).compile()
        assert "all-gather" not in program.as_text()
        return program.cost_analysis()["flops"]

    assert work(8) < 1.3 * work(1) / 8


def test_expected_coverage_is_what_equal_distributions_score() -> None:
    rng = np.random.default_rng(4)
    found = [manifold_scores(rng.normal(size=(100, 2)), rng.normal(size=(150, 2)), k=3).coverage for _ in range(60)]
    assert np.mean(found) == pytest.approx(expected_coverage(100, 150, 3), abs=4 * np.std(found) / np.sqrt(60))
    assert expected_coverage(10_000, 10_000) == pytest.approx(1 - 2**-5, abs=1e-3)


def test_bad_input_is_refused() -> None:
    points = np.random.default_rng(5).normal(size=(10, 2))
    with pytest.raises(InputError, match="k=0"):
        manifold_scores(points, points, k=0)
    with pytest.raises(InputError, match="fake: 5 rows are too few: give at least 6"):
        manifold_scores(points, points[:5])
    with pytest.raises(InputError, match="fake.*NaN"):
        manifold_scores(points, points * np.nan)
