"""MNIST-1D (Greydanus & Kobak 2024): ten classes of short, noisy signals, made by the package `mnist1d`."""

import numpy as np

from gan_jax.data.arrays import ArraySource, labelled
from gan_jax.errors import InputError

_LARGEST = 6.0  # standard deviations; the set's own largest value is below


def load_mnist1d(split: str) -> ArraySource:
    """4,000 training and 1,000 test signals, float32 [40, 1], the standard set of the package, divided by 6.

    Args:
        split: "train" or "test".

    Raises:
        InputError: the package is missing.
    """
    try:
        from mnist1d.data import make_dataset
    except ImportError:
        raise InputError("config.data.source=mnist1d needs its package: pip install 'gan_jax[audio]'") from None
    state = np.random.get_state()  # the package seeds NumPy's global generator
    try:
        made = make_dataset()
    finally:
        np.random.set_state(state)
    end = "" if split == "train" else "_test"
    signals = np.clip(made[f"x{end}"] / _LARGEST, -1, 1).astype(np.float32)[..., None]
    return labelled(signals, np.asarray(made[f"y{end}"]), tuple("0123456789"))
