"""Labels for images that have none, from the few that have one: what a class-conditional GAN can then be trained on.

Imports config, data, recognition and this room.
"""

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.augmentation.classifier import Classifier, Images, train_classifier
from gan_jax.augmentation.files import config_of
from gan_jax.config import Config
from gan_jax.data.arrays import ArraySource, balanced_rows, in_memory
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.metrics.storage import write_bytes
from gan_jax.recognition import semi
from gan_jax.recognition.probe import balanced, load_labelled
from gan_jax.runtime.files import writing

SEMI: dict[str, Callable[..., Any]] = {"gan": semi.semi_supervised, "fixmatch": semi.fixmatch}
METHODS = ("curriculum", *SEMI, "classifier")
STEPS = {"curriculum": 500, "gan": 3_000, "fixmatch": 3_000, "classifier": 1_000}
_ROUNDS = (0.2, 0.4, 0.6, 0.8)  # of the curriculum: part of each class whose labels are believed, the surest first
_BESIDE = 0.75  # of a batch that these images fill


@dataclasses.dataclass(frozen=True, eq=False)
class Inferred:
    """A label for every image.

    Attributes:
        labels: int32 [N]; of known images the given one.
        confidence: float32 [N], the method's probability of that label; 1 for known ones.
        known: bool [N], whether the label was given.
    """

    labels: np.ndarray
    confidence: np.ndarray
    known: np.ndarray


def infer(
    images: np.ndarray, rows: np.ndarray, labels: np.ndarray, classes: int, method: str, steps: int, seed: int
) -> Inferred:
    """Labels all images by what a few of them are.

    Args:
        images: uint8 [N, H, W, C].
        rows: int [n], those whose label is given.
        labels: int [n], these labels.
        classes: K.
        method: "curriculum": a CNN, trained anew in rounds on the labels that the one before is surest of
            (Cascante-Bonilla et al. 2021); "gan": Improved-GAN, a discriminator with a logit a class that also sees all
            images; "fixmatch": the same network without a generator, taught by its sure guesses; "classifier": a CNN
            that sees the n alone.
        steps: of the training; of the curriculum, of each of its five.
        seed: of it.
    """
    known = np.zeros(len(images), bool)
    known[rows] = True
    # Rare classes come as often: a method that is shown few of them calls little by their name.
    even = balanced_rows(ArraySource({"image": images[rows], "label": labels}, classes), 1)
    given_rows, given_labels = rows[even], labels[even].astype(np.int32)
    if method in ("classifier", "curriculum"):
        rounds = _ROUNDS if method == "curriculum" else ()
        given = Images(images[given_rows], given_labels)
        shares = _in_rounds(given, images[~known], rounds, classes, steps, seed).probabilities(images)
    else:
        source = semi.with_known(images, given_rows, given_labels, tuple(map(str, range(classes))))
        height, width, channels = images.shape[1:]
        size = {"data.image_size": (height, width), "data.channels": channels, "seed": seed}
        gan = SEMI[method](Config().replace(semi.improved_gan(steps) | size), source, steps)
        shares = np.asarray(jax.nn.softmax(semi.class_logits(gan, images)))
    found = shares.argmax(axis=1).astype(np.int32)
    confidence = shares.max(axis=1).astype(np.float32)
    found[rows], confidence[rows] = labels, 1.0
    return Inferred(found, confidence, known)


def _in_rounds(
    given: Images, others: np.ndarray, rounds: Sequence[float], classes: int, steps: int, seed: int
) -> Classifier:
    """A classifier of labelled images, then one a round of those and the others that the last one was surest of."""
    classifier = train_classifier([(given, 1.0)], classes, steps, seed, classic=True)
    for number, part in enumerate(rounds, 1):
        shares = classifier.probabilities(others)
        called = shares.argmax(axis=1).astype(np.int32)
        surest = []
        for name in np.unique(called):  # class by class, or the easy ones would crowd out the others
            mine = np.flatnonzero(called == name)
            order = np.argsort(-shares[mine, name], kind="stable")
            surest.append(mine[order[: int(np.ceil(part * len(mine)))]])
        chosen = np.sort(np.concatenate(surest))
        parts = [(given, 1 - _BESIDE), (Images(others[chosen], called[chosen]), _BESIDE)]
        classifier = train_classifier(parts, classes, steps, seed + number, classic=True)
    return classifier


def label_file(
    config: Config,
    out: str | Path,
    *,
    labels: int = 0,
    unlabelled: str = "",
    method: str = "curriculum",
    steps: int = 0,
    seed: int = 0,
    confidence: float = 0.0,
) -> dict[str, float]:
    """Writes an .npz whose every image has a label, given or inferred, for `config.data.source=npz`.

    Arrays: images, labels, known, confidence, class_names, and test_images, test_labels as they were.

    Args:
        config: whose data are the labelled images.
        out: the .npz.
        labels: so many of their labels count as given, evenly drawn; the other images join the unlabelled. 0 = all.
        unlabelled: a folder or an .npz of images without labels.
        method: see `infer`.
        steps: of the training; 0 = the method's own number.
        seed: of the draw and the training.
        confidence: images whose inferred label is less sure are left out.

    Returns:
        "known", "inferred", "left_out": how many; "confidence": mean of the inferred; "right": percent of inferred
        labels that are right, where labels were only set aside.

    Raises:
        InputError: there is nothing to label, or the images do not fit together.
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise InputError(f"--out={out}: give a file that ends in .npz")
    if not 0 <= confidence < 1:
        raise InputError(f"--confidence={confidence:g} is a probability: give 0 to 1")
    if method not in METHODS:
        raise InputError(f"--method={method}: choose of {', '.join(METHODS)}")
    data = load_labelled(config)
    rows = balanced(data.labels, labels, seed) if labels else np.arange(len(data.labels))
    images, truth = data.train, data.labels
    if unlabelled:
        images = np.concatenate([images, _images_of(unlabelled, config, images.shape[1:])])
    if len(rows) == len(images):
        raise InputError("every image has its label already: give --unlabelled=FOLDER, or keep few of them by --labels")
    found = infer(images, rows, data.labels[rows], data.num_classes, method, steps or STEPS[method], seed)
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    sure = found.confidence >= confidence
    arrays = {
        "images": images[sure],
        "labels": found.labels[sure],
        "known": found.known[sure],
        "confidence": found.confidence[sure],
        "class_names": np.array(data.class_names),
        "test_images": data.test,
        "test_labels": data.test_labels,
    }
    with writing(out):
        write_bytes(out, _packed(arrays))
    return _facts(found, sure, truth)


def _images_of(path: str, config: Config, shape: tuple[int, ...]) -> np.ndarray:
    """All training images of a folder or an .npz, of one shape."""
    settings = config_of(config, path).data
    found: np.ndarray = in_memory(load_source(settings, "train"), config.data.threads).arrays["image"]
    if found.shape[1:] != shape:
        raise InputError(f"--unlabelled={path}: images of {found.shape[1:]}, the labelled of {shape}")
    return found


def _facts(found: Inferred, sure: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """What `label_file` tells of its labels; `truth` is that of the first images."""
    inferred = sure & ~found.known
    facts = {"known": float(found.known.sum()), "inferred": float(inferred.sum()), "left_out": float((~sure).sum())}
    facts["confidence"] = float(found.confidence[inferred].mean()) if inferred.any() else 0.0
    aside = inferred[: len(truth)]
    if aside.any():
        facts["right"] = float(100 * np.mean(found.labels[: len(truth)][aside] == truth[aside]))
    return facts


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
