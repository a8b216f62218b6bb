"""Suite `augmentation`: do generated images make a classifier better, and when not?"""

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gan_jax.augmentation.classifier import CLASSIC, CLASSIC_SHARE
from gan_jax.benchmark.augmentation_page import publish
from gan_jax.benchmark.augmenting import ALL, LONGTAIL, Study
from gan_jax.benchmark.suite import Arm, Outcome, Suite, config_recipe

ARMS = {
    "real": "labelled images as they are",
    "classic": "labelled images, moved and cut out",
    "generated": "generated images alone",
    "real_generated": "labelled and generated images",
    "both": "classic, and generated images beside",
    "pseudo": "classic, and the images without label that it is sure of, with the label it gives them",
    "inferred": "classic, and all images without label, with the labels that the GAN was trained with",
    "balanced": "classic, every class shown equally often",
}
REGIMES = {
    "open": "the GAN saw all images, their labels inferred from these",
    "closed": "the GAN saw these images alone",
}


def measure(study: Study, regime: str, size: str, arm: str, seed: int) -> Outcome:
    """Test accuracies of an arm."""
    start, seen = time.perf_counter(), 0
    facts: dict[str, float] = {}
    if arm in ("real", "classic", "balanced"):
        classifier = study.classifier(size, seed, arm)
    elif arm == "generated":
        classifier = study.alone(study.images(regime, size, seed), size, seed)
    elif arm in ("both", "real_generated"):
        classifier, facts = study.beside(study.images(regime, size, seed), size, seed, classic=arm == "both")
    else:
        extra = study.pseudo if arm == "pseudo" else study.unlabelled
        classifier, facts = study.beside(extra(size, seed), size, seed)
    if arm in ("generated", "both", "real_generated"):
        gan = study.pair(regime, size, seed)
        seen = gan.step * gan.config.images_per_step
    if regime == "open" and arm in ("generated", "inferred"):
        found, used = study.inferred(size, seed), study.certain(size, seed)
        used = used[~found.known[used]]
        right = found.labels[used] == study.data["train"].labels[used]
        facts["labels_used"] = float(len(used))
        facts["labels_right"] = 100 * float(right.mean())
    return Outcome(study.judged(classifier, size, seed) | facts, time.perf_counter() - start, seen)


def cas(study: Study, seed: int) -> Outcome:
    """Accuracy of a classifier trained on generated images alone, its GAN having seen all labels (Ravuri & Vinyals)."""
    start = time.perf_counter()
    images = study.images(ALL, ALL, seed)
    found = study.judged(study.alone(images, ALL, seed), ALL, seed)
    real = study.judged(study.classifier(ALL, seed, "real"), ALL, seed)["accuracy"]
    found |= {"real_accuracy": real, "gap": real - found["accuracy"], "per_class": len(images) / study.classes}
    gan = study.pair(ALL, ALL, seed)
    return Outcome(found, time.perf_counter() - start, gan.step * gan.config.images_per_step)


def make_suite(study: Study) -> Suite:
    """The suite under a study's rules; tests take the digits and tiny networks."""
    arms: dict[str, Arm] = {}

    def add(name: str, text: str, run: Callable[[int], Outcome], recipe: Callable[[], Any]) -> None:
        arms[name] = Arm(text, run, recipe)

    add("cas", "generated images alone; the GAN saw all images with their labels.", functools.partial(cas, study),
        functools.partial(_recipe, study, ALL, ALL))  # fmt: skip
    for regime, told in REGIMES.items():
        for size in study.sizes:
            some = "a long tail of labels" if size == LONGTAIL else f"{int(size):,} labels"
            for arm, text in ARMS.items():
                if arm == "balanced" and size != LONGTAIL or regime == "closed" and arm in ("pseudo", "inferred"):
                    continue  # without images beyond the labelled ones there is nothing to label
                run = functools.partial(measure, study, regime, size, arm)
                add(f"{regime}_{size}_{arm}", f"{text}; {some}; {told}.", run,
                    functools.partial(_recipe, study, regime, size))  # fmt: skip
    return Suite(
        name="augmentation",
        description=_describe(study),
        arms=arms,
        protocol=functools.partial(_protocol, study),
        plots=_publish,
    )


def _recipe(study: Study, regime: str, size: str) -> dict[str, Any]:
    labels = study.labelling if regime == "open" else {}
    facts = {"classifier_steps": study.steps[size], "filter": study.filter.get(regime, "none")}
    return config_recipe(study.pair_config(regime, 0)) | labels | facts


def _protocol(study: Study) -> dict[str, Any]:
    classic = {"classic": list(CLASSIC), "classic_share": CLASSIC_SHARE}
    shares = [round(100 * share) for share in study.shares]
    return {
        "validation": study.validation,
        "generated": study.generated,
        "head": study.head,
        "shares": shares,
    } | classic


def _publish(result: Mapping[str, Any], folder: Path) -> list[Path]:
    publish(result, folder)
    return []


def _describe(study: Study) -> str:
    return (
        "Fashion-MNIST. Every arm is the same small convolutional network with the same optimiser, batch and number of"
        " steps; what fills the batch differs. accuracy: on all 10,000 test images, percent; rare3_accuracy: mean over"
        " the three classes with the fewest labels (of equal ones the last three). REGIME_N_ARM: N labels, class-"
        f"balanced, or a long tail in which class i keeps {study.head:,} * 0.6^i; seed = draw of the labels, of the GAN"
        f" and of the network. The last {study.validation:,} training images take part in no training; on them one of"
        " three shares of generated (or pseudo-labelled) images is chosen for each seed (share). labels_right: percent"
        " of the inferred labels in use that are right, labels_used: how many. cas: gap to the same network on all real"
        " images with the same steps; per_class generated images. Paired differences: docs/augmentation.md."
    )


SUITE = make_suite(Study())
