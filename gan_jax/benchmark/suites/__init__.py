"""The suites, one a file."""

from gan_jax.benchmark.suite import Suite
from gan_jax.benchmark.suites import digits, pace, quality
from gan_jax.errors import InputError

SUITES: dict[str, Suite] = {suite.name: suite for suite in (digits.SUITE, pace.SUITE, quality.SUITE)}


def find_suite(name: str) -> Suite:
    """The suite of a name.

    Raises:
        InputError: there is none.
    """
    if name not in SUITES:
        raise InputError(f"unknown suite {name!r}: choose of {', '.join(SUITES)}, or tables to write the page alone")
    return SUITES[name]
