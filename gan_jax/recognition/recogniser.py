"""A classifier to keep: a discriminator's features and a linear layer, in one file of the workdir.

Imports adversarial, data, gan, metrics, runtime and this room.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from gan_jax.adversarial.state import Average, Net
from gan_jax.data.images import decode_file
from gan_jax.data.sounds import read_sound
from gan_jax.errors import InputError
from gan_jax.gan import Gan, open_program
from gan_jax.metrics.storage import flatten, load_arrays, save_arrays, unflatten
from gan_jax.recognition.features import Standardised, trunk
from gan_jax.recognition.machines import fit
from gan_jax.runtime.files import writing

FILE = "recogniser.npz"  # in the workdir
_KIND = "recogniser of rooted features"  # those of older versions saw other features


@dataclasses.dataclass(frozen=True, eq=False)
class Recogniser:
    """A trained classifier.

    Attributes:
        gan: the pair whose discriminator looks; its generator may be empty.
        scale: of the features.
        weights: float32 [F, K].
        bias: float32 [K].
        facts: "step" of the pair, "labels" it learned from, "accuracy" on the test images in percent.
    """

    gan: Gan
    scale: Standardised
    weights: np.ndarray
    bias: np.ndarray
    facts: dict[str, Any]

    @property
    def class_names(self) -> tuple[str, ...]:
        """One a class, in the order of the probabilities."""
        return self.gan.class_names

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C) of the images, (L, C) of signals."""
        return self.gan.shape

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probability of each class, float32 [N, K].

        Args:
            images: uint8 [N, H, W, C], or signals float32 [N, L, C].

        Raises:
            InputError: images of another shape or type.
        """
        images = np.asarray(images)
        dtype = np.uint8 if len(self.shape) == 3 else np.float32
        if images.dtype != dtype or images.shape[1:] != self.shape or not len(images):
            wanted = f"{np.dtype(dtype)} [N, {', '.join(map(str, self.shape))}]"
            raise InputError(f"images must be {wanted}, not {images.dtype} {list(images.shape)}")
        scores = self.scale(trunk(self.gan)(images)) @ self.weights + self.bias
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The likeliest class of each image, int [N]; see `probabilities`."""
        return self.probabilities(images).argmax(axis=1)


def teach(gan: Gan, scale: Standardised, features: np.ndarray, labels: np.ndarray, seed: int = 0) -> Recogniser:
    """Fits multinomial logistic regression, its penalty chosen on a part of the labels.

    Args:
        gan: the pair.
        scale: of its features.
        features: standardised, float32 [N, F].
        labels: int [N]; every class occurs.
        seed: of the part of the labels.
    """
    machine: LogisticRegression = fit("logistic", features, labels, seed)
    weights, bias = machine.coef_.T, machine.intercept_
    if weights.shape[1] == 1:  # two classes have one column: their difference
        weights, bias = np.concatenate([-weights, weights], 1) / 2, np.concatenate([-bias, bias]) / 2
    facts = {"step": gan.step, "labels": len(labels)}
    return Recogniser(gan, scale, weights.astype(np.float32), bias.astype(np.float32), facts)


def save_classifier(recogniser: Recogniser, workdir: Path) -> Path:
    """Writes the classifier into the workdir of its pair; its discriminator's weights too, since checkpoints pass.

    Raises:
        InputError: the file cannot be written.
    """
    gan, path = recogniser.gan, workdir / FILE
    tree = {
        "params": _arrays(gan.d.params),
        "stats": _arrays(gan.d.stats),
        "head": {"weights": recogniser.weights, "bias": recogniser.bias},
        "scale": {"mean": recogniser.scale.mean, "spread": recogniser.scale.spread},
    }
    facts = {**recogniser.facts, "kind": _KIND, "class_names": list(gan.class_names)}
    with writing(path):
        save_arrays(path, flatten(tree), facts)
    return path


def load_classifier(workdir: str | Path) -> Recogniser:
    """Loads what `python -m gan_jax.recognize --workdir=WORKDIR --task=probe` left there.

    Raises:
        InputError: there is none, it is damaged, or the workdir is of another run.
    """
    path = Path(workdir) / FILE
    program, _ = open_program(Path(workdir))
    if not path.exists():
        raise InputError(f"{path} is missing: python -m gan_jax.recognize --workdir={workdir} --task=probe makes it")
    arrays, facts = load_arrays(path)
    tree = unflatten(arrays)
    if facts.pop("kind", None) != _KIND or not {"params", "head", "scale"} <= set(tree):
        raise InputError(f"{path} is no classifier of gan_jax.recognize: remove it and run --task=probe again")
    net = Net(tree["params"], tree.get("stats", {}), ())
    gan = Gan(program, Average({}, {}), net, tuple(facts.pop("class_names")), facts["step"])
    scale = Standardised(**tree["scale"])
    return Recogniser(gan, scale, tree["head"]["weights"], tree["head"]["bias"], facts)


def open_example(path: Path, recogniser: Recogniser) -> np.ndarray:
    """One image file as the run's images are, uint8 [1, H, W, C], or one sound, float32 [1, L, 1].

    Raises:
        InputError: it cannot be read.
    """
    shape = recogniser.shape
    if len(shape) == 2:
        try:
            return read_sound(str(path), shape[0], recogniser.gan.config.data.sample_rate)[None]
        except InputError:
            raise
        except Exception as error:  # soundfile's are of several types
            raise InputError(f"--predict={path}: cannot be read as a sound ({error})") from None
    try:
        return decode_file(path, (shape[0], shape[1]), shape[2])[None]  # [H, W, C] -> [1, H, W, C]
    except Exception as error:  # Pillow's are of many types
        raise InputError(f"--predict={path}: cannot be read as PNG, JPEG or WebP ({error})") from None


def _arrays(tree: Any) -> dict[str, Any]:
    """A tree of device arrays as nested dicts of NumPy arrays."""
    return {name: _arrays(value) if hasattr(value, "items") else np.asarray(value) for name, value in tree.items()}
