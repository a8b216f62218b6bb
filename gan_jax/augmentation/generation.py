"""A balanced set of generated images: drawn in rounds, filtered, as many of each class. Imports gan, runtime, errors.

The set is a pure function of the pair, the classifier and a `Recipe`: round r draws its noise from
`fold_in(key(seed), r)`, so a longer set begins like a shorter one.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gan_jax.augmentation.classifier import Images
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.latents import in_batches
from gan_jax.runtime.pictures import to_uint8

Probabilities = Callable[[np.ndarray], np.ndarray]  # uint8 [N, H, W, C] -> float32 [N, K]
_EACH = 100  # candidates of each class in a round
_PATIENCE = 20  # rounds in which a class must find at least one image
_FORM = "write none, confidence:0.8, discriminator:0.5, or both with a comma"


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which candidates are kept.

    Attributes:
        confidence: least probability that the classifier gives the wanted class; 0 = any.
        discriminator: share of a class's candidates that is kept, those whose logit D(x, y) is highest; 1 = all.
    """

    confidence: float = 0.0
    discriminator: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Reads "confidence:0.8,discriminator:0.5"; "none" keeps all.

        Raises:
            InputError: it reads otherwise, or a number is outside its range.
        """
        found: dict[str, float] = {}
        for part in [] if text.strip() == "none" else text.split(","):
            name, _, value = part.strip().partition(":")
            try:
                number = float(value)
            except ValueError:
                raise InputError(f"--filter={text}: {_FORM}") from None
            if name not in ("confidence", "discriminator") or name in found:
                raise InputError(f"--filter={text}: {_FORM}")
            low = number >= 0 if name == "confidence" else number > 0
            if not (low and number <= 1 and (name == "discriminator" or number < 1)):
                raise InputError(f"--filter={text}: {name} must lie between 0 and 1")
            found[name] = number
        return cls(**found)

    def __str__(self) -> str:
        parts = [f"confidence:{self.confidence:g}"] if self.confidence else []
        parts += [f"discriminator:{self.discriminator:g}"] if self.discriminator < 1 else []
        return ",".join(parts) or "none"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides a set, besides the pair and the classifier.

    Attributes:
        count: of images; every class has as many, or one more.
        seed: of the noise.
        filter: what is kept.
        truncation: noise beyond so many standard deviations is drawn again; None = never.
    """

    count: int
    seed: int = 0
    filter: Filter = Filter()
    truncation: float | None = None


def generate(gan: Gan, recipe: Recipe, classes: int, probabilities: Probabilities | None) -> tuple[Images, list[float]]:
    """Draws a balanced set.

    A class-conditional generator is asked for each class in turn. From any other, candidates are drawn blindly, and the
    classifier says what they show.

    Args:
        gan: the pair.
        recipe: of the set.
        classes: K.
        probabilities: of the classifier; None = there is none.

    Returns:
        Images whose labels go 0, 1, ..., K - 1, 0, 1, ...; and by class the share of candidates that was kept.

    Raises:
        InputError: pair and recipe do not fit, or hardly a candidate passes the filter.
    """
    check(gan, recipe, classes, probabilities is not None)
    wanted = np.array([len(range(number, recipe.count, classes)) for number in range(classes)])
    kept: list[list[np.ndarray]] = [[] for _ in range(classes)]
    drawn, passed, round_ = np.zeros(classes, int), np.zeros(classes, int), 0
    while (passed < wanted).any():
        images, labels = _candidates(gan, recipe, round_, classes, probabilities)
        good = _passes(gan, recipe.filter, images, labels, probabilities)
        for number in range(classes):
            mine = labels == number
            drawn[number] += mine.sum()
            passed[number] += (mine & good).sum()
            kept[number] += list(images[mine & good])
        round_ += 1
        if round_ == _PATIENCE and (passed == 0).any():
            missing = int(np.flatnonzero(passed == 0)[0])
            raise InputError(
                f"--filter={recipe.filter}: of {_PATIENCE * _EACH * classes} candidates none passes as class"
                f" {_name(gan, missing)}: ask less, or train the pair longer"
            )
    chosen = np.stack([kept[index % classes][index // classes] for index in range(recipe.count)])
    labels = (np.arange(recipe.count) % classes).astype(np.int32)
    return Images(chosen, labels), [round(float(share), 4) for share in passed / np.maximum(drawn, 1)]


def check(gan: Gan, recipe: Recipe, classes: int, judged: bool) -> None:
    """Checks that a pair can make a set of so many classes, by a classifier if `judged`.

    Raises:
        InputError: it cannot.
    """
    if len(gan.shape) != 3:
        raise InputError("this run makes points, not images: augmentation needs a run on images")
    if not gan.config.model.conditional and not judged:
        raise InputError(
            "this generator knows no classes and there is no classifier to tell them: train one with"
            " --config.model.conditional=true, or on labelled data"
        )
    if recipe.count < classes:
        raise InputError(f"--count={recipe.count} is less than one image of each of {classes} classes: raise it")
    if recipe.filter.confidence and not judged:
        raise InputError(f"--filter={recipe.filter}: confidence needs labelled data to train a classifier on")
    if recipe.filter.discriminator < 1 and gan.config.model.pack > 1:
        raise InputError(f"config.model.pack={gan.config.model.pack}: this discriminator judges packs, not images")


def _candidates(
    gan: Gan, recipe: Recipe, round_: int, classes: int, probabilities: Probabilities | None
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, C] of a round, and their labels [N]."""
    key = jax.random.fold_in(jax.random.key(recipe.seed), round_)
    labels = np.arange(_EACH * classes, dtype=np.int32) % classes
    conditional = gan.config.model.conditional
    drawn = gan.sample(key, len(labels), labels if conditional else None, recipe.truncation)
    images = to_uint8(np.asarray(drawn))
    if not conditional:
        assert probabilities is not None
        labels = probabilities(images).argmax(axis=1).astype(np.int32)
    return images, labels


def _passes(
    gan: Gan, chosen: Filter, images: np.ndarray, labels: np.ndarray, probabilities: Probabilities | None
) -> np.ndarray:
    """Which candidates are kept, bool [N]."""
    good = np.ones(len(images), bool)
    if chosen.confidence:
        assert probabilities is not None
        good &= probabilities(images)[np.arange(len(labels)), labels] >= chosen.confidence
    if chosen.discriminator < 1:
        logits = realness(gan, images, labels)
        for number in np.unique(labels):
            mine = np.flatnonzero(labels == number)
            most = int(np.ceil(chosen.discriminator * len(mine)))
            worst = mine[np.argsort(-logits[mine], kind="stable")[most:]]
            good[worst] = False
    return good


def realness(gan: Gan, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The discriminator's logit D(x, y) of each image, float32 [N]; of D(x) where it knows no classes.

    Args:
        gan: the pair.
        images: uint8 [N, H, W, C].
        labels: int32 [N].
    """

    def judge(batch: np.ndarray, known: np.ndarray) -> Any:
        return np.asarray(gan.program.criticise(gan.d, batch.astype(np.float32) / 127.5 - 1, known)[0])

    logits: np.ndarray = in_batches(judge, images, labels.astype(np.int32))
    return logits


def _name(gan: Gan, number: int) -> str:
    return gan.class_names[number] if number < len(gan.class_names) else str(number)
