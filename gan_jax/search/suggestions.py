"""A config for a set of images without any search: from tables, with reasons. Imports the room's surveys.

The tables are those of docs/choosing.md. What is suggested depends on the set and on the devices alone, so that the
same line resumes the run that it began.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from gan_jax.config import Config, split_overrides
from gan_jax.search.estimates import estimate
from gan_jax.search.surveys import Survey, survey

# Height and width of what is trained: powers of two, whatever the files are like, up to what a device can learn.
SIZES = (8, 16, 32, 64, 128)
LARGEST = {"cpu": 32}
LARGEST_ELSEWHERE = 64
# Images of a set -> images of a run. A small set is learnt by heart before it is learnt well.
LENGTHS = ((2_000, 400_000), (20_000, 800_000), (math.inf, 1_500_000))
LENGTHS_ELSEWHERE = ((2_000, 1_000_000), (20_000, 3_000_000), (math.inf, 10_000_000))
# Images of a set -> what befalls each on its way into D. The digits, 1,437 of them, do without.
AUGMENTED = ((1_000, "color,translation,cutout"), (math.inf, ""))
GREY = {"color,translation,cutout": "translation,cutout"}  # brightness is what a grey set is about
AVERAGE = 1 / 40  # half-life of the generator's average, as a part of the run: that of configs/digits.py
PER_DEVICE = 32  # images of a batch on each device, at least


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A config and why.

    Attributes:
        config: what to train.
        survey: of the set.
        reasons: (what, value, why), one a decision.
    """

    config: Config
    survey: Survey
    reasons: Sequence[tuple[str, str, str]]

    def text(self) -> str:
        """The reasons, a line each."""
        wide = [max(len(row[column]) for row in self.reasons) for column in (0, 1)]
        return "\n".join(f"{a:{wide[0]}}  {b:{wide[1]}}  {why}" for a, b, why in self.reasons)


def suggest(dataset: str | Path, platform: str | None = None, devices: int | None = None) -> Suggestion:
    """Chooses a config for a set.

    Args:
        dataset: a folder of images, a folder of idx files, an .npz file, "digits" or "tfds:NAME".
        platform: cpu, gpu or tpu; None = JAX's.
        devices: how many; None = all.

    Raises:
        InputError: the set cannot be read.
    """
    platform, devices = platform or jax.default_backend(), devices or jax.device_count()
    return decide(survey(dataset), platform, devices)


def decide(seen: Survey, platform: str, devices: int) -> Suggestion:
    """The tables: see `suggest`."""
    changes: dict[str, Any] = {
        "data.source": seen.source,
        "data.path": seen.path,
        "loss.name": "relativistic",
        "optimizer.beta1": 0.0,
        "optimizer.beta2": 0.99,
    }
    kind = "grey" if seen.channels == 1 else "colour"
    classes = f", {seen.classes} classes" if seen.classes else ", no labels"
    reasons = [
        ("data", f"{seen.count:,} images", f"{kind}{classes}, {_size_text(seen)}; from {seen.path or seen.source}"),
        ("devices", f"{devices} x {platform}", "what JAX finds here"),
    ]
    for part in (_size, _networks, _batch, _length, _augmentation):
        found, why = part(seen, platform, devices, changes)
        changes |= found
        reasons += why
    return Suggestion(Config().replace(changes), seen, reasons)


Part = tuple[dict[str, Any], list[tuple[str, str, str]]]


def _size_text(seen: Survey) -> str:
    return f"{seen.height}x{seen.width}" if seen.uniform else f"of assorted sizes about {seen.height}x{seen.width}"


def _size(seen: Survey, platform: str, devices: int, changes: dict[str, Any]) -> Part:
    most = LARGEST.get(platform, LARGEST_ELSEWHERE)
    side = min(seen.height, seen.width)
    if seen.uniform and max(seen.height, seen.width) <= most and (platform == "cpu" or side % 4 == 0):
        size, why = (seen.height, seen.width), "as they are"
    else:
        fitting = max((s for s in SIZES if s <= min(side, most)), default=SIZES[0])
        size = (fitting, fitting)
        why = f"resized and centre-cropped; a {platform} learns at most {most}x{most} in reasonable time"
        if side < most:
            why = "resized and centre-cropped to a power of two not above their short side"
    changed = {"data.image_size": size, "data.channels": seen.channels}
    return changed, [("image_size", f"{size[0]}x{size[1]}", why)]


def _networks(seen: Survey, platform: str, devices: int, changes: dict[str, Any]) -> Part:
    height, width = changes["data.image_size"]
    if platform == "cpu":
        small = height * width <= 256
        wide, gamma = 256 if small else 512, 1.0
        start, whence = 3e-3 if small else 2e-3, "high, as searches end for dense networks (docs/tuning.md)"
        if seen.count < AUGMENTED[0][0]:
            # At 2e-3 augmented photos collapsed at the start in two of three trial runs.
            start, whence = 1e-3, "gentle: with few, augmented images higher ones collapse"
        rates = {"start": start, "end": round(start / 10, 6)}
        kind: Literal["mlp", "dcgan", "r3gan"] = "mlp"
        why = "dense: on a CPU it sees several times the images a second of a convolutional one"
    elif seen.count >= 20_000 and min(height, width) >= 32:
        whence = "that of configs/cifar10.py"
        wide, rates, gamma, kind = 192, {"start": 2e-4, "end": 5e-5}, 0.05, "r3gan"
        why = "R3GAN's, for 20,000 images and more (configs/cifar10.py)"
    else:
        wide, rates, gamma, kind = 64, {"start": 2e-4, "end": 5e-5}, 1.0, "dcgan"
        whence = "that of configs/folder.py"
        why = "convolutions, for fewer than 20,000 or small images (configs/folder.py)"
    changed = {
        "model.architecture": kind,
        "model.g_width": wide,
        "model.d_width": wide,
        "model.dtype": "float32" if platform == "cpu" else "bfloat16",
        "optimizer.g_lr": rates,
        "optimizer.d_lr": rates,
        "penalty.r1": gamma,
        "penalty.r2": gamma,
    }
    return changed, [
        ("networks", f"{kind}, width {wide}", why),
        ("learning rate", f"{rates['start']:g} to {rates['end']:g}", whence),
        ("gamma", f"{gamma:g}", "relativistic pairing with R1 and R2: no collapse over a wide range of weights"),
    ]


def _batch(seen: Survey, platform: str, devices: int, changes: dict[str, Any]) -> Part:
    batch = max(64, PER_DEVICE * devices)
    batch = math.ceil(batch / devices) * devices
    why = "64, a batch of the recipe" if batch == 64 else f"{batch // devices} a device, and a multiple of {devices}"
    return {"data.batch_size": batch}, [("batch", str(batch), why)]


def _length(seen: Survey, platform: str, devices: int, changes: dict[str, Any]) -> Part:
    table = LENGTHS if platform == "cpu" else LENGTHS_ELSEWHERE
    images = next(length for count, length in table if seen.count < count)
    average = round(images * AVERAGE)
    changed = {
        "total_images": images,
        "ema_half_life": average,
        "log.samples_images": max(1, images // 10),
        "log.checkpoint_images": max(1, images // 10),
        "log.metrics_images": max(1, images // 100),
    }
    epochs = images / seen.count
    return changed, [
        ("length", f"{images:,} images", f"each is seen {epochs:,.3g} times; longer with --config.total_images"),
        ("average", f"{average:,} images", "half-life of the generator's average: a fortieth of the run"),
    ]


def _augmentation(seen: Survey, platform: str, devices: int, changes: dict[str, Any]) -> Part:
    names = next(names for count, names in AUGMENTED if seen.count < count)
    names = GREY.get(names, names) if seen.channels == 1 else names
    if not names:
        return {}, [("augmentation", "none", f"{seen.count:,} images are enough to do without")]
    why = "so few images would be learnt by heart; DiffAugment, for D and G alike"
    return {"augment.method": "diffaugment", "augment.transforms": names}, [("augmentation", names, why)]


AUTO = "auto:"  # --config=auto:DATASET


def suggest_config(dataset: str | Path, tell: Callable[[str], None] | None = print) -> Config:
    """A config for a set of images, chosen from tables by what the images and the devices are like.

    Args:
        dataset: a folder of images, a folder of idx files, an .npz file, "digits" or "tfds:NAME".
        tell: is given the reasons, and what the run will take; None = nothing is said or measured.

    Raises:
        InputError: the set cannot be read.
    """
    suggestion = suggest(dataset)
    if tell is not None:
        tell(suggestion.text())
        tell(estimate(suggestion.config).text())
    return suggestion.config


def auto_config(name: str, overrides: Sequence[str]) -> Config:
    """What `--config=auto:DATASET` stands for, with overrides; prints why, and what the run will take."""
    suggestion = suggest(name.removeprefix(AUTO))
    config = suggestion.config.replace(split_overrides(overrides))
    if jax.process_index() == 0:
        print(suggestion.text(), flush=True)
    found = estimate(config)
    if jax.process_index() == 0:
        print(found.text(), flush=True)
    return config


def auto_workdir(name: str) -> Path:
    """Where such a run goes if no --workdir is given: runs/NAME."""
    plain = Path(name.removeprefix(AUTO).removeprefix("tfds:").rstrip("/"))
    return Path("runs") / (plain.resolve().name if plain.name in ("", ".", "..") else plain.stem)
