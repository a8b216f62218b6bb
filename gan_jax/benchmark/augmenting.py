"""What the suite `augmentation` compares: few labels, pairs trained on them, classifiers fed in different ways.

Imports augmentation, data, recognition, training and this room's checkout.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.augmentation import generation
from gan_jax.augmentation.classifier import Classifier, Images, train_classifier
from gan_jax.augmentation.labelling import Inferred, infer
from gan_jax.augmentation.scoring import accuracies
from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.suite import config_recipe
from gan_jax.config import Config
from gan_jax.data.arrays import ArraySource, balanced_rows
from gan_jax.gan import Gan
from gan_jax.metrics.reference import cache_folder
from gan_jax.metrics.storage import load_arrays, save_arrays
from gan_jax.recognition.probe import balanced, load_labelled
from gan_jax.training import train

LONGTAIL, ALL = "longtail", "all"
_TAIL = 0.6  # class i keeps this to the power i
_SURE = 0.9  # probability from which the rival believes its own label


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """The rules, the same for every arm.

    Attributes:
        config: name of the conditional pair's config.
        changes: of it, for tests.
        sizes: how many labels, class-balanced, or "longtail": class i keeps `head` * 0.6^i.
        head: images of the commonest class of the long tail.
        steps: of every classifier, by size, and of "cas"; 64 images each.
        shares: of generated images in a batch; one is chosen on validation images for each seed.
        validation: images of the training set that are held out for that choice and seen by no training.
        generated: images a set.
        filter: of the generated images, by regime.
        open_images: real images that the pair sees in the open regime; the pair of "cas" sees the config's own number.
        closed_images: the same in the closed regime.
        method: how labels are inferred in the open regime.
        label_steps: of that.
        sure: probability below which an inferred label is not used.
        offset: added to every seed; tuning takes 100 and looks at validation images alone.
        tuning: test images are validation images.
    """

    config: str = "conditional"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sizes: tuple[str, ...] = ("100", "1000", "10000", LONGTAIL)
    head: int = 1_000
    steps: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"100": 500, "1000": 800, "10000": 1_500, LONGTAIL: 800, ALL: 2_000}
    )
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    validation: int = 5_000
    generated: int = 20_000
    filter: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"open": "none", "closed": "none"})
    open_images: int = 200_000
    closed_images: int = 100_000
    method: str = "curriculum"
    label_steps: int = 500
    sure: float = 0.8
    offset: int = 0
    tuning: bool = False

    # ------------------------------------------------------------ data

    @functools.cached_property
    def data(self) -> dict[str, Images]:
        """By name: "train", "validation" (the last images of the training split), "test"."""
        found = load_labelled(self.pair_config("open", 0))
        whole, held = Images(found.train, found.labels), len(found.train) - self.validation
        parts = {"train": whole.part(np.arange(held)), "validation": whole.part(np.arange(held, len(whole)))}
        return parts | {"test": parts["validation"] if self.tuning else Images(found.test, found.test_labels)}

    @property
    def classes(self) -> int:
        """K."""
        return int(self.data["train"].labels.max()) + 1

    def rows(self, size: str, seed: int) -> np.ndarray:
        """The training images whose label is known."""
        labels = self.data["train"].labels
        if size == ALL:
            return np.arange(len(labels))
        if size != LONGTAIL:
            return balanced(labels, int(size), seed + self.offset)
        rng = np.random.RandomState(seed + self.offset)
        counts = [max(1, int(self.head * _TAIL**number)) for number in range(self.classes)]
        return np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:kept] for c, kept in enumerate(counts)])

    def real(self, size: str, seed: int) -> Images:
        """The labelled images."""
        return self.data["train"].part(self.rows(size, seed))

    # ------------------------------------------------------------ pairs and their images

    def pair_config(self, regime: str, seed: int) -> Config:
        """Of a pair; in the closed regime it augments what D sees, since it would learn few images by heart."""
        config = checkout_config(self.config)
        length = {"open": self.open_images, "closed": self.closed_images, ALL: config.total_images}[regime]
        few = {"augment.method": "diffaugment", "data.balanced": True} if regime == "closed" else {}
        return config.replace({"total_images": length, **few, **self.changes, "seed": seed + self.offset})

    @functools.lru_cache(maxsize=2)  # noqa: B019, a study lives as long as the process
    def inferred(self, size: str, seed: int) -> Inferred:
        """Labels of all training images, from those of a size; kept in the cache folder."""
        path = self._cache("labels", {"size": size, "method": self.method, "steps": self.label_steps}, seed) / "l.npz"
        train_set, rows = self.data["train"], self.rows(size, seed)
        if not path.exists():
            found = infer(train_set.images, rows, train_set.labels[rows], self.classes, self.method, self.label_steps,
                          seed + self.offset)  # fmt: skip
            save_arrays(path, dataclasses.asdict(found), {})
        return Inferred(**load_arrays(path)[0])

    def certain(self, size: str, seed: int) -> np.ndarray:
        """The training images whose label is given, or inferred and sure."""
        return np.flatnonzero(self.inferred(size, seed).confidence >= self.sure)

    @property
    def labelling(self) -> dict[str, Any]:
        """How labels are inferred, for recipes."""
        return {"labels": self.method, "label_steps": self.label_steps, "sure": self.sure}

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def pair(self, regime: str, size: str, seed: int) -> Gan:
        """A trained pair: a run like any other in the cache folder, so it goes on where it was stopped."""
        seen = self.real(size, seed)
        if regime == "open":
            seen = self.data["train"].part(sure := self.certain(size, seed))
            seen = Images(seen.images, self.inferred(size, seed).labels[sure])
        config = self.pair_config(regime, seed)
        recipe = config_recipe(config) | {"size": size, "labels": self.labelling if regime == "open" else {}}
        folder = self._cache(f"{regime}-{size}", recipe, seed)
        path = folder / "labelled.npz"
        save_arrays(path, {"images": seen.images, "labels": seen.labels}, {})
        return train(config.replace({"data.source": "npz", "data.path": str(path)}), folder / "run")

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def images(self, regime: str, size: str, seed: int) -> Images:
        """A balanced set of generated images, filtered by the classifier of the labelled images."""
        chosen = generation.Filter.parse(self.filter.get(regime, "none"))
        judge = self.classifier(size, seed, "classic").probabilities if chosen.confidence else None
        recipe = generation.Recipe(self.generated, seed, chosen)
        return generation.generate(self.pair(regime, size, seed), recipe, self.classes, judge)[0]

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def pseudo(self, size: str, seed: int) -> Images:
        """All other training images that the classifier of the labelled ones is sure of, and what it calls them."""
        rest = np.setdiff1d(np.arange(len(self.data["train"])), self.rows(size, seed))
        images = self.data["train"].images[rest]
        shares = self.classifier(size, seed, "classic").probabilities(images)
        sure = np.flatnonzero(shares.max(axis=1) >= _SURE)
        if len(sure) < len(rest) // 20:  # too few to learn from: the surest
            sure = np.argsort(-shares.max(axis=1))[: len(rest) // 20]
        return Images(images[sure], shares[sure].argmax(axis=1).astype(np.int32))

    def unlabelled(self, size: str, seed: int) -> Images:
        """The images without label that the pair of the open regime was trained on, with its labels."""
        found = self.inferred(size, seed)
        rest = np.setdiff1d(self.certain(size, seed), np.flatnonzero(found.known))
        return Images(self.data["train"].images[rest], found.labels[rest])

    # ------------------------------------------------------------ classifiers

    @functools.cache  # noqa: B019, regimes share what no pair has touched
    def classifier(self, size: str, seed: int, arm: str) -> Classifier:
        """Of the labelled images alone: "real", "classic", or "balanced", which shows rare classes as often."""
        seen = self.real(size, seed)
        if arm == "balanced":
            source = ArraySource({"image": seen.images, "label": seen.labels}, self.classes)
            seen = seen.part(balanced_rows(source, 1))
        return self._taught([(seen, 1.0)], size, seed, classic=arm != "real")

    def beside(self, extra: Images, size: str, seed: int, classic: bool = True) -> tuple[Classifier, dict[str, float]]:
        """Of labelled images and others; their share is the one that validation images prefer."""
        found: dict[str, float] = {}
        held_out = self.data["validation"]
        best: tuple[float, float, Classifier | None] = (-1.0, 0.0, None)
        for share in self.shares:
            parts = [(self.real(size, seed), 1 - share), (extra, share)]
            classifier = self._taught(parts, size, seed, classic)
            right = classifier.accuracies(held_out.images, held_out.labels)[0]
            found[f"validation_{round(100 * share)}"] = right
            if right > best[0]:
                best = (right, 100 * share, classifier)
        assert best[2] is not None
        return best[2], found | {"share": best[1]}

    def alone(self, images: Images, size: str, seed: int) -> Classifier:
        """Of generated images alone."""
        return self._taught([(images, 1.0)], size, seed, classic=False)

    def judged(self, classifier: Classifier, size: str, seed: int) -> dict[str, float]:
        """Test accuracy, and mean accuracy of the three classes with the fewest labels, in percent."""
        return accuracies(classifier, self.data["test"], self.real(size, seed).labels, self.classes)

    def _taught(self, parts: list[tuple[Images, float]], size: str, seed: int, classic: bool) -> Classifier:
        return train_classifier(parts, self.classes, self.steps[size], seed + self.offset, classic=classic)

    def _cache(self, kind: str, recipe: Mapping[str, Any], seed: int) -> Path:
        facts = [recipe, self.head, self.validation, self.offset]
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        folder = cache_folder() / "augmentation" / f"{kind}-{name}-seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
