"""Suite `recognition`: what a GAN's discriminator recognises, beside the traditional methods and their controls."""

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.benchmark.recognition_page import publish
from gan_jax.benchmark.recognition_protocol import Protocol
from gan_jax.benchmark.suite import Arm, Outcome, Suite, Tolerance, config_recipe
from gan_jax.config import Config
from gan_jax.data.arrays import ArraySource
from gan_jax.gan import Gan
from gan_jax.program import Program, build
from gan_jax.recognition import anomaly, controls, features, semi
from gan_jax.recognition.detecting import METHODS as DETECTORS
from gan_jax.recognition.detecting import Detecting
from gan_jax.recognition.detection import SETTINGS as DETECTOR
from gan_jax.recognition.probe import Described, Labelled, accuracy, balanced
from gan_jax.recognition.spreading import SETTINGS, Surroundings, learnt_by_spreading
from gan_jax.runtime.mesh import make_mesh

PROBES = {  # arm: (text, families of classifiers, whether features are standardised)
    "ours": ("the discriminator of a GAN trained without labels", ("linear", "rbf", "knn"), True),
    "random": ("the same discriminator with its initial weights", ("linear", "rbf", "knn"), True),
    "autoencoder": ("the same trunk as the encoder of an autoencoder, same images", ("linear", "rbf"), True),
    "pixels": ("raw pixels, logistic regression", ("logistic",), False),
    "hog_linear": ("histograms of oriented gradients, linear SVM: the traditional method", ("linear",), False),
    "hog_rbf": ("histograms of oriented gradients, SVM with a Gaussian kernel", ("rbf",), False),
    "hog_moved": ("the same, averaged over moves by a pixel as the trunk's features are", ("rbf",), False),
}
TRADITIONAL = {"pixels": features.pixels, "hog_moved": features.averaged(features.histograms)}
NEEDS_SEED = ("ours", "random", "autoencoder", "supervised")
SPREADS = {  # arm: what the nearest neighbours, over whose graph labels spread, are alike in
    "ours": "the trunk of a GAN trained without labels",
    "random": "the same trunk with its initial weights",
    "hog": "histograms of oriented gradients",
}
METHODS = {  # arm: (text, how it learns)
    "improved_gan": (
        "Improved-GAN: a logit a class, feature matching, all images unlabelled",
        semi.semi_supervised,
    ),
    "conv": ("Improved-GAN with small convolutions and dropout", semi.semi_supervised),
    "conv_supervised": ("the same convolutions, averaging and steps, labels alone", semi.labels_only),
    "mlp_supervised": ("Improved-GAN's network, noise, averaging and steps, labels alone", semi.labels_only),
    "pseudo": ("Improved-GAN's network; half way it labels the images it is sure of", semi.pseudo_labels),
    "fixmatch": ("Improved-GAN's network; sure guesses teach strongly changed images", semi.fixmatch),
}
ANOMALY_CONTROLS = {
    "neighbours": ("mean distance to the two nearest images of the class, pixels", anomaly.neighbours),
    "pca": ("error of a reconstruction from 32 principal components", anomaly.components),
    "machine": ("one-class SVM, nu 0.1, on 1,500 images", anomaly.machine),
}


GAN_ANOMALY = {
    "random": "mean distance to the two nearest images of the class, in pixels and each stage of an untrained D",
    "task": "as ours, but the trunk learnt the quarter turns alone, without a generator; AdamW",
    "ours": (
        "GAN of the class with a rotation head: how badly D tells the quarter turns of an image (auroc_turns), plus the"
        " distance to its two nearest neighbours in pixels; auroc_trunk: distances in pixels and each stage of D"
    ),
}


def probe(protocol: Protocol, name: str, count: int, seed: int) -> Outcome:
    """Test accuracy of a description of the images with `count` labels."""
    data, start, seen = protocol.data, time.perf_counter(), 0
    if name == "supervised":
        return _supervised(protocol, count, seed)
    if name == "ours":
        gan = protocol.gan(seed)
        describe, seen = features.trunk(gan), gan.step * gan.config.images_per_step
    elif name == "random":
        describe = features.trunk(controls.untrained(protocol.program(seed), seed))
    elif name == "autoencoder":
        describe = features.trunk(_autoencoder(protocol, seed))
    else:
        describe = TRADITIONAL.get(name, features.histograms)
    _, families, scale = PROBES[name]
    seeds = protocol.seeds_of(count)
    rows = np.unique(np.concatenate([balanced(data.labels, count, number) for number in seeds]))
    found = accuracy(data, Described.of(data, describe, rows, scale), count, seeds, families)
    main = "rbf" if "rbf" in families else families[0]
    return Outcome(_named(found, families, main), time.perf_counter() - start, seen)


def _named(found: Mapping[str, float], families: tuple[str, ...], main: str) -> dict[str, float]:
    """The main classifier's figures as "accuracy" and "accuracy_seedS", those of others by their names."""
    metrics = {f"accuracy{name.removeprefix(main)}": v for name, v in found.items() if name.startswith(main)}
    return metrics | {f"accuracy_{family}": found[family] for family in families}


def _supervised(protocol: Protocol, count: int, seed: int) -> Outcome:
    data, start, values = protocol.data, time.perf_counter(), {}
    for number in protocol.seeds_of(count):
        values[f"accuracy_seed{number}"] = _share(_taught(protocol, count, number, seed)(data.test), data)
    return Outcome({"accuracy": float(np.mean(list(values.values()))), **values}, time.perf_counter() - start, 0)


def _taught(protocol: Protocol, count: int, draw: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    data, rows = protocol.data, balanced(protocol.data.labels, count, draw)
    steps = protocol.taught_images[count] // 64
    known = data.train[rows], data.labels[rows]
    return controls.supervised(protocol.program(seed), *known, data.num_classes, steps, 1_000 * draw + seed)[1]


@functools.cache
def _autoencoder(protocol: Protocol, seed: int) -> Gan:
    config = protocol.gan_config(seed)
    return controls.autoencoder(protocol.program(seed), protocol.data.train, config.total_images // 64, seed)


def semi_arm(protocol: Protocol, method: str, count: int, seed: int) -> Outcome:
    """Test accuracy after learning from `count` labels, draw `seed`, and all images."""
    data, start = protocol.data, time.perf_counter()
    rows = balanced(data.labels, count, seed)
    source = semi.with_known(data.train, rows, data.labels[rows], data.class_names)
    gan = METHODS[method][1](semi_config(protocol, method, seed), source, protocol.semi_steps)
    seen = protocol.semi_steps * gan.config.images_per_step
    return Outcome({"accuracy": _share(semi.classes(gan, data.test), data)}, time.perf_counter() - start, seen)


def spread_arm(protocol: Protocol, name: str, count: int, seed: int) -> Outcome:
    """Test accuracy of labels that spread over the training images; `seed` is that of the draw."""
    data, start = protocol.data, time.perf_counter()
    around = _around(protocol, name, 0 if name == "hog" else seed % protocol.gan_seeds)
    predict, alpha = learnt_by_spreading(data, around, balanced(data.labels, count, seed), seed)
    found = {"accuracy": _share(predict(data.test), data), "alpha": alpha}
    seen = protocol.gan_config(seed).total_images if name == "ours" else 0
    return Outcome(found, time.perf_counter() - start, seen)


@functools.lru_cache(maxsize=3)  # the GANs of an arm: each is some gigabyte
def _around(protocol: Protocol, name: str, seed: int) -> Surroundings:
    """Training images as a GAN, its random weights or gradient histograms see them."""
    describe: features.Describe = features.histograms
    if name == "ours":
        describe = features.trunk(protocol.gan(seed))
    elif name == "random":
        describe = features.trunk(controls.untrained(protocol.program(seed), seed))
    return Surroundings.of(protocol.data.train, describe, np.arange(0), scale=name != "hog")


def taught_arm(protocol: Protocol, count: int, seed: int) -> Outcome:
    """Test accuracy of the GAN's trunk taught with the labels of one draw alone."""
    data, start = protocol.data, time.perf_counter()
    predict = _taught(protocol, count, seed, seed)
    return Outcome({"accuracy": _share(predict(data.test), data)}, time.perf_counter() - start, 0)


def semi_config(protocol: Protocol, method: str, seed: int) -> Config:
    """Improved-GAN's recipe, or that of convolutions, on the protocol's data."""
    recipe = semi.convolutional if method.startswith("conv") else semi.improved_gan
    config = protocol.gan_config(seed)
    return Config().replace({
        **{f"data.{name}": getattr(config.data, name) for name in ("source", "path", "image_size", "channels")},
        **recipe(protocol.semi_steps),
        "seed": seed,
    })  # fmt: skip


def anomaly_arm(protocol: Protocol, method: str, seed: int) -> Outcome:
    """Mean over the classes of the area under the curve, one class against all others."""
    data, start, config = protocol.data, time.perf_counter(), class_config(protocol, seed)
    program = build(config, data.train.shape[1:], 0, make_mesh())
    found: dict[str, list[float]] = {}
    for normal in range(data.num_classes):
        images = data.train[data.labels == normal]
        for name, score in _scores(program, method, images, seed).items():
            found.setdefault(name, []).append(anomaly.auroc(score(data.test), data.test_labels, normal))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    by_class = {f"auroc_{normal}": value for normal, value in enumerate(found["auroc_mean"])}
    seen = config.total_images * data.num_classes if method == "ours" else 0
    return Outcome(means | by_class, time.perf_counter() - start, seen)


def _scores(program: Program, method: str, images: np.ndarray, seed: int) -> dict[str, anomaly.Score]:
    """The method's score under the name "auroc_mean", and what it is made of."""
    if method in ANOMALY_CONTROLS:
        return {"auroc_mean": ANOMALY_CONTROLS[method][1](images)}
    if method == "random":
        return {"auroc_mean": anomaly.trunk_neighbours(controls.untrained(program, seed), images)}
    if method == "ours":
        gan = controls.train_on(program, ArraySource({"image": images}))
    else:
        config = program.config
        gan = controls.task_alone(program, images, config.total_steps * config.data.batch_size // 64, seed)
    return {
        "auroc_mean": anomaly.turns_and_neighbours(gan, images),
        "auroc_turns": functools.partial(anomaly.turns_of, gan),
        "auroc_trunk": anomaly.trunk_neighbours(gan, images),
    }


def class_config(protocol: Protocol, seed: int) -> Config:
    """Of a GAN that sees one class: it learns which way is up."""
    return protocol.small_config(seed).replace({"total_images": protocol.class_images, "model.head": "rotation"})


def detect_arm(rules: Detecting, method: str, count: int, seed: int) -> Outcome:
    """Mean average precision of a detector after `count` labelled canvases."""
    start = time.perf_counter()
    metrics = rules.measure(method, count, seed)
    seen = rules.config(seed).total_images if method in ("ours", "frozen") else 0
    return Outcome(metrics, time.perf_counter() - start, seen)


def _share(said: np.ndarray, data: Labelled) -> float:
    return float(100 * np.mean(said == data.test_labels))


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take the digits and tiny networks."""
    arms: dict[str, Arm] = {}

    def add(name: str, text: str, run: Callable[[int], Outcome], recipe: Callable[[], Any], seeds: int | None) -> None:
        arms[name] = Arm(text, run, recipe, seeds=seeds)

    def gan_recipe() -> dict[str, Any]:
        return config_recipe(protocol.gan_config(0)) | {"features": features.DESCRIPTION}

    for method, (text, _) in ANOMALY_CONTROLS.items():
        add(f"anomaly_{method}", text, functools.partial(anomaly_arm, protocol, method), dict, 1)
    one = functools.partial(_class_recipe, protocol)
    for method, text in GAN_ANOMALY.items():
        add(f"anomaly_{method}", text, functools.partial(anomaly_arm, protocol, method), one, None)
    for count in protocol.labels:
        for name, (text, _, _) in PROBES.items():
            needs = name in NEEDS_SEED
            add(f"probe_{name}_{count}", f"{text}; {count:,} labels.",
                functools.partial(probe, protocol, name, count),
                gan_recipe if needs else dict, None if needs else 1)  # fmt: skip
        text = f"the same trunk taught with the labels alone; {count:,} labels."
        add(f"probe_supervised_{count}", text, functools.partial(probe, protocol, "supervised", count),
            functools.partial(_taught_recipe, protocol, count), None)  # fmt: skip
    for count in protocol.semi_labels:
        for name, text in SPREADS.items():
            add(f"semi_{name}_{count}", f"labels spread over images alike in {text}; {count:,} labels.",
                functools.partial(spread_arm, protocol, name, count),
                functools.partial(_spread_recipe, protocol, name), None)  # fmt: skip
        add(f"semi_supervised_{count}", f"the trunk of ours taught with the labels alone; {count:,} labels.",
            functools.partial(taught_arm, protocol, count), functools.partial(_taught_recipe, protocol, count),
            None)  # fmt: skip
        for method, (text, _) in METHODS.items():
            run_semi = functools.partial(semi_arm, protocol, method, count)
            add(f"semi_{method}_{count}", f"{text}; {count:,} labels.", run_semi,
                functools.partial(_semi_recipe, protocol, method), None)  # fmt: skip
    rules = protocol.detecting()
    for count in protocol.canvases:
        for method, text in DETECTORS.items():
            add(f"detect_{method}_{count}", f"{text}; {count:,} labelled canvases.",
                functools.partial(detect_arm, rules, method, count),
                functools.partial(_detect_recipe, rules, method), None)  # fmt: skip
    return Suite(
        name="recognition",
        description=_describe(protocol),
        arms=arms,
        protocol=protocol.facts,
        checks={
            "anomaly_pca": {"auroc_mean": Tolerance(absolute=0.1)},
            "probe_hog_linear_100": {"accuracy": Tolerance(absolute=0.3)},
        },
        plots=_publish,
    )


def _spread_recipe(protocol: Protocol, name: str) -> dict[str, Any]:
    if name == "hog":
        return dict(SETTINGS)
    config = config_recipe(protocol.gan_config(0))
    return config | SETTINGS | {"features": features.DESCRIPTION, "gan_seeds": protocol.gan_seeds}


def _taught_recipe(protocol: Protocol, count: int) -> dict[str, Any]:
    return config_recipe(protocol.gan_config(0)) | {"taught_images": protocol.taught_images[count]}


def _detect_recipe(rules: Detecting, method: str) -> dict[str, Any]:
    common = {"side": rules.side, "tested": rules.tested}
    if method == "hog":
        return common
    return common | config_recipe(rules.config(0)) | DETECTOR | {"steps": rules.steps}


def _class_recipe(protocol: Protocol) -> dict[str, Any]:
    return config_recipe(class_config(protocol, 0)) | {"class_images": protocol.class_images}


def _semi_recipe(protocol: Protocol, method: str) -> dict[str, Any]:
    return config_recipe(semi_config(protocol, method, 0)) | {"steps": protocol.semi_steps}


def _publish(result: Mapping[str, Any], folder: Path) -> list[Path]:
    publish(result, folder)
    return []


def _describe(protocol: Protocol) -> str:
    return (
        "Fashion-MNIST, the test images looked at once a figure; nothing was chosen on them. probe_FEATURES_LABELS:"
        f" test accuracy in percent with class-balanced labels, mean of {protocol.label_seeds} draws (accuracy_seedS"
        " each) up to 1,000 labels, one draw above; settings of the classifier chosen on a part of the labels. accuracy"
        " is that of an SVM with a Gaussian kernel where it was tried, else of the one classifier named;"
        " accuracy_FAMILY names each. semi_METHOD_LABELS: seed = draw of the labels, GANs in turn; alpha: see"
        " gan_jax/recognition/spreading.py. anomaly_METHOD: one class against"
        " the other nine, area under the curve in percent, auroc_C by class. Tables and paired differences:"
        " docs/recognition.md. detect_METHOD_CANVASES: mean average precision at an overlap of one half over the"
        " classes, percent; ap50_any: places alone, whatever the class."
    )


SUITE = make_suite(Protocol())
