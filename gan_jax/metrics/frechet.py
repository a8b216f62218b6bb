"""Fréchet distance between two sets of features, from moments that are gathered in float64. NumPy only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gan_jax.errors import InputError
from gan_jax.metrics.checks import check_features

_ROWS = 8192  # rows turned into float64 at a time


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of a set of features.

    Attributes:
        count: number of rows N seen.
        mean: float64 [F].
        scatter: float64 [F, F], the sum of (x - mean)(x - mean)^T.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance, float64 [F, F].

        Raises:
            InputError: fewer than two rows were seen.
        """
        if self.count < 2:
            raise InputError(f"moments: a covariance needs at least 2 rows, not {self.count}")
        return self.scatter / (self.count - 1)

    def merge(self, other: "Moments") -> "Moments":
        """Moments of the two sets together (Chan, Golub and LeVeque 1979), free of cancellation."""
        if len(self.mean) != len(other.mean):
            raise InputError(
                f"moments: {len(self.mean)} and {len(other.mean)} features: use one feature network for both"
            )
        count = self.count + other.count
        shift = other.mean - self.mean
        between = np.outer(shift, shift) * (self.count * other.count / count)
        mean = self.mean + shift * (other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays, ready for a file."""
        return {"count": np.array(self.count, np.int64), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Moments":
        """The inverse of `to_arrays`."""
        return cls(int(arrays["count"]), np.asarray(arrays["mean"]), np.asarray(arrays["scatter"]))


def moments_of(features: ArrayLike, name: str = "features") -> Moments:
    """Moments of an array [N, F] with N >= 1; the same for every order of the rows, up to float64 rounding.

    Raises:
        InputError: not two-dimensional, empty or not finite.
    """
    array = check_features(features, name, at_least=1)
    return merge_moments(_block_moments(array[start : start + _ROWS]) for start in range(0, len(array), _ROWS))


def merge_moments(parts: Iterable[Moments]) -> Moments:
    """Moments of all parts together, e.g. of a stream: `merge_moments(moments_of(batch) for batch in batches)`.

    Raises:
        InputError: there are no parts.
    """
    total = None
    for part in parts:
        total = part if total is None else total.merge(part)
    if total is None:
        raise InputError("moments: no features were given")
    return total


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared 2-Wasserstein distance between two Gaussians with the given moments (FID, Heusel et al. 2017, eq. 6).

    |m1 - m2|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2). The last trace is the sum of the singular values
    of A^1/2 B^1/2: the symmetric form, real for every input, and exact to rounding where A B is singular
    (fewer rows than features), where square roots of tiny eigenvalues would not be.

    Raises:
        InputError: different numbers of features, or fewer than two rows in a set.
    """
    if len(first.mean) != len(second.mean):
        raise InputError(
            f"frechet_distance: {len(first.mean)} and {len(second.mean)} features: use one feature network for both"
        )
    shift = first.mean - second.mean
    roots = [_root(moments.covariance) for moments in (first, second)]
    overlap = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum()
    traces = sum(float(np.square(root).sum()) for root in roots)
    return max(float(shift @ shift) + traces - 2 * float(overlap), 0.0)  # below 0 by rounding only


def _root(covariance: np.ndarray) -> np.ndarray:
    """R [F, F] with R R^T = covariance; eigenvalues that are no more than rounding count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    rounding = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    return vectors * np.sqrt(np.where(values > rounding, values, 0))


def _block_moments(block: np.ndarray) -> Moments:
    exact = block.astype(np.float64)
    mean = exact.mean(axis=0)
    centred = exact - mean
    return Moments(len(exact), mean, centred.T @ centred)
