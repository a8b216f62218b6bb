"""Suite `modes`: which recipes find every mode, on sets whose modes can be counted?"""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.checkout import ROOT, checkout_config
from gan_jax.benchmark.plots import draw_dots
from gan_jax.benchmark.suite import Arm, Outcome, Suite, config_recipe
from gan_jax.config import Config
from gan_jax.data.sources import load_source
from gan_jax.data.toy import ToySource
from gan_jax.errors import InputError
from gan_jax.evaluation.judges import POINT_SETS, POINTS, score_points
from gan_jax.gan import from_state
from gan_jax.metrics.classifier import load_classifier
from gan_jax.metrics.modes import StackedModes, stacked_labels, stacked_modes
from gan_jax.population.members import make_population
from gan_jax.population.training import train_population
from gan_jax.program import build
from gan_jax.runtime.mesh import make_mesh
from gan_jax.runtime.pictures import to_uint8

# Adam of the DCGAN line of work, without schedules. PacGAN's own 1e-4 is made for 400,000 steps.
_CLASSIC: dict[str, Any] = {
    "optimizer.beta1": 0.5,
    "optimizer.beta2": 0.999,
    "penalty.r1": 0.0,
    "penalty.r2": 0.0,
}


def _constant(lr: float) -> dict[str, Any]:
    return {"optimizer.g_lr": lr, "optimizer.d_lr": lr}


# By name: a line of text, and changes of the set's recommended config, whose networks, batch and length all arms keep.
POINT_ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "minimax": ("the zero-sum game of Goodfellow et al. 2014, Adam 1e-3 (0.5, 0.999).", {"loss.name": "minimax"}),
    "nonsaturating": ("its non-saturating form, same Adam.", {"loss.name": "nonsaturating"}),
    "wgan_gp": (
        "WGAN-GP (Gulrajani et al. 2017): penalty 0.1, as its authors take for points, and 5 critic updates,"
        " Adam 1e-3 (0.5, 0.9). Its generator gets a fifth of the others' updates.",
        {"loss.name": "wasserstein", "penalty.wgan_gp": 0.1, "step.critic_steps": 5, "optimizer.beta2": 0.9},
    ),
    "pacgan2": (
        "PacGAN2 (Lin et al. 2018): the non-saturating form, D judges two examples at once, same Adam.",
        {"loss.name": "nonsaturating", "model.pack": 2},
    ),
    "r1": (
        "the non-saturating form with R1 (Mescheder et al. 2018), as strong as ours is at first, Adam 1e-3 (0, 0.99).",
        {"loss.name": "nonsaturating", "optimizer.beta1": 0.0, "optimizer.beta2": 0.99},
    ),
    "rpgan_r1r2": (
        "relativistic pairing with R1 and R2 (Huang et al. 2024), constant learning rate and penalties.",
        {"loss.name": "relativistic", "optimizer.beta1": 0.0, "optimizer.beta2": 0.99},
    ),
}
STACKED_ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "nonsaturating": ("the non-saturating loss, Adam 2e-4 (0.5, 0.999).", {"loss.name": "nonsaturating"}),
    "pacgan2": ("PacGAN2: the same, D judges two examples at once.", {"loss.name": "nonsaturating", "model.pack": 2}),
    "ours_quarter_d": ("ours with a D that has a quarter of G's parameters.", {}),
}
_STACKED_LR, _POINT_LR = 2e-4, 1e-3


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules, the same for every arm of a set.

    Attributes:
        sets: those of ring, grid and stacked that are measured; the recommended config of each is its arm `ours`.
        together: seeds of points that are trained side by side.
        stacked_seeds: seeds of stacked images, at most.
        stacks: samples of stacked images, and real stacks, whose modes are counted.
        base: whose images are stacked, as config.data.path takes it; empty = the stacked config's own.
        labeller: name of the config of the set that is stacked; the classifier is that of its features.
        features: classifier file, from the root of the checkout.
    """

    sets: tuple[str, ...] = (*POINT_SETS, "stacked")
    together: int = 10
    stacked_seeds: int = 3
    stacks: int = 26_000
    base: str = ""
    labeller: str = "fashion_mnist"
    features: Path = Path("benchmarks/features/fashion_mnist.npz")

    def ours(self, name: str) -> Config:
        """The recommended config of a set."""
        config = checkout_config(name)
        return config.replace({"data.path": self.base}) if name == "stacked" and self.base else config

    def arm_config(self, name: str, arm: str) -> Config:
        """The config of a set's arm."""
        ours = self.ours(name)
        if arm == "ours":
            return ours
        if arm == "ours_quarter_d":
            return ours.replace({"model.d_width": quarter_width(ours)})
        if name == "stacked":
            return ours.replace(_CLASSIC | _constant(_STACKED_LR) | STACKED_ARMS[arm][1])
        kept = {f"penalty.{r}": getattr(ours.penalty, r).start for r in PENALISED.get(arm, ())}
        return ours.replace(_CLASSIC | _constant(_POINT_LR) | kept | POINT_ARMS[arm][1])

    def facts(self) -> dict[str, Any]:
        """What the figures rest on, for the file."""
        facts: dict[str, Any] = {"samples": POINTS, "together": self.together}
        if "stacked" in self.sets:
            facts |= {"stacks": self.stacks, "features": self.classifier.digest}
        return facts

    @functools.cached_property
    def classifier(self) -> Any:
        """The pinned classifier of one channel.

        Raises:
            InputError: its file is missing or damaged.
        """
        path = ROOT / self.features
        if not path.is_file():
            raise InputError(
                f"{self.features} is missing: python -m gan_jax.features --config=configs/{self.labeller}.py"
                f" --out={self.features}"
            )
        return load_classifier(path).network

    @functools.cached_property
    def real(self) -> StackedModes:
        """What the classifier counts on real stacks of held-out images."""
        source = load_source(self.ours("stacked").data, "test", 0)
        return self.count(source.read(np.arange(min(self.stacks, len(source))))["image"])

    def count(self, images: np.ndarray) -> StackedModes:
        """Modes of stacks, uint8 [N, H, W, 3]."""
        return stacked_modes(stacked_labels(self.classifier, images))


PENALISED = {"r1": ("r1",), "rpgan_r1r2": ("r1", "r2")}


def quarter_width(config: Config) -> int:
    """The largest width of D with which it has at most a quarter of G's parameters."""

    def parameters(width: int) -> tuple[int, int]:
        changed = config.replace({"model.d_width": width})
        state = build(changed, (*config.data.image_size, 3), 1000, make_mesh(jax.local_devices()[:1])).abstract_state
        sizes = [sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(net.params)) for net in (state.g, state.d)]
        return sizes[0], sizes[1]

    low, high = 1, config.model.d_width  # d of `low` fits, that of `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        g, d = parameters(middle)
        low, high = (middle, high) if 4 * d <= g else (low, middle)
    return low


def train_points(protocol: Protocol, name: str, arm: str, seed: int) -> dict[int, Outcome]:
    """Trains the ten seeds of which `seed` is one side by side, so that their figures are those of any call.

    Returns:
        What each of them measures: 2,500 samples of the last averaged generator by PacGAN's protocol.
    """
    config = protocol.arm_config(name, arm)
    first = seed - seed % protocol.together
    seeds = range(first, first + protocol.together)
    source = load_source(config.data, "test", seed)
    assert isinstance(source, ToySource)
    population = make_population(
        [config.replace({"seed": number}) for number in seeds], source.shape, source.num_classes
    )
    start = time.perf_counter()
    states = train_population(population)
    seconds = (time.perf_counter() - start) / len(seeds)
    found = {}
    for index, number in enumerate(seeds):
        gan = from_state(population.program, population.member(states, index), ())
        metrics = score_points(np.asarray(gan.sample(jax.random.key(number), POINTS)), source)
        del metrics["count"]
        found[number] = Outcome(metrics, seconds, config.total_steps * config.images_per_step)
    return found


def train_stacked(protocol: Protocol, arm: str, seed: int) -> Outcome:
    """Trains an arm on stacked images and counts the modes of its averaged generator's samples."""
    real = protocol.real  # before the work: what is missing is said at once
    config = protocol.arm_config("stacked", arm).replace({"seed": seed})
    source = load_source(config.data, "train", seed)
    population = make_population([config], source.shape, source.num_classes)
    start = time.perf_counter()
    states = train_population(population)
    seconds = time.perf_counter() - start
    gan = from_state(population.program, population.member(states, 0), ())
    samples = np.asarray(gan.sample(jax.random.key(seed), protocol.stacks))
    found = protocol.count(to_uint8(samples)) if np.isfinite(samples).all() else StackedModes(0, math.nan)
    metrics = {"modes": found.modes, "kl": found.reverse_kl, "modes_real": real.modes, "kl_real": real.reverse_kl}
    return Outcome(metrics, seconds, config.total_steps * config.images_per_step)


def make_suite(protocol: Protocol, name: str = "modes") -> Suite:
    """The suite under a protocol; tests take one with short runs."""
    arms: dict[str, Arm] = {}
    for data in protocol.sets:
        ours = {"ours": (f"`configs/{data}.py` as it is.", dict[str, Any]())}
        for arm, (text, _) in ((STACKED_ARMS if data == "stacked" else POINT_ARMS) | ours).items():
            recipe = functools.partial(_recipe, protocol, data, arm)
            if data == "stacked":
                run = functools.partial(train_stacked, protocol, arm)
                arms[f"{data}_{arm}"] = Arm(text, run, recipe, seeds=protocol.stacked_seeds)
            else:
                together = functools.partial(train_points, protocol, data, arm)
                arms[f"{data}_{arm}"] = Arm(text, functools.partial(_one, together), recipe, together=together)
    return Suite(
        name=name,
        description=_describe(protocol),
        arms=arms,
        protocol=protocol.facts,
        plots=functools.partial(_plot, name, protocol.sets),
        headline=("modes", "high_quality", "reverse_kl", "spread_min", "spread_max", "kl", "modes_real"),
    )


def _one(together: Any, seed: int) -> Outcome:
    found: Outcome = together(seed)[seed]
    return found


def _recipe(protocol: Protocol, data: str, arm: str) -> dict[str, Any]:
    return config_recipe(protocol.arm_config(data, arm))


def _plot(name: str, sets: tuple[str, ...], result: Mapping[str, Any], folder: Path) -> list[Path]:
    metrics = ("modes", "high_quality", "reverse_kl", "spread_min", "spread_max", "kl")
    return [draw_dots(dict(result), folder / f"{name}.png", metrics, sets)]


def _describe(protocol: Protocol) -> str:
    points = (
        "Points of 8 Gaussians on a ring (standard deviation 0.01) and of 25 on a grid (0.05) by PacGAN's protocol"
        f" (Lin et al. 2018, section 4.1): 100,000 training points, {POINTS:,} samples of the last averaged generator,"
        " never the best. high_quality: percent of samples within 3 standard deviations of the nearest mean; 98.9 for a"
        " perfect sampler. modes: means with at least one such sample nearest to them. reverse_kl: of the shares of"
        " such samples against equal ones; 0.0014 on the ring and 0.0056 on the grid for a perfect sampler. spread_min,"
        " spread_max: standard deviation of the samples of a mode over that of its real points, smallest and largest of"
        " all modes; a perfect sampler's differ from 1 by chance, by 0.03 on the ring and 0.05 on the grid in one mode."
        " All arms of a set have the same networks, batch, averaging and number of real points, those of"
        " `configs/ring.py` and `configs/grid.py`. The networks are not PacGAN's: G takes most of its noise by sign and"
        " adds a linear map of the rest to its output, which suits modes that are alike in width and shape, as these"
        " are; D sees sines of its input (`model.latent_signs`, `model.latent_direct`, `model.d_octaves`). PacGAN shows"
        " 40 million points a run; these runs are shorter, so that all take a core about an hour."
        f" {protocol.together} seeds are trained in one call, and seconds is their share."
    )
    stacked = (
        f" Stacked images: three images of a set of ten classes as red, green and blue; {protocol.stacks:,} samples,"
        " each channel labelled by a pinned classifier (features). modes: of the 1,000 combinations, those that occur."
        " kl: of their shares against equal ones; 0.0192 on average for equal shares. modes_real, kl_real: the same"
        " classifier on as many real stacks of held-out images, the best that a generator can be expected to show."
        " Not comparable with tables of another data set or classifier."
    )
    return (points if set(POINT_SETS) & set(protocol.sets) else "") + (stacked if "stacked" in protocol.sets else "")


SUITE = make_suite(Protocol())
# StackedMNIST, for those who have MNIST in TensorFlow Datasets.
MNIST_SUITE = make_suite(
    Protocol(sets=("stacked",), base="tfds:mnist", labeller="mnist", features=Path("benchmarks/features/mnist.npz")),
    "modes_mnist",
)
