"""Precision, recall, density and coverage from nearest-neighbour balls. Imports checks, pairwise, placement."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from numpy.typing import ArrayLike

from gan_jax.errors import InputError
from gan_jax.metrics import pairwise, placement
from gan_jax.metrics.checks import check_features, check_pair


class Manifold(NamedTuple):
    """Four scores of generated against real features.

    Attributes:
        precision: share of fakes inside at least one real ball, 0 to 1 (Kynkäänniemi et al. 2019, eq. 2).
        recall: share of reals inside at least one fake ball, 0 to 1 (the same).
        density: mean number of real balls around a fake, over k; about 1 is ideal (Naeem et al. 2020, eq. 3).
        coverage: share of reals whose own ball holds a fake, 0 to 1 (Naeem et al. 2020, eq. 4).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(real: ArrayLike, fake: ArrayLike, k: int = 5, *, sharding: NamedSharding | None = None) -> Manifold:
    """Precision, recall, density and coverage; a ball reaches to the k-th neighbour within its own set.

    Args:
        real: features [N, F], N > k.
        fake: features [M, F], M > k.
        k: neighbour that sets the radius; a point is not its own neighbour.
        sharding: splits the first axis over devices.

    Raises:
        InputError: k < 1, too few rows, different numbers of features, or features that are not finite.
    """
    if k < 1:
        raise InputError(f"manifold_scores: k={k} must be at least 1")
    real, fake = check_features(real, "real", k + 1), check_features(fake, "fake", k + 1)
    check_pair(real, fake, "real and fake")
    shift = pairwise.shift_of(real)
    real, fake = pairwise.shifted(real, shift), pairwise.shifted(fake, shift)
    real_radii, fake_radii = (
        pairwise.nearest(points, points, k, skip_self=True, sharding=sharding)[0][:, -1] for points in (real, fake)
    )
    around_fake, covered, recalled = _ball_counts(real, real_radii, fake, fake_radii, sharding)
    return Manifold(
        precision=float((around_fake > 0).mean()),
        recall=float(recalled.mean()),
        density=float(around_fake.mean() / k),
        coverage=float(covered.mean()),
    )


def expected_coverage(real_count: int, fake_count: int, k: int = 5) -> float:
    """Coverage that fakes from the very distribution of the reals would score (Naeem et al. 2020, section 3.3).

    1 - prod over i = 1..k of (N - i) / (N + M - i): about 1 - 2^-k for sets of equal size.
    """
    misses = [(real_count - i) / (real_count + fake_count - i) for i in range(1, k + 1)]
    return 1 - float(np.prod(misses))


def _ball_counts(
    real: np.ndarray,
    real_radii: np.ndarray,
    fake: np.ndarray,
    fake_radii: np.ndarray,
    sharding: NamedSharding | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real balls around each fake int64 [M]; own ball holds a fake, any fake ball holds it: bool [N]."""
    rows = placement.block_size(len(real), pairwise.ROWS, sharding)
    columns = min(len(fake), pairwise.COLUMNS)
    everywhere = placement.copies(sharding)
    # A squared radius of 0 holds nothing, as the comparison is strict: so padding with zeros adds no ball.
    fakes = [
        (start, stop, placement.put(block, everywhere), placement.put(radii, everywhere))
        for (start, stop, block), (_, _, radii) in zip(
            placement.padded_blocks(fake, columns), placement.padded_blocks(fake_radii, columns), strict=True
        )
    ]
    around_fake = np.zeros(len(fake), np.int64)
    covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
    count = placement.compiled(_count_block, sharding)
    reals = zip(placement.padded_blocks(real, rows), placement.padded_blocks(real_radii, rows), strict=True)
    for (first, last, block), (_, _, radii) in reals:
        placed, placed_radii = placement.put(block, sharding), placement.put(radii, sharding)
        for start, stop, points, point_radii in fakes:
            hits, own, other = count(placed, placed_radii, points, point_radii, np.int32(stop - start))
            around_fake[start:stop] += np.asarray(hits)[: stop - start]
            covered[first:last] |= np.asarray(own)[: last - first]
            recalled[first:last] |= np.asarray(other)[: last - first]
    return around_fake, covered, recalled


def _count_block(
    real: jax.Array, real_radii: jax.Array, fake: jax.Array, fake_radii: jax.Array, fakes: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    distances = pairwise.squared_distances(real, fake)
    in_real = (distances < real_radii[:, None]) & (jnp.arange(len(fake)) < fakes)[None, :]
    in_fake = distances < fake_radii[None, :]
    return jnp.sum(in_real, axis=0, dtype=jnp.int32), jnp.any(in_real, axis=1), jnp.any(in_fake, axis=1)
