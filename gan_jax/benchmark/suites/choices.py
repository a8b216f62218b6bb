"""Suite `choices`: which regulariser and which batch help, on few images and on many?"""

import dataclasses
import functools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.benchmark.loss_recipes import Settings
from gan_jax.benchmark.suite import Arm, Outcome, Suite, config_recipe
from gan_jax.benchmark.suites import stability
from gan_jax.benchmark.sweeping import distances
from gan_jax.config import Config
from gan_jax.data.sources import load_source

# By name: a line of text, and changes of the default recipe. Weights and probabilities are those of the papers.
ARMS: dict[str, tuple[str, Settings]] = {
    "ours": ("the default.", {}),
    "diffaugment": ("DiffAugment: brightness and contrast, translation, cutout.", {"augment.method": "diffaugment"}),
    "translation": (
        "DiffAugment's translation alone.",
        {"augment.method": "diffaugment", "augment.transforms": "translation"},
    ),
    "ada": (
        "adaptive ADA without flips and turns; p can go from 0 to 1 in half of the run.",
        {"augment.method": "ada", "augment.adaptive": True, "augment.adaptive_images": 50_000},
    ),
    "bcr": ("balanced consistency of weight 10 under translation.", {"penalty.bcr": 10.0}),
    "lecam": ("LeCam of weight 0.1.", {"penalty.lecam": 0.1}),
    "minibatch_std": ("minibatch standard deviation over groups of 4.", {"model.minibatch_std": 4}),
    "weak_penalty": ("R1 and R2 of a tenth of the weight.", {"penalty.r1": 0.1, "penalty.r2": 0.1}),
    "batch_16": ("batches of 16 in place of 64: four times as many updates.", {"data.batch_size": 16}),
    "batch_256": ("batches of 256: a quarter of the updates.", {"data.batch_size": 256}),
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules, the same for every arm.

    Attributes:
        base: gives the config, its narrow networks and the judge.
        images: of a run.
        few: training images of the small set; the large one is all.
        together: seeds that are trained as one population.
    """

    base: stability.Protocol = dataclasses.field(default_factory=stability.Protocol)
    images: int = 100_000
    few: int = 1_000
    together: int = 3

    def facts(self) -> dict[str, Any]:
        """What the figures rest on, for the file."""
        judged = {name: value for name, value in self.base.facts().items() if name in ("samples", "features")}
        return {**self.base.changes, "images": self.images, "few": self.few, **judged}

    def config(self, arm: str) -> Config:
        """The config of an arm on all images."""
        return self.base.untouched("ours").replace({"total_images": self.images, **ARMS[arm][1]})


def measure(protocol: Protocol, arm: str, seed: int) -> dict[int, Outcome]:
    """Trains an arm with a population of seeds, on all images and on the first few of a fixed shuffle."""
    start, config = time.perf_counter(), protocol.config(arm)
    first = seed - seed % protocol.together
    seeds = range(first, first + protocol.together)
    with tempfile.TemporaryDirectory(prefix="gan_jax_choices_") as folder:
        path = _small_set(config, protocol.few, Path(folder))
        small = config.replace({"data.source": "npz", "data.path": str(path)})
        runs = {each: [one.replace({"seed": each}) for one in (config, small)] for each in seeds}
        found = distances([one for pair in runs.values() for one in pair], protocol.base.score)
    seconds = (time.perf_counter() - start) / len(seeds)
    return {
        each: Outcome({"fid_all": found[whole], "fid_few": found[few]}, seconds, 2 * protocol.images)
        for each, (whole, few) in runs.items()
    }


def _small_set(config: Config, count: int, folder: Path) -> Path:
    """Some training images as a file, the same for every arm and seed."""
    source = load_source(config.data, "train", 0)
    chosen = np.sort(np.random.default_rng(0).permutation(len(source))[:count])
    path = folder / "few.npz"
    np.savez(path, images=source.read(chosen)["image"])
    return path


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take one with little data."""

    def arm_of(name: str, text: str) -> Arm:
        def run(seed: int) -> Outcome:
            return measure(protocol, name, seed)[seed]

        def recipe() -> Mapping[str, Any]:
            return config_recipe(protocol.config(name), ["total_images"])

        return Arm(text, run, recipe, functools.partial(measure, protocol, name))

    return Suite(
        name="choices",
        description=_describe(protocol),
        arms={name: arm_of(name, text) for name, (text, _) in ARMS.items()},
        protocol=protocol.facts,
    )


def _describe(protocol: Protocol) -> str:
    base = protocol.base
    changes = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in base.changes.items())
    return (
        f"`configs/{base.config}.py` with {changes} and one change an arm, {protocol.images:,} images shown to D."
        f" fid_all: trained on all training images; fid_few: on {protocol.few:,} of them, each seen"
        f" {protocol.images // protocol.few} times. Both: Fréchet distance of {base.count:,} samples of the averaged"
        " generator to held-out images in the classifier's features (features: its sha256), at the end of the run. The"
        " learning rates are not tuned to the arm."
    )


SUITE = make_suite(Protocol())
