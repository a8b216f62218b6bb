"""Input checks that every metric shares, so that bad features fail early and in the same words. NumPy only."""

import numpy as np
from numpy.typing import ArrayLike

from gan_jax.errors import InputError


def check_features(features: ArrayLike, name: str, at_least: int = 2) -> np.ndarray:
    """Returns features as a host array [N, F], float32 or float64.

    Args:
        features: one row an example.
        name: what the rows are, for the message.
        at_least: smallest N that the caller can work with.

    Raises:
        InputError: not two-dimensional, too few rows, or not finite.
    """
    array = np.asarray(features)
    if array.ndim != 2:
        raise InputError(f"{name}: features must have shape [N, F], not {list(array.shape)}")
    if len(array) < at_least:
        raise InputError(f"{name}: {len(array)} rows are too few: give at least {at_least}")
    if array.dtype != np.float64:
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise InputError(f"{name}: features hold NaN or infinity: the images are damaged or the run has diverged")
    return array


def check_pair(first: np.ndarray, second: np.ndarray, names: str) -> None:
    """Raises InputError unless both sets have the same number of features."""
    if first.shape[1] != second.shape[1]:
        raise InputError(f"{names}: {first.shape[1]} and {second.shape[1]} features: use one feature network for both")
