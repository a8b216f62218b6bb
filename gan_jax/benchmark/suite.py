"""What a suite is: arms, what each measures, and how closely a rerun must agree. Imports config and errors."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_jax.config import Config, to_dict
from gan_jax.errors import InputError

# What a figure does not depend on: where the data lie, what is logged and scored on the way, the seed of the arm.
_NO_RECIPE = ("seed", "log.", "evaluation.", "data.path", "data.threads", "data.residency", "data.resident_mb")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one arm measured with one seed.

    Attributes:
        metrics: numbers by name; percentages are 0 to 100; a number that is not finite means that it could not be had.
        seconds: that the arm worked, by its suite's clock.
        images: real images its discriminator saw, 0 if it has none.
    """

    metrics: Mapping[str, float]
    seconds: float
    images: int


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far a rerun may be from the committed value: by `absolute`, or by `relative` times that value."""

    relative: float = 0.0
    absolute: float = 0.0

    def complaint(self, committed: float, found: float) -> str:
        """Why `found` does not reproduce `committed`; empty if it does."""
        allowed = max(self.absolute, self.relative * abs(committed))
        return "" if abs(found - committed) <= allowed else f"allowed +-{allowed:.3g}"


@dataclasses.dataclass(frozen=True)
class Range:
    """Limits that the committed value and the rerun both keep, for figures that differ from machine to machine."""

    low: float = -math.inf
    high: float = math.inf

    def complaint(self, committed: float, found: float) -> str:
        """Why the pair is no reproduction; empty if it is."""
        kept = all(self.low <= value <= self.high for value in (committed, found))
        return "" if kept else f"allowed {self.low:.4g} to {self.high:.4g}"


@dataclasses.dataclass(frozen=True)
class Arm:
    """One of the things compared.

    Attributes:
        text: what it is, in a line of the generated page.
        run: seed -> what it measures; raises InputError before it works if something is missing.
        recipe: settings that its figures depend on, JSON values by name; a file never mixes two recipes.
        together: seed -> what it and the seeds that are trained side by side with it measure; None = one at a time.
        seeds: how many are measured at most; None = as many as asked for.
    """

    text: str
    run: Callable[[int], Outcome]
    recipe: Callable[[], Mapping[str, Any]] = dict
    together: Callable[[int], Mapping[int, Outcome]] | None = None
    seeds: int | None = None

    def measure(self, seed: int) -> Mapping[int, Outcome]:
        """What a seed measures, and the seeds that come with it."""
        return {seed: self.run(seed)} if self.together is None else self.together(seed)

    def wants(self, seed: int) -> bool:
        """Whether a seed is among those that are measured."""
        return self.seeds is None or seed < self.seeds


@dataclasses.dataclass(frozen=True)
class Suite:
    """A comparison.

    Attributes:
        name: of its file, NAME.json.
        description: what is compared and how, for the generated page.
        arms: by name, in the order of the page.
        protocol: facts that all arms share, JSON values by name; a file never mixes two protocols.
        checks: by arm and metric, what `--check` measures again, with the first committed seed, and compares.
        plots: (content of NAME.json, folder) -> files drawn there.
        headline: the few metrics that the project's README shows.
    """

    name: str
    description: str
    arms: Mapping[str, Arm]
    protocol: Callable[[], Mapping[str, Any]] = dict
    checks: Mapping[str, Mapping[str, Tolerance | Range]] = dataclasses.field(default_factory=dict)
    plots: Callable[[Mapping[str, Any], Path], Sequence[Path]] = lambda result, folder: ()
    headline: Sequence[str] = ()

    def chosen(self, names: Sequence[str] | None) -> list[str]:
        """The arms asked for, or all of them, in the suite's order.

        Raises:
            InputError: an arm is unknown.
        """
        unknown = [name for name in names or () if name not in self.arms]
        if unknown or (names is not None and not names):
            known = ", ".join(self.arms)
            raise InputError(f"--arms={','.join(names or ())}: unknown arm of suite {self.name}; choose of {known}")
        return [name for name in self.arms if names is None or name in names]


def config_recipe(config: Config, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a config that figures depend on and that differ from the defaults, as dotted names.

    Args:
        config: of an arm.
        leave_out: further names, or beginnings of names, that the suite sets itself.
    """
    values, defaults = _flat(to_dict(config)), _flat(to_dict(Config()))
    return {
        name: value
        for name, value in values.items()
        if value != defaults.get(name) and not name.startswith((*_NO_RECIPE, *leave_out))
    }


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as dotted names; a schedule is one value, sizes are lists as in JSON."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and "start" not in value:
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            flat[prefix + name] = value["start"] if value["end"] is None else dict(value)
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat
