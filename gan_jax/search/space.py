"""Which numbers are searched and how far: a space for each recipe, or the user's own. Imports adversarial."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from optuna import distributions

from gan_jax.adversarial.schedules import number_field
from gan_jax.config import Config, Schedule, call_from
from gan_jax.errors import InputError

Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Float:
    """A number between two limits, both included.

    Attributes:
        low: the least.
        high: the greatest.
        log: drawn uniformly in its logarithm.
    """

    low: float
    high: float
    log: bool = False

    def distribution(self) -> distributions.BaseDistribution:
        """As Optuna wants it."""
        return distributions.FloatDistribution(self.low, self.high, log=self.log)

    def moved(self, value: float, rng: np.random.Generator) -> float:
        """A neighbour of a value: a quarter up or a fifth down, as in population-based training, within the limits."""
        factor = 1.25 if rng.random() < 0.5 else 0.8
        return min(max(value * factor, self.low), self.high)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values, in an order in which neighbours are alike."""

    options: tuple[Any, ...]

    def distribution(self) -> distributions.BaseDistribution:
        """As Optuna wants it."""
        return distributions.CategoricalDistribution(self.options)

    def moved(self, value: Any, rng: np.random.Generator) -> Any:
        """The value, or one beside it."""
        place = self.options.index(value) + int(rng.integers(-1, 2))
        return self.options[min(max(place, 0), len(self.options) - 1)]


Space = Mapping[str, Float | Choice]  # by field of the config; several that share a value are joined by commas


def default_space(config: Config) -> Space:
    """What is worth searching for a recipe: rates, decays, the weights of what is on, the generator's average.

    Every range holds the recipe's own value. All of it is data and not shape, so one compiled step serves the search.
    """
    found: dict[str, Float | Choice] = {
        "optimizer.g_lr": _around(config, "optimizer.g_lr", 5e-5, 5e-3),
        "optimizer.d_lr": _around(config, "optimizer.d_lr", 5e-5, 5e-3),
        "optimizer.beta1": _among(config, "optimizer.beta1", (0.0, 0.5, 0.9)),
        "optimizer.beta2": _among(config, "optimizer.beta2", (0.9, 0.99, 0.999)),
    }
    if config.penalty.r1 == config.penalty.r2 and size_of(config, "penalty.r1"):
        found["penalty.r1,penalty.r2"] = _around(config, "penalty.r1", 0.01, 30.0)  # one gamma, as in R3GAN
    else:
        found |= {f"penalty.{name}": _around(config, f"penalty.{name}", 0.01, 30.0) for name in ("r1", "r2")}
    others = {"wgan_gp": (1, 30), "dragan": (1, 30), "lecam": (0.01, 1), "bcr": (1, 30), "path_length": (0.2, 20)}
    others["likelihood"] = (0.01, 10)
    found |= {f"penalty.{name}": _around(config, f"penalty.{name}", *limits) for name, limits in others.items()}
    if not config.augment.adaptive:
        found["augment.p"] = Float(0.05, max(0.8, size_of(config, "augment.p")))
    share = config.total_images
    found["ema_half_life"] = _around(config, "ema_half_life", share / 500, share / 10)
    return {field: part for field, part in found.items() if field.startswith("optimizer.") or size_of(config, field)}


def load_space(path: str | Path, config: Config) -> Space:
    """The space that a file's `get_space(config)` returns: fields of the config, and `Float` or `Choice` for each.

    Raises:
        InputError: the file cannot be loaded, or a field or a limit does not fit the config.
    """
    path = Path(path)
    space = call_from(path, "space", "get_space", (config,), "docs/tuning.md has an example")
    if not isinstance(space, Mapping) or not space:
        raise InputError(f"--space={path}: get_space(config) must return a dict with at least one field")
    for field, part in space.items():
        _check(path, config, field, part)
    return dict(space)


def configured(config: Config, values: Mapping[str, Any]) -> Config:
    """A config with values of a space; a schedule is scaled as a whole, so that its larger end gets the value."""
    changes: dict[str, Any] = {}
    for fields, value in values.items():
        for field in fields.split(","):
            before = number_field(config, field)
            changes[field] = _scaled(before, value) if isinstance(before, Schedule) else value
    return config.replace(changes)


def values_of(config: Config, space: Space) -> Values | None:
    """The config's own values; None if the space does not hold them."""
    values = {}
    for fields, part in space.items():
        value: Any = [_value(config, field) for field in fields.split(",")]
        inside = part.low <= value[0] <= part.high if isinstance(part, Float) else value[0] in part.options
        if not inside or len(set(value)) > 1:
            return None
        values[fields] = value[0]
    return values


def moved(space: Space, values: Mapping[str, Any], rng: np.random.Generator) -> Values:
    """A neighbour of values."""
    return {field: part.moved(values[field], rng) for field, part in space.items()}


def size_of(config: Config, fields: str) -> float:
    """The larger end of a number of the config, of the first field if there are several."""
    return float(_value(config, fields.split(",")[0]))


def _value(config: Config, field: str) -> Any:
    value = number_field(config, field)
    return max(value.start, value.end or 0.0) if isinstance(value, Schedule) else value


def _scaled(schedule: Schedule, value: float) -> dict[str, Any]:
    size = max(schedule.start, schedule.end or 0.0)
    if value == size:  # exactly itself
        return dataclasses.asdict(schedule)
    start, end = (value if part == size else value * part / size for part in (schedule.start, schedule.end or 0.0))
    return {"start": start, "end": None if schedule.end is None else end, "shape": schedule.shape}


def _around(config: Config, field: str, low: float, high: float) -> Float:
    size = size_of(config, field)
    return Float(min(low, size / 4), max(high, size * 4), log=True) if size else Float(low, high, log=True)


def _among(config: Config, field: str, options: tuple[float, ...]) -> Choice:
    return Choice(tuple(sorted({*options, size_of(config, field)})))


def _check(path: Path, config: Config, fields: Any, part: Any) -> None:
    """Tries both ends of every range."""
    where = f"--space={path}: {fields!r}"
    if not isinstance(fields, str) or not isinstance(part, (Float, Choice)):
        raise InputError(f"{where} must be a field of the config with a Float or Choice of gan_jax.search.space")
    if isinstance(part, Choice):
        plain = isinstance(part.options, tuple) and all(isinstance(v, (bool, int, float, str)) for v in part.options)
        if not plain or not part.options:
            raise InputError(f"{where}: Choice takes a tuple of numbers or words, at least one")
        ends = part.options
    else:
        numbers = all(isinstance(end, (int, float)) and math.isfinite(end) for end in (part.low, part.high))
        if not numbers or not part.low < part.high or (part.log and part.low <= 0):
            raise InputError(f"{where}: Float needs finite low < high, and low above 0 with log=True")
        ends = (part.low, part.high)
    for field in fields.split(","):
        try:
            before = number_field(config, field)
        except AttributeError:
            raise InputError(f"{where}: config has no field {field}") from None
        if field.split(".")[0] in ("seed", "total_images", "log", "evaluation", "watchdog", "data") and (
            field != "data.batch_size"
        ):
            raise InputError(f"{where}: {field} is no setting of the game; leave it to the command line")
        if isinstance(before, Schedule) and not size_of(config, field):
            raise InputError(f"{where}: {field} is off in the config; switch it on there to search its weight")
        for end in ends:
            try:
                configured(config, {field: end})
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
