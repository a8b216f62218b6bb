"""Suite `digits`: does the README's first command make digits? Judged by scikit-learn's support vector machine."""

import functools
import tempfile
import time
from typing import Any

import jax
import numpy as np

from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.suite import Arm, Outcome, Range, Suite, Tolerance, config_recipe
from gan_jax.config import Config
from gan_jax.data.sources import load_source
from gan_jax.metrics.memorisation import memorisation
from gan_jax.runtime.pictures import to_uint8
from gan_jax.training import train

SAMPLES = 1_000


def score(images: np.ndarray) -> dict[str, float]:
    """What the machine trained on real labels says of samples, and whether they are copies.

    Args:
        images: uint8 [N, 8, 8, 1].

    Returns:
        Least and largest share of a class in percent, mean of the largest class probability (0 to 1), and the
        memorisation check against the training images.
    """
    probabilities = _machine().predict_proba(_pixels(images))  # [N, 10]
    shares = 100 * np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(images)
    return {
        "class_share_min": float(shares.min()),
        "class_share_max": float(shares.max()),
        "svm_confidence": float(probabilities.max(axis=1).mean()),
        **memorisation(images, _split("test")["image"], _split("train")["image"])._asdict(),
    }


def _config(dtype: str = "float32") -> Config:
    return checkout_config("digits").replace({"model.dtype": dtype})


def _ours(seed: int, dtype: str = "float32") -> Outcome:
    """Trains as gan_jax.main would, in a folder that is removed afterwards."""
    config = _config(dtype).replace({"seed": seed})
    with tempfile.TemporaryDirectory(prefix="gan_jax_digits_") as workdir:
        start = time.perf_counter()
        gan = train(config, workdir)
        seconds = time.perf_counter() - start
    samples = np.asarray(gan.sample(jax.random.key(seed), SAMPLES))
    if np.isfinite(samples).all():
        metrics = score(to_uint8(samples))
    else:  # diverged: no figure can be had
        metrics = dict.fromkeys(score(_split("test")["image"]), float("nan"))
    return Outcome(metrics, seconds, config.total_steps * config.images_per_step)


def _control_real(seed: int) -> Outcome:
    """The held-out images as if they were samples; the seed changes nothing."""
    start = time.perf_counter()
    metrics = score(_split("test")["image"])
    return Outcome(metrics, time.perf_counter() - start, 0)


@functools.cache
def _machine() -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    train_split = _split("train")
    # Platt's probabilities from 5 folds, as SVC(probability=True) gave them until scikit-learn 1.9.
    machine = CalibratedClassifierCV(SVC(kernel="rbf", gamma="scale"), ensemble=False)
    return machine.fit(_pixels(train_split["image"]), train_split["label"])


@functools.cache
def _split(split: str) -> dict[str, np.ndarray]:
    source = load_source(checkout_config("digits").data, split)
    return source.read(np.arange(len(source)))


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255.0  # [N, 8, 8, 1] -> [N, 64]


_GOOD = {"class_share_min": Range(3.0, 100.0), "svm_confidence": Range(0.8, 1.0), "nn_ratio": Range(0.5, 2.0)}

SUITE = Suite(
    name="digits",
    headline=("class_share_min", "svm_confidence", "nn_ratio"),
    description=(
        "scikit-learn's 8x8 digits. A support vector machine (RBF, Platt's probabilities) trained on the 1,437 real"
        f" training labels labels {SAMPLES:,} samples of the averaged generator. class_share_*: least and largest share"
        " of a class, percent. svm_confidence: mean of the largest class probability, 0 to 1. nn_ratio: median distance"
        " to the nearest training image over that of held-out images; near 0 = copies, about 1 = none. seconds: of"
        " training, compilation, pictures and checkpoints included."
    ),
    arms={
        "ours": Arm(
            "`configs/digits.py` as it is.",
            _ours,
            lambda: config_recipe(_config()),
        ),
        "bfloat16": Arm(
            "the same with `--config.model.dtype=bfloat16`: the networks compute in bfloat16; weights, Adam, losses and"
            " penalties stay float32. A CPU gains no speed by it.",
            functools.partial(_ours, dtype="bfloat16"),
            lambda: config_recipe(_config("bfloat16")),
        ),
        "control_real": Arm("the 360 held-out images in place of samples.", _control_real),
    },
    protocol=lambda: {"samples": SAMPLES},
    checks={
        "ours": _GOOD,
        "bfloat16": _GOOD,
        "control_real": {
            "class_share_min": Tolerance(absolute=0.3),
            "svm_confidence": Tolerance(absolute=0.01),
            "nn_ratio": Tolerance(absolute=1e-6),
        },
    },
)
