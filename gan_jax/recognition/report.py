"""What `gan_jax.recognize` does for one workdir: measures, keeps a classifier, writes what a reader needs.

recognition.json: {"probe": {"step", "classes", "test_images", "rows": [{"features", "labels", "classifier",
"accuracy", "seeds": [accuracy a label seed]}], "confusion": [[count of class i called class j]], "accuracy"},
"semi": {"steps", "rows": [{"method", "labels", "accuracy"}]},
"anomaly": {"step", "normal", "class", "rows": [{"method", "auroc"}]},
"detect": {"step", "rows": [{"method", "canvases", "map50", "ap50_any"}]}}; percentages are 0-100. Each task
replaces its own part. Imports gan, program, runtime and this room.
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.config import Config
from gan_jax.data.arrays import ArraySource
from gan_jax.errors import InputError
from gan_jax.gan import Gan, load
from gan_jax.recognition import features
from gan_jax.recognition.anomaly import auroc, components, machine, neighbours, trunk_neighbours
from gan_jax.recognition.controls import supervised, untrained
from gan_jax.recognition.detecting import METHODS, Detecting
from gan_jax.recognition.pictures import confusion, draw_confusion, draw_neighbours
from gan_jax.recognition.probe import Described, Labelled, accuracy, balanced, load_labelled
from gan_jax.recognition.recogniser import load_classifier, open_example, save_classifier, teach
from gan_jax.recognition.semi import (
    classes,
    fixmatch,
    improved_gan,
    labels_only,
    pseudo_labels,
    semi_supervised,
    with_known,
)
from gan_jax.recognition.spreading import Surroundings, learnt_by_spreading
from gan_jax.runtime.files import write_atomically
from gan_jax.runtime.pictures import to_png

FILE = "recognition.json"
CONFUSION, NEIGHBOURS = "recognition_confusion.png", "recognition_neighbours.png"
LABELS = (100, 1_000, 10_000)  # budgets, those that the data have, and all labels
TASKS = ("probe", "semi", "anomaly", "detect")
_TAUGHT = 20_000  # labels that the kept classifier learns from, at most
# Where the vectors come from, their classifiers, and whether they are standardised.
_SOURCES = (("ours", ("linear", "rbf", "knn"), True), ("random", ("linear", "rbf", "knn"), True),
            ("pixels", ("logistic", "rbf"), False), ("hog", ("linear", "rbf"), False))  # fmt: skip


def recognize(
    workdir: str | Path,
    task: str,
    *,
    labels: Sequence[int] | None = None,
    label_seeds: int = 5,
    normal: int = 0,
    steps: int = 3_000,
    checkpoint: str = "newest",
) -> dict[str, Any]:
    """Measures a run's discriminator at a task and writes the part of recognition.json.

    Args:
        workdir: of a run on labelled images.
        task: of `TASKS`.
        labels: budgets; None = probe: 100, 1,000, 10,000 and all, those that fit; semi: 100 and 1,000; detect: 100
            and 500 canvases.
        label_seeds: draws of the labelled images, up to 1,000 of them; larger budgets are drawn once.
        normal: class that an anomaly is told from.
        steps: semi: of Improved-GAN and its controls, 100 labelled and 100 unlabelled images a step.
        checkpoint: newest, best or a step number.

    Returns:
        The part of recognition.json.

    Raises:
        InputError: the task is unknown, or the run, its data or a budget do not serve.
    """
    if task not in TASKS:
        raise InputError(f"--task={task}: choose of {', '.join(TASKS)}")
    workdir = Path(workdir)
    gan = load(workdir, checkpoint)
    data = load_labelled(gan.config)
    if data.train.ndim != 4 and task != "probe":
        raise InputError(f"--task={task} needs images, and these data are signals: choose probe")
    if task == "probe":
        part = _probe(workdir, gan, data, labels, label_seeds)
    elif task == "semi":
        part = _semi(gan, data, labels or [n for n in LABELS[:2] if n <= len(data.labels)], steps)
    elif task == "detect":
        part = _detect(gan, data, labels or (100, 500))
    else:
        part = _anomaly(gan, data, normal)
    path = workdir / FILE
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    write_atomically(path, json.dumps({**known, task: part}, indent=1).encode() + b"\n")
    return part


def predict(workdir: str | Path, image: str | Path) -> list[tuple[str, float]]:
    """Classes of one image or sound file with their probabilities, likeliest first.

    Raises:
        InputError: no classifier is there, or the file is neither.
    """
    recogniser = load_classifier(workdir)
    found = recogniser.probabilities(open_example(Path(image), recogniser))[0]
    return sorted(zip(recogniser.class_names, map(float, found), strict=True), key=lambda pair: -pair[1])


def table(part: dict[str, Any]) -> str:
    """A task's rows, one a line."""
    if "normal" in part:
        lines = [f"class {part['normal']} against the others, area under the curve in percent"]
        return "\n".join([*lines, *(f"{row['method']:16}{row['auroc']:8.2f}" for row in part["rows"])])
    if "accuracy" not in part:  # a row a method and budget
        names = [name for name in part["rows"][0] if name != "method"]
        lines = [f"{'method':16}" + "".join(f"{name:>12}" for name in names)]
        rows = [f"{row['method']:16}" + "".join(f"{row[name]:12.6g}" for name in names) for row in part["rows"]]
        return "\n".join([*lines, *rows])
    lines = [f"{'features':12}{'classifier':12}{'labels':>8}{'accuracy %':>12}{'deviation':>11}"]
    for row in part["rows"]:
        spread = np.std(row["seeds"], ddof=1) if len(row["seeds"]) > 1 else float("nan")
        facts = f"{row['features']:12}{row['classifier']:12}{row['labels']:8,}"
        lines.append(f"{facts}{row['accuracy']:12.2f}{spread:11.2f}")
    return "\n".join([*lines, f"kept classifier: {part['accuracy']:.2f} % of {part['test_images']:,} test images"])


def _probe(workdir: Path, gan: Gan, data: Labelled, labels: Sequence[int] | None, label_seeds: int) -> dict[str, Any]:
    whole = len(data.labels)
    budgets = sorted({min(n, whole) for n in labels} if labels else {*(n for n in LABELS if n < whole), whole})
    budgets = [n for n in budgets if labels or n >= 2 * data.num_classes]
    seeds = {n: range(label_seeds if n <= 1_000 else 1) for n in budgets}
    taught = _some(data, _TAUGHT)
    used = {n: np.unique(np.concatenate([balanced(data.labels, n, s) for s in seeds[n]])) for n in budgets}
    rows: list[dict[str, Any]] = []
    for name, families, scale in _SOURCES if data.train.ndim == 4 else _SOURCES[:-1]:  # signals have no gradients
        describe = {
            "ours": features.trunk(gan),
            "random": features.trunk(untrained(gan.program, gan.config.seed)),
            "pixels": features.pixels,
            "hog": features.histograms,
        }[name]
        needed = np.unique(np.concatenate([*used.values(), taught])) if name == "ours" else None
        wanted = needed if needed is not None else np.unique(np.concatenate(list(used.values())))
        described = Described.of(data, describe, wanted, scale)
        if name == "ours":
            ours = described
        for count in budgets:
            found = accuracy(data, described, count, seeds[count], families)
            print(f"{count:,} labels, {name}: {max(found[family] for family in families):.2f} %", flush=True)
            rows += [
                {"features": name, "labels": count, "classifier": family, "accuracy": found[family],
                 "seeds": [found[f"{family}_seed{seed}"] for seed in seeds[count]]}
                for family in families
            ]  # fmt: skip
    return {
        "step": gan.step,
        "classes": list(data.class_names),
        "test_images": len(data.test),
        "rows": rows,
        **_keep(workdir, gan, data, ours, taught),
    }


def _some(data: Labelled, most: int) -> np.ndarray:
    """Rows of at most so many labels, a random part of them where there are more."""
    return np.sort(np.random.RandomState(0).permutation(len(data.labels))[:most])


def _keep(workdir: Path, gan: Gan, data: Labelled, ours: Described, rows: np.ndarray) -> dict[str, Any]:
    """Trains the classifier to keep and draws its pictures."""
    gan = Gan(gan.program, gan.ema, gan.d, data.class_names, gan.step)
    assert ours.scale is not None
    recogniser = teach(gan, ours.scale, ours.train[rows], data.labels[rows])
    said = (ours.test @ recogniser.weights + recogniser.bias).argmax(axis=1)
    right = float(100 * np.mean(said == data.test_labels))
    recogniser.facts["accuracy"] = right
    save_classifier(recogniser, workdir)
    counts = confusion(data.test_labels, said, data.num_classes)
    write_atomically(workdir / CONFUSION, to_png(draw_confusion(counts, data.class_names)))
    first = np.array([np.flatnonzero(data.test_labels == c)[0] for c in np.unique(data.test_labels)])[:10]
    picture = draw_neighbours(data.test[first], ours.test[first], data.train[rows], ours.train[rows])
    write_atomically(workdir / NEIGHBOURS, to_png(picture[..., 0] if picture.shape[-1] == 1 else picture))
    return {"confusion": counts.tolist(), "accuracy": right, "labels": len(rows)}


def _anomaly(gan: Gan, data: Labelled, normal: int) -> dict[str, Any]:
    """Scores fitted to the training images of one class; a pair that saw the others says so by its config."""
    if not 0 <= normal < data.num_classes:
        raise InputError(f"--normal={normal} is no class of these data: choose 0 to {data.num_classes - 1}")
    images = data.train[data.labels == normal]
    scores = {
        "ours": trunk_neighbours(gan, images),
        "neighbours": neighbours(images),
        "pca": components(images),
        "machine": machine(images),
    }
    rows = [
        {"method": name, "auroc": auroc(score(data.test), data.test_labels, normal)} for name, score in scores.items()
    ]
    return {"step": gan.step, "normal": normal, "class": data.class_names[normal], "rows": rows}


def _semi(gan: Gan, data: Labelled, budgets: Sequence[int], steps: int) -> dict[str, Any]:
    """The run's trunk, over whose features labels spread, and what it has to beat; the first draw."""
    features.histograms(data.train[:1])  # says at once if scikit-image is missing
    fields = ("source", "path", "image_size", "channels", "threads")
    same = {f"data.{name}": getattr(gan.config.data, name) for name in fields}
    config = Config().replace({**same, **improved_gan(steps), "seed": gan.config.seed})
    rows: list[dict[str, Any]] = []
    draws = {count: balanced(data.labels, count, gan.config.seed) for count in budgets}
    named = np.unique(np.concatenate(list(draws.values())))
    around = {
        "ours": Surroundings.of(data.train, features.trunk(gan), named),
        "hog": Surroundings.of(data.train, features.histograms, named, scale=False),
    }
    for count, chosen in draws.items():
        source = with_known(data.train, chosen, data.labels[chosen], data.class_names)
        for name, learn in semi_methods(gan, data, around, chosen, config, source, steps).items():
            right = np.mean(learn()(data.test) == data.test_labels)
            rows.append({"method": name, "labels": count, "accuracy": float(100 * right)})
            print(f"{count:,} labels, {name}: {rows[-1]['accuracy']:.2f} %", flush=True)
    return {"steps": steps, "rows": rows}


def semi_methods(
    gan: Gan,
    data: Labelled,
    around: dict[str, Surroundings],
    chosen: np.ndarray,
    config: Config,
    source: ArraySource,
    steps: int,
) -> dict[str, Callable[[], Callable[[np.ndarray], np.ndarray]]]:
    """By name, what teaches a classifier of uint8 images with the chosen labels; names as in the suite."""

    def spread(name: str) -> Callable[[np.ndarray], np.ndarray]:
        return learnt_by_spreading(data, around[name], chosen, gan.config.seed)[0]

    def taught() -> Callable[[np.ndarray], np.ndarray]:
        known = data.train[chosen], data.labels[chosen]  # learnt by heart long before the others are done
        return supervised(gan.program, *known, data.num_classes, max(1, steps // 10), gan.config.seed)[1]

    def network(learn: Callable[..., Gan]) -> Callable[[np.ndarray], np.ndarray]:
        return functools.partial(classes, learn(config, source, steps))

    networks = {"improved_gan": semi_supervised, "mlp_supervised": labels_only, "pseudo": pseudo_labels,
                "fixmatch": fixmatch}  # fmt: skip
    return {
        "ours": lambda: spread("ours"),
        "supervised": taught,
        "hog": lambda: spread("hog"),
        **{name: functools.partial(network, learn) for name, learn in networks.items()},
    }


def _detect(gan: Gan, data: Labelled, budgets: Sequence[int]) -> dict[str, Any]:
    """Objects on canvases of the run's images."""
    side = max(32, 64 * gan.shape[0] // 28 // 16 * 16)
    rules = Detecting(lambda: data, lambda seed: gan.config, lambda seed: gan, side)
    rows: list[dict[str, Any]] = []
    for count in budgets:
        for name in METHODS:
            rows.append({"method": name, "canvases": count, **rules.measure(name, count, gan.config.seed)})
            print(f"{count:,} canvases, {name}: {rows[-1]['map50']:.2f} %", flush=True)
    return {"step": gan.step, "rows": rows}
