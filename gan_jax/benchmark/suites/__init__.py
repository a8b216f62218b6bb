"""The suites, one a file."""

from gan_jax.benchmark.suite import Suite
from gan_jax.benchmark.suites import (
    augmentation,
    choices,
    digits,
    domains,
    modes,
    pace,
    quality,
    recognition,
    reliability,
    scaling,
    stability,
    theory,
    throughput,
    tuning,
)
from gan_jax.errors import InputError

_ALL = (
    augmentation.SUITE,
    choices.SUITE,
    digits.SUITE,
    domains.SUITE,
    modes.SUITE,
    modes.MNIST_SUITE,
    pace.SUITE,
    quality.SUITE,
    recognition.SUITE,
    reliability.SUITE,
    scaling.SUITE,
    stability.SUITE,
    theory.SUITE,
    throughput.SUITE,
    tuning.SUITE,
)
SUITES: dict[str, Suite] = {suite.name: suite for suite in _ALL}


def find_suite(name: str) -> Suite:
    """The suite of a name.

    Raises:
        InputError: there is none.
    """
    if name not in SUITES:
        raise InputError(f"unknown suite {name!r}: choose of {', '.join(SUITES)}, or tables to write the page alone")
    return SUITES[name]
