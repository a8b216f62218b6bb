"""Makes the judge of a run: loads the real data and the feature network that fits it.

Imports data, metrics and runtime.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from gan_jax.config import Config, DataConfig, EvaluationConfig
from gan_jax.data.arrays import Source
from gan_jax.data.sources import load_source
from gan_jax.data.toy import ToySource
from gan_jax.errors import InputError
from gan_jax.evaluation.judges import POINT_SETS, WORD_SETS, AnyJudge, Judge, WordJudge
from gan_jax.metrics.classifier import load_classifier, save_classifier, signal_epochs, train_classifier
from gan_jax.metrics.features import FeatureNetwork
from gan_jax.metrics.inception import load_inception
from gan_jax.metrics.pca import fit_pca
from gan_jax.metrics.reference import cache_folder, fingerprint
from gan_jax.metrics.storage import write_bytes
from gan_jax.runtime.agreement import (
    arrays_from_first,
    bytes_from_first,
    everyone,
    first_then_others,
    on_first,
    together,
)
from gan_jax.runtime.files import writing
from gan_jax.runtime.traces import spell

_CLASSIFIER_SEED = 0


def judge_for(config: Config, sharding: NamedSharding | None = None) -> AnyJudge:
    """What samples of a run are compared with.

    Raises:
        InputError: the data or the feature network cannot be had.
    """
    if config.data.source in POINT_SETS:
        source = load_source(config.data, "test", config.seed)
        assert isinstance(source, ToySource)
        return source
    if config.data.source in WORD_SETS:
        held_out = load_source(config.data, "validation" if config.data.validation else "test", config.seed)
        train, other = (spell(_all(source)["image"]) for source in (load_source(config.data, "train"), held_out))
        return WordJudge(train, other, held_out.shape[0])
    return make_judge(config.data, config.evaluation, config.seed, sharding)


def make_judge(
    data: DataConfig, settings: EvaluationConfig, seed: int = 0, sharding: NamedSharding | None = None
) -> Judge:
    """Loads the real data of a run and the feature network that fits it.

    Features "auto" are a classifier trained on the set's own labels, or PCA where there are none.
    A set without a test split is halved: one half is compared with, the other gives the floor.

    Raises:
        InputError: the data or the feature network cannot be had.
    """
    train, labels = first_then_others(lambda: _everything(load_source(data, "train", seed)))
    test = _test_split(data, seed)
    if everyone(test is not None) and test is not None:
        held_out, test_labels = test
    else:
        order = np.random.default_rng(0).permutation(len(train))
        first, second = np.sort(order[: len(train) // 2]), np.sort(order[len(train) // 2 :])
        held_out, test_labels = train[second], None if labels is None else labels[second]
        train, labels = train[first], None if labels is None else labels[first]
    kind = settings.features
    if kind == "auto":
        kind = "pca" if labels is None else "classifier"
    if kind == "inception":
        network = together(lambda: load_inception(settings.path))
    elif kind == "pca":
        network = fit_pca(train)
        network = dataclasses.replace(network, variables=arrays_from_first(network.variables))
    elif labels is None or test_labels is None:
        raise InputError("config.evaluation.features=classifier needs labelled data: choose pca or inception")
    else:
        network = _classifier(settings.path, train, labels, held_out, test_labels)
    return Judge(network, train, held_out[: settings.count], sharding)


def _test_split(data: DataConfig, seed: int) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Images and labels of the test split, or of what is held out in its place; None when there is none."""
    if data.validation:
        return _everything(load_source(data, "validation", seed))
    try:
        return _everything(load_source(data, "test", seed))
    except InputError:
        return None


def _classifier(
    path: str, train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> FeatureNetwork:
    """The classifier at `path`, or the one of this data in the cache, trained now if it is not there."""
    if path:
        return together(lambda: load_classifier(path)).network
    name, epochs = fingerprint(train, labels)[:16], signal_epochs(train) if train.ndim == 3 else 5
    # Its length is part of the name: one of an older recipe must not score in place of today's.
    place = cache_folder() / "classifiers" / f"{name}-seed{_CLASSIFIER_SEED}-epochs{epochs}.npz"

    def make() -> bytes:
        if not place.exists():
            print("training the classifier whose features score the samples (once for this data)", flush=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            trained = train_classifier(train, labels, test, test_labels, seed=_CLASSIFIER_SEED, epochs=epochs)
            save_classifier(trained, place)
        return place.read_bytes() if jax.process_count() > 1 else b""

    content = bytes_from_first(on_first(make) or b"")  # the caches of other machines may hold another or none
    if jax.process_index() > 0:
        write_bytes(place, content)
    return together(lambda: load_classifier(place)).network


def train_on_labels(data: DataConfig, out: Path, *, seed: int = 0, epochs: int = 5) -> str:
    """Trains the classifier of a labelled set, writes it to `out` (.npz and .json) and says how good it is.

    Raises:
        InputError: the set has no labels or no test split, or `out` cannot be written.
    """
    (train, labels), (test, test_labels) = (_everything(load_source(data, split)) for split in ("train", "test"))
    if labels is None or test_labels is None:
        raise InputError(f"config.data.source={data.source}: a classifier needs labels, and these images have none")
    trained = train_classifier(train, labels, test, test_labels, seed=seed, epochs=epochs)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        digest = save_classifier(trained, out)
    return f"{out}: {100 * trained.accuracy:.2f} % of the test images, sha256 {digest}"


def _all(source: Source) -> dict[str, Any]:
    return source.read(np.arange(len(source)))


def _everything(source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """All images, uint8 [N, H, W, C], or signals, float32 [N, L, C], and labels of a source."""
    batch = _all(source)
    if batch["image"].ndim == 2:
        raise InputError("points have no feature network: score them with --metrics=modes")
    return batch["image"], batch.get("label")


def read_images(path: Path, data: DataConfig) -> np.ndarray:
    """Images or sounds to be scored, from a folder or an .npz of `gan_jax.sample`, sized as the data."""
    kind = "npz" if path.suffix == ".npz" else "wav" if data.source in ("wav", "spoken") else "folder"
    return _everything(load_source(dataclasses.replace(data, source=kind, path=str(path))))[0]
