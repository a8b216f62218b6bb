"""Suite `quality`: which recipe makes the best Fashion-MNIST images in ten minutes on this machine?"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.checkout import ROOT, checkout_config
from gan_jax.benchmark.clock import train_to
from gan_jax.benchmark.plots import draw_curves
from gan_jax.benchmark.rivals import arm_config, arm_texts
from gan_jax.benchmark.suite import Arm, Outcome, Suite, Tolerance
from gan_jax.benchmark.suites import pace
from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.evaluation.judges import Judge
from gan_jax.evaluation.making import make_judge
from gan_jax.gan import from_state
from gan_jax.metrics.classifier import load_classifier
from gan_jax.metrics.frechet import moments_of
from gan_jax.program import build, steps_per_call
from gan_jax.runtime.mesh import batch_sharding, make_mesh
from gan_jax.runtime.pictures import to_uint8

FINAL = ("fid", "kid", "prdc", "classes", "memorisation")  # scores at the last mark; the others get "fid"


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules, the same for every arm.

    Attributes:
        config: name of the recommended config, which is arm `ours` and names the data.
        features: classifier file, from the root of the checkout.
        pace: file of suite pace, from the root of the checkout.
        marks: seconds of training, at that pace, at which samples are scored.
        count: samples a score, against at most as many test images.
    """

    config: str = "fashion_mnist"
    features: Path = Path("benchmarks/features/fashion_mnist.npz")
    pace: Path = Path("benchmarks/pace.json")
    marks: tuple[int, ...] = (60, 120, 300, 600)
    count: int = 10_000

    def steps(self, arm: str) -> list[int]:
        """Steps that an arm does until each mark at its committed pace: whole calls of the compiled step.

        Raises:
            InputError: no pace of the arm as it is now is committed.
        """
        config, seconds = arm_config(self.config, arm), pace.median_step_seconds(ROOT / self.pace, self.config, arm)
        call = steps_per_call(config)
        return [call * max(1, round(mark / seconds / call)) for mark in self.marks]

    def facts(self) -> dict[str, Any]:
        """What the figures rest on, for the file: the weights of the feature network above all."""
        network = load_classifier(self._features()).network
        return {"marks": list(self.marks), "samples": self.count, "features": network.digest}

    @functools.cached_property
    def judge(self) -> Judge:
        """The real images, seen through the pinned classifier.

        Raises:
            InputError: data or classifier are missing.
        """
        settings = dataclasses.replace(
            Config().evaluation, features="classifier", path=str(self._features()), count=self.count
        )
        return make_judge(checkout_config(self.config).data, settings)

    @functools.cached_property
    def floor(self) -> float:
        """Fréchet distance of as many training images from the test images."""
        return self.judge.floor(("fid",), self.count)["fid"]

    def _features(self) -> Path:
        path = ROOT / self.features
        if not path.is_file():
            raise InputError(
                f"{self.features} is missing: python -m gan_jax.features --config=configs/{self.config}.py"
                f" --out={self.features}"
            )
        return path


def recipe(protocol: Protocol, arm: str) -> dict[str, Any]:
    """What a training arm's figures depend on."""
    return pace.recipe(protocol.config, arm) | {"steps": protocol.steps(arm)}


def train_arm(protocol: Protocol, arm: str, seed: int) -> Outcome:
    """Trains an arm for as long as the clock of suite pace allows, scoring its averaged generator at the marks."""
    judge, marks, steps, mesh = protocol.judge, protocol.marks, protocol.steps(arm), make_mesh()
    config = arm_config(protocol.config, arm).replace({"seed": seed})
    # Schedules end with the run.
    config = config.replace({"total_images": steps[-1] * config.images_per_step})
    source = load_source(config.data, "train", seed)
    program = build(config, source.shape, source.num_classes, mesh)
    metrics: dict[str, float] = {}

    def on_mark(number: int, state: Any) -> None:
        last = number == len(marks) - 1
        samples = np.asarray(from_state(program, state, ()).sample(jax.random.key(seed), protocol.count))
        found = _scores(judge, samples, FINAL if last else ("fid",))
        metrics[f"fid_{marks[number]}s"] = found.pop("fid")
        metrics.update(found)
        print(f"  {arm} after {steps[number]:,} steps: fid {metrics[f'fid_{marks[number]}s']:.4g}", flush=True)

    lead = program.passes, program.micro_batch
    with Pipeline(source, config.data, seed, *lead, batch_sharding(mesh, axis=1)) as pipeline:
        train_to(program, pipeline, seed, steps, on_mark)
    metrics |= {"floor": protocol.floor, f"images_{marks[-1]}s": config.total_images}
    return Outcome(metrics, marks[-1], config.total_images)


def control(
    protocol: Protocol, draw: Callable[[Judge, np.random.Generator, int], tuple[np.ndarray, Judge]], seed: int
) -> Outcome:
    """Scores a sampler that does not train, so one distance stands at every mark."""
    samples, judge = draw(protocol.judge, np.random.default_rng(seed), protocol.count)
    found = _scores(judge, samples, FINAL)
    fid = found.pop("fid")
    return Outcome({f"fid_{mark}s": fid for mark in protocol.marks} | found | {"floor": protocol.floor}, 0.0, 0)


def repeat_training(judge: Judge, rng: np.random.Generator, count: int) -> tuple[np.ndarray, Judge]:
    """Training images drawn with replacement: good by every distance, and what the memorisation check is for."""
    return judge.train[rng.integers(0, len(judge.train), count)], judge


def pixel_gaussian(judge: Judge, rng: np.random.Generator, count: int) -> tuple[np.ndarray, Judge]:
    """Draws from the Gaussian with the training pixels' mean and full covariance, clipped to the range of bytes."""
    pixels = moments_of(judge.train.reshape(len(judge.train), -1))  # [M, H, W, C] -> [M, H*W*C]
    drawn = rng.multivariate_normal(pixels.mean, pixels.covariance, count, check_valid="ignore", method="eigh")
    return np.clip(np.round(drawn), 0, 255).astype(np.uint8).reshape(count, *judge.train.shape[1:]), judge


def real_images(judge: Judge, rng: np.random.Generator, count: int) -> tuple[np.ndarray, Judge]:
    """A perfect sampler: real images, which the memorisation check does not count among those trained on."""
    order = rng.permutation(len(judge.train))
    count = min(count, len(order) // 2)
    return judge.train[order[:count]], dataclasses.replace(judge, train=judge.train[np.sort(order[count:])])


CONTROLS = {
    "control_repeat": (
        "repeats random training images; the memorisation check must catch it (nn_ratio 0).",
        repeat_training,
    ),
    "control_gaussian": (
        "a Gaussian with the training images' mean and full covariance of pixels, clipped.",
        pixel_gaussian,
    ),
    "control_real": (
        "real training images, which the memorisation check then leaves out: floor and ceiling.",
        real_images,
    ),
}


def _scores(judge: Judge, samples: np.ndarray, metrics: tuple[str, ...]) -> dict[str, float]:
    """Scores by name; not a number for a generator that diverged."""
    if np.isfinite(samples).all():
        found = judge.scores(to_uint8(samples), metrics)
    else:
        found = dict.fromkeys(judge.scores(judge.held_out, metrics), float("nan"))
    found.pop("count")
    return found


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take one with little data and short marks."""
    arms = {
        arm: Arm(text, functools.partial(train_arm, protocol, arm), functools.partial(recipe, protocol, arm))
        for arm, text in arm_texts(protocol.config).items()
    }
    arms |= {arm: Arm(text, functools.partial(control, protocol, draw)) for arm, (text, draw) in CONTROLS.items()}
    fids = {f"fid_{protocol.marks[-1]}s": Tolerance(relative=0.02), "floor": Tolerance(relative=0.02)}
    rest = {name: Tolerance(absolute=0.01) for name in ("precision", "recall", "coverage")} | {
        "nn_ratio": Tolerance(absolute=0.01),
        "class_share_min": Tolerance(absolute=0.2),
        "class_share_max": Tolerance(absolute=0.2),
    }
    return Suite(
        name="quality",
        description=_describe(protocol),
        arms=arms,
        protocol=protocol.facts,
        checks={arm: fids | rest for arm in CONTROLS},
        plots=_plot,
        headline=(f"fid_{protocol.marks[-1]}s", "floor", "coverage", "class_share_min", "class_share_max", "nn_ratio"),
    )


def _plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    label = "Fréchet distance, classifier features"
    return [draw_curves(dict(result), folder / "quality_fid.png", "fid", label, floor="floor")]


def _describe(protocol: Protocol) -> str:
    marks = ", ".join(str(mark) for mark in protocol.marks)
    make = f"python -m gan_jax.features --config=configs/{protocol.config}.py --out={protocol.features}"
    return (
        f"Equal wall-clock: every arm trains for as many steps as one machine does in {protocol.marks[-1]} s, and"
        f" {protocol.count:,} samples of its averaged generator are scored against as many test images after {marks} s."
        " The clock is that of suite pace, measured on an idle machine without compilation, scoring, logging or saving;"
        " by counting steps the figures come out the same on a busy machine, or another one. Schedules end with the run"
        f" (images_{protocol.marks[-1]}s). fid_Ns: Fréchet distance after N s in the features of a small"
        f" classifier, made by `{make}` and pinned by its sha256 (features); not comparable with Inception FID. floor:"
        " the same for real training images. precision, recall, density, coverage: k = 5, same features."
        " class_share_*: least and largest share of a class, percent. nn_ratio: median pixel distance to the nearest"
        " training image over that of test images; near 0 = copies. The rivals keep their published recipes, but are"
        " given an averaged generator too. Controls do not train, so one distance stands at every mark."
    )


SUITE = make_suite(Protocol())
