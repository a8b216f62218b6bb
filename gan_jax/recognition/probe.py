"""How well features recognise with few labels: subsets, classifiers, controls. Imports this room, data and errors."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gan_jax.config import Config
from gan_jax.data.arrays import in_memory
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.recognition.features import Describe, Standardised
from gan_jax.recognition.machines import fit

UNLABELLED = 10_000  # training images whose features set the scale of a feature


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """A labelled set in memory.

    Attributes:
        train: uint8 [N, H, W, C].
        labels: int32 [N].
        test: uint8 [M, H, W, C], looked at once a figure.
        test_labels: int32 [M].
        class_names: one a class.
    """

    train: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)


def load_labelled(config: Config) -> Labelled:
    """Both splits of a run's data; a fifth of the images, the same always, is the test set where there is no split.

    Raises:
        InputError: the data cannot be had, or have no labels.
    """
    source = in_memory(load_source(config.data, "train", config.seed), config.data.threads)
    if "label" not in source.arrays or source.num_classes < 2 or len(source.shape) == 1:
        raise InputError(
            f"config.data.source={config.data.source}: recognition needs images or signals with labels of two or more"
            " classes (a folder: one sub-folder a class)"
        )
    images, labels = source.arrays["image"], source.arrays["label"]
    try:
        test = in_memory(load_source(config.data, "test", config.seed), config.data.threads).arrays
        test_images, test_labels = test["image"], test["label"]
    except InputError:
        order = np.random.default_rng(0).permutation(len(images))
        held, kept = np.sort(order[: len(order) // 5]), np.sort(order[len(order) // 5 :])
        test_images, test_labels, images, labels = images[held], labels[held], images[kept], labels[kept]
    return Labelled(images, labels, test_images, test_labels, source.class_names)


def balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows of `count` labels, as many of each class; all rows if `count` is not below their number.

    Raises:
        InputError: a class has too few.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    classes, rng = np.unique(labels), np.random.RandomState(seed)
    each = count // len(classes)
    rows = [rng.permutation(np.flatnonzero(labels == c))[:each] for c in classes]
    if each < 2 or min(map(len, rows)) < each:
        raise InputError(f"{count} labels cannot be taken evenly from {len(classes)} classes of these data")
    return np.concatenate(rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Described:
    """Training and test images as vectors, with the mean and the spread of training images taken out.

    Attributes:
        train: float32 [N, F].
        test: float32 [M, F].
        scale: what took them out; None = they were left as they are.
    """

    train: np.ndarray
    test: np.ndarray
    scale: Standardised | None

    @classmethod
    def of(cls, data: Labelled, describe: Describe, rows: np.ndarray | None = None, scale: bool = True) -> "Described":
        """Describes both splits.

        Args:
            data: the set.
            describe: see `features.Describe`.
            rows: training images that are needed; the others stay 0. None = all.
            scale: False leaves the vectors as they are: gradient histograms come scaled.
        """
        unlabelled = data.train[np.random.default_rng(0).permutation(len(data.train))[:UNLABELLED]]
        needed = np.arange(len(data.train)) if rows is None else np.unique(rows)
        found, test = describe(data.train[needed]), describe(data.test)
        change = Standardised.to(describe(unlabelled)) if scale else None
        if change:
            found, test = change(found), change(test)
        train = np.zeros((len(data.train), found.shape[1]), np.float32)
        train[needed] = found
        return cls(train, test, change)


def accuracy(
    data: Labelled, described: Described, count: int, label_seeds: Sequence[int], families: Sequence[str]
) -> dict[str, float]:
    """Test accuracy in percent with `count` labels.

    Returns:
        "FAMILY": mean over label seeds; "FAMILY_seedS": each.
    """
    found: dict[str, float] = {}
    for family in families:
        values = []
        for seed in label_seeds:
            rows = balanced(data.labels, count, seed)
            machine = fit(family, described.train[rows], data.labels[rows], seed)
            right = float(100 * np.mean(machine.predict(described.test) == data.test_labels))
            found[f"{family}_seed{seed}"] = right
            values.append(right)
        found[family] = float(np.mean(values))
    return found
