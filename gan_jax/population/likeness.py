"""Which runs can share one compiled step, and whether that pays. Imports adversarial and the config."""

import math
from collections.abc import Sequence
from typing import Any

from gan_jax.adversarial.schedules import NUMBERS, number_field
from gan_jax.config import Config, Schedule, to_dict
from gan_jax.errors import InputError

# Units of a layer times examples of a batch up to which dense networks go side by side on CPU (benchmark suite
# throughput, arm population): below, starting an operation still costs something beside its work; above, products of
# several members in one call take longer than one after another.
SMALL = 4_096
PIXELS = 64  # up to which DCGANs do: 8x8 pictures take less time side by side on CPU, 28x28 ones more


def structure(config: Config) -> Config:
    """The config with one seed and one value for all that may differ between members; equal for those alike.

    What is off stays off, as the program leaves it out.
    """
    changes: dict[str, Any] = {"seed": 0}
    for field in NUMBERS.values():
        value = number_field(config, field)
        scheduled = isinstance(value, Schedule)
        largest = max(value.start, value.end or 0.0) if scheduled else value
        can_be_off = field.startswith(("penalty.", "augment."))
        common = 0.5 if largest > 0 or not can_be_off else 0.0
        if field.startswith("model."):
            common = 1.0  # the value that networks without use for it accept
        changes[field] = {"start": common, "end": None, "shape": value.shape} if scheduled else common
    return config.replace(changes)


def check_alike(configs: Sequence[Config]) -> None:
    """Raises InputError, naming the first field, if configs differ in more than the members of a population may."""
    first = to_dict(structure(configs[0]))
    for config in configs[1:]:
        name = _difference(first, to_dict(structure(config)))
        if name:
            raise InputError(f"config.{name} differs between members of a population: train them apart")


def _difference(first: Any, second: Any) -> str:
    """The dotted name of the first value in which two trees differ; empty if they are equal."""
    if not isinstance(first, dict):
        return "" if first == second else "."
    for name in first:
        found = _difference(first[name], second[name])
        if found:
            return name if found == "." else f"{name}.{found}"
    return ""


def pays_side_by_side(config: Config, platform: str) -> bool:
    """Whether members of a device train faster side by side than one after another.

    A rule drawn from measurements. Dense networks go side by side, on CPU only while they are small. Networks with
    convolutions take turns, since a kernel a member makes grouped convolutions; but for DCGANs of tiny pictures on CPU.
    """
    if config.model.architecture == "mlp":
        work = max(config.model.g_width, config.model.d_width) * config.data.batch_size
        return platform != "cpu" or work <= SMALL
    tiny = config.model.architecture == "dcgan" and math.prod(config.data.image_size) <= PIXELS
    return platform == "cpu" and tiny
