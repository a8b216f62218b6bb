"""Whether generated images help a classifier: trained on them alone, and beside real ones.

Every row is the same network, optimiser, batch and number of steps; only what fills the batch differs. Imports
recognition and this room.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.augmentation.classifier import Classifier, Images, train_classifier
from gan_jax.augmentation.files import config_of
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.recognition.probe import Labelled, load_labelled

STEPS, SHARE = 1_000, 0.5
RARE = 3  # classes with the fewest real images, whose mean accuracy is told apart


def labelled_set(config: Config, path: str = "") -> Labelled:
    """The real images with their labels, and test images.

    Args:
        config: of the run; of a file that `gan_jax.label` wrote only images whose label was given count as labelled.
        path: a folder or an .npz file in its place.

    Raises:
        InputError: it cannot be had, or has no labels.
    """
    if path:
        config = config_of(config, path)
    data = load_labelled(config)
    if config.data.source == "npz":
        with np.load(Path(config.data.path).expanduser(), allow_pickle=False) as archive:
            known = archive["known"] if "known" in archive.files else None
        if known is not None and len(known) == len(data.labels):
            data = dataclasses.replace(data, train=data.train[known], labels=data.labels[known])
    return data


def rarest(labels: np.ndarray, classes: int) -> np.ndarray:
    """The classes with the fewest images, the higher number first among equals."""
    counts = np.bincount(labels, minlength=classes)
    return np.sort(np.lexsort((-np.arange(classes), counts))[:RARE])


def accuracies(classifier: Classifier, test: Images, labels: np.ndarray, classes: int) -> dict[str, float]:
    """Test accuracy, and mean accuracy of the classes that are rarest among `labels`, in percent."""
    overall, by_class = classifier.accuracies(test.images, test.labels)
    rare = rarest(labels, classes)
    return {"accuracy": overall, "rare3_accuracy": float(by_class[rare].mean())}


def check_share(share: float) -> None:
    """Raises InputError if it is no part of a batch."""
    if not 0 < share < 1:
        raise InputError(f"--share={share:g} must lie between 0 and 1: the part of a batch that is generated")


def score(generated: Images, data: Labelled, steps: int = STEPS, share: float = SHARE, seed: int = 0) -> dict[str, Any]:
    """Test accuracies in percent with and without the generated images.

    Args:
        generated: the set.
        data: real images; its test images judge.
        steps: of every training, 64 images each.
        share: of a batch that generated images fill beside real ones.
        seed: of every training.

    Returns:
        "rows": {"real", "classic", "generated", "both"} -> accuracies; "cas" (that of generated alone), "gain" (both
        minus classic), and the counts they rest on.

    Raises:
        InputError: shapes or classes differ, or the share is no share.
    """
    check_share(share)
    if generated.images.shape[1:] != data.train.shape[1:]:
        raise InputError(
            f"generated images are {list(generated.images.shape[1:])}, the labelled ones {list(data.train.shape[1:])}:"
            " give images of the run's size"
        )
    if generated.labels.max() >= data.num_classes:
        raise InputError(f"the labelled set has {data.num_classes} classes, fewer than the generated one")
    real, test = Images(data.train, data.labels), Images(data.test, data.test_labels)
    beside = [(real, 1 - share), (generated, share)]
    mixes = {
        "real": ([(real, 1.0)], False),
        "classic": ([(real, 1.0)], True),
        "generated": ([(generated, 1.0)], False),
        "both": (beside, True),
    }
    rows = {}
    for name, (parts, classic) in mixes.items():
        classifier = train_classifier(parts, data.num_classes, steps, seed, classic=classic)
        rows[name] = accuracies(classifier, test, data.labels, data.num_classes)
        print(f"trained on {name}: {rows[name]['accuracy']:.2f} %", flush=True)
    return {
        "rows": rows,
        "cas": rows["generated"]["accuracy"],
        "gain": rows["both"]["accuracy"] - rows["classic"]["accuracy"],
        "real_images": len(real),
        "generated_images": len(generated),
        "test_images": len(data.test),
        "steps": steps,
        "share": share,
        "seed": seed,
    }


def table(found: dict[str, Any]) -> str:
    """The scores, a row a line, and what they say."""
    texts = {
        "real": "real",
        "classic": "real, moved and cut out",
        "generated": "generated alone (CAS)",
        "both": "real, moved and cut out, + generated",
    }
    lines = [f"{'trained on':42}{'accuracy %':>12}{'rarest 3 %':>12}"]
    lines += [
        f"{texts[name]:42}{row['accuracy']:12.2f}{row['rare3_accuracy']:12.2f}" for name, row in found["rows"].items()
    ]
    word = "better" if found["gain"] > 0 else "no better"
    lines.append(f"with generated images {found['gain']:+.2f}: {word}, in one training of {found['steps']:,} steps;")
    lines.append("a small difference may be chance: other seeds tell (--seed)")
    return "\n".join(lines)
