"""The kernel distance (KID): its definition, pair by pair, and what it must not depend on."""

import numpy as np
import pytest
from metrics_digits import devices

from gan_jax.errors import InputError
from gan_jax.metrics import kernel
from gan_jax.metrics.kernel import kernel_distance, kernel_distance_subsets


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared MMD with all pairs at once, in float64."""

    def values(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a.astype(float) @ b.astype(float).T / a.shape[1] + 1) ** 3

    xx, yy = values(x, x), values(y, y)
    n, m = len(x), len(y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return within - 2 * values(x, y).mean()


def sets(n: int, m: int, size: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0.4, 0.5, (n, size)).astype(np.float32), rng.normal(0.5, 0.6, (m, size)).astype(np.float32)


@pytest.mark.parametrize(("rows", "columns"), [(1024, 4096), (32, 48)])
def test_streaming_over_blocks_gives_the_definition(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_ROWS", rows)
    monkeypatch.setattr(kernel, "_COLUMNS", columns)
    real, fake = sets(150, 97)
    assert kernel_distance(real, fake) == pytest.approx(by_definition(real, fake), rel=1e-4)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_number_of_devices_and_the_order_do_not_matter(count: int) -> None:
    real, fake = sets(101, 77)
    shuffled = np.random.default_rng(1).permutation(fake)
    found = kernel_distance(real, shuffled, sharding=devices(count))
    assert found == pytest.approx(kernel_distance(real, fake), rel=1e-4)


def test_equal_distributions_give_zero_on_average() -> None:
    rng = np.random.default_rng(2)
    values = [kernel_distance(rng.normal(size=(40, 4)), rng.normal(size=(40, 4))) for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0  # unbiased, so it must fall on both sides


def test_subsets_of_everything_are_the_whole_sets() -> None:
    real, fake = sets(60, 60)
    found = kernel_distance_subsets(real, fake, subsets=3, subset_size=1000)
    assert found.mean == pytest.approx(kernel_distance(real, fake), rel=1e-4)
    assert found.std == pytest.approx(0, abs=1e-5 * abs(found.mean) + 1e-6)


def test_subsets_repeat_with_the_seed_and_scatter_around_the_whole() -> None:
    real, fake = sets(400, 400)
    found = kernel_distance_subsets(real, fake, subsets=40, subset_size=100)
    assert found == kernel_distance_subsets(real, fake, subsets=40, subset_size=100)
    assert found != kernel_distance_subsets(real, fake, subsets=40, subset_size=100, seed=1)
    assert abs(found.mean - kernel_distance(real, fake)) < 4 * found.std / np.sqrt(40)


def test_bad_input_is_refused() -> None:
    real, fake = sets(10, 10)
    with pytest.raises(InputError, match="too few"):
        kernel_distance(real[:1], fake)
    with pytest.raises(InputError, match="one feature network"):
        kernel_distance(real[:, :3], fake)
    with pytest.raises(InputError, match="subsets=0"):
        kernel_distance_subsets(real, fake, subsets=0)
