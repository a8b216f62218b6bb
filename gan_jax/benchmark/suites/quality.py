"""Suite `quality`: which recipe makes the best Fashion-MNIST images in ten minutes on this machine?"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.checkout import ROOT, checkout_config
from gan_jax.benchmark.clock import step_seconds, train_for
from gan_jax.benchmark.plots import draw_curves
from gan_jax.benchmark.rivals import COMMON, RIVALS
from gan_jax.benchmark.suite import Arm, Outcome, Suite, Tolerance, config_recipe
from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.evaluation import Judge, make_judge
from gan_jax.gan import from_state
from gan_jax.metrics.classifier import load_classifier
from gan_jax.metrics.frechet import moments_of
from gan_jax.program import build
from gan_jax.runtime.mesh import batch_sharding, make_mesh
from gan_jax.runtime.pictures import to_uint8

FINAL = ("fid", "kid", "prdc", "classes", "memorisation")  # scores at the last mark; the others get "fid"


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules, the same for every arm.

    Attributes:
        config: name of the recommended config, which is arm `ours` and names the data.
        features: classifier file, from the root of the checkout.
        marks: seconds of training at which samples are scored.
        count: samples a score, against at most as many test images.
    """

    config: str = "fashion_mnist"
    features: Path = Path("benchmarks/features/fashion_mnist.npz")
    marks: tuple[int, ...] = (60, 120, 300, 600)
    count: int = 10_000

    def arm_config(self, arm: str) -> Config:
        """The config of an arm that trains; its length is set by the clock."""
        ours = checkout_config(self.config)
        if arm == "ours":
            return ours
        data = {f"data.{name}": getattr(ours.data, name) for name in ("source", "path", "image_size", "channels")}
        return Config().replace(data | COMMON | RIVALS[arm][1])

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
    """What a training arm's figures depend on; its length is the clock's."""
    return config_recipe(protocol.arm_config(arm), ["total_images"])


def train_arm(protocol: Protocol, arm: str, seed: int) -> Outcome:
    """Trains an arm by the clock, scoring its averaged generator at the marks."""
    config = protocol.arm_config(arm).replace({"seed": seed})
    judge, marks, mesh = protocol.judge, protocol.marks, make_mesh()
    source = load_source(config.data, "train", seed)
    metrics: dict[str, float] = {}
    program = build(config, source.shape, source.num_classes, mesh)
    lead = program.passes, program.micro_batch
    with Pipeline(source, config.data, seed, *lead, batch_sharding(mesh, axis=1)) as pipeline:
        # Schedules end with the clock: the length of the run is what the last mark allows at the measured pace.
        steps = max(1, round(marks[-1] / step_seconds(program, pipeline, marks[-1] / 60)))
        config = config.replace({"total_images": steps * config.images_per_step})
        program = build(config, source.shape, source.num_classes, mesh)

        def on_mark(number: int, state: Any, step: int) -> None:
            last = number == len(marks) - 1
            samples = np.asarray(from_state(program, state, ()).sample(jax.random.key(seed), protocol.count))
            found = _scores(judge, samples, FINAL if last else ("fid",))
            metrics[f"fid_{marks[number]}s"] = found.pop("fid")
            metrics.update(found)
            print(
                f"  {arm} after {marks[number]} s, {step:,} steps: fid {metrics[f'fid_{marks[number]}s']:.4g}",
                flush=True,
            )

        step, seconds = train_for(program, pipeline, seed, marks, on_mark)
    images = step * config.images_per_step
    metrics |= {"floor": protocol.floor, f"images_{marks[-1]}s": images, "schedule_images": config.total_images}
    return Outcome(metrics, seconds, images)


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
    trained: dict[str, tuple[str, dict[str, Any]]] = {
        "ours": (f"`configs/{protocol.config}.py` as it is.", {})
    } | RIVALS
    arms = {
        arm: Arm(
            trained[arm][0],
            functools.partial(train_arm, protocol, arm),
            functools.partial(recipe, protocol, arm),
        )
        for arm in (*RIVALS, "ours")
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
        f"Equal wall-clock: every arm trains for {protocol.marks[-1]} s on all of one machine's devices, and"
        f" {protocol.count:,} samples of its averaged generator are scored against as many test images after {marks} s."
        " The clock runs while steps run: it stands still while programs compile and while samples are scored, and"
        " nothing is logged or saved. Before it starts, at least 20 steps on a state that is thrown away measure the"
        " pace; the length of the run (schedule_images) is what the clock allows at that pace, so that schedules end"
        " with it; then training begins afresh. fid_Ns: Fréchet distance after N s in the features of a small"
        f" classifier, made by `{make}` and pinned by its sha256 (features); not comparable with Inception FID. floor:"
        " the same for real training images. precision, recall, density, coverage: k = 5, same features."
        " class_share_*: least and largest share of a class, percent. nn_ratio: median pixel distance to the nearest"
        " training image over that of test images; near 0 = copies. The rivals keep their published recipes, but are"
        " given an averaged generator too. Controls do not train, so one distance stands at every mark."
    )


SUITE = make_suite(Protocol())
