"""How good a pair is: real data, feature network and scores brought together. Imports data, metrics, gan."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from gan_jax.config import Config, DataConfig, EvaluationConfig, read_json
from gan_jax.data.arrays import Source
from gan_jax.data.sources import load_source
from gan_jax.data.toy import ToySource
from gan_jax.errors import InputError
from gan_jax.gan import Gan, load
from gan_jax.metrics.classifier import load_classifier, save_classifier, signal_epochs, train_classifier
from gan_jax.metrics.features import FeatureNetwork, extract
from gan_jax.metrics.frechet import Moments, frechet_distance, moments_of
from gan_jax.metrics.inception import load_inception
from gan_jax.metrics.kernel import kernel_distance
from gan_jax.metrics.manifold import manifold_scores
from gan_jax.metrics.memorisation import memorisation
from gan_jax.metrics.modes import mixture_modes
from gan_jax.metrics.pca import fit_pca
from gan_jax.metrics.reference import ReferenceKey, cache_folder, cached_arrays, fingerprint
from gan_jax.metrics.scores import class_shares, classifier_score
from gan_jax.metrics.storage import write_bytes
from gan_jax.metrics.text import word_scores
from gan_jax.runtime.agreement import (
    arrays_from_first,
    bytes_from_first,
    everyone,
    first_then_others,
    on_first,
    together,
)
from gan_jax.runtime.files import plain_folder, writing
from gan_jax.runtime.mesh import batch_sharding, make_mesh
from gan_jax.runtime.pictures import as_data
from gan_jax.runtime.traces import spell
from gan_jax.runtime.workdir import CONFIG

IMAGE_METRICS = ("fid", "kid", "prdc", "score", "classes", "memorisation")
POINT_METRICS = ("modes",)
POINT_SETS = ("ring", "grid")
WORD_METRICS = ("words",)
WORD_SETS = ("words",)
TRAINING_METRICS = ("fid", "prdc", "classes")  # cheap enough to follow a run
POINTS = 2_500  # samples of PacGAN's protocol
_CLASSIFIER_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """Real data seen through one feature network: what samples are compared with.

    Attributes:
        network: the feature network.
        train: real training images, uint8 [M, H, W, C], or signals, float32 [M, L, C], for the floor and the
            memorisation check.
        held_out: real ones that samples are compared with, [N, ...]: the test split, or the part of the
            training images that `config.data.validation` holds out.
        sharding: splits batches over devices; None = one device.
    """

    network: FeatureNetwork
    train: np.ndarray
    held_out: np.ndarray
    sharding: NamedSharding | None = None

    def scores(self, images: np.ndarray, metrics: Sequence[str] = IMAGE_METRICS) -> dict[str, float]:
        """Scores of samples against as many held-out images.

        Args:
            images: uint8 [N, H, W, C], or signals float32 [N, L, C].
            metrics: of `IMAGE_METRICS`.

        Returns:
            Scores by name, and "count", the number of samples.

        Raises:
            InputError: an unknown metric, images of another shape, or too few of them.
        """
        check_metrics(metrics, IMAGE_METRICS)
        if images.shape[1:] != self.held_out.shape[1:]:
            raise InputError(
                f"images have shape {images.shape[1:]}, the real ones {self.held_out.shape[1:]}: resize them"
            )
        found = extract(self.network, images, sharding=self.sharding)
        values: dict[str, float] = {"count": len(images)}
        if "fid" in metrics:
            values["fid"] = frechet_distance(moments_of(found.features), self._moments)
        if "kid" in metrics:
            values["kid"] = kernel_distance(self._features, found.features, sharding=self.sharding)
        if "prdc" in metrics:
            real = self._features[: len(images)]
            values |= manifold_scores(real, found.features[: len(real)], sharding=self.sharding)._asdict()
        if found.logits is not None and "score" in metrics:
            values["classifier_score"] = classifier_score(found.logits).mean
        if found.logits is not None and "classes" in metrics and self.network.name == "classifier":
            shares = 100 * class_shares(found.logits)
            values |= {"class_share_min": float(shares.min()), "class_share_max": float(shares.max())}
        if "memorisation" in metrics:
            values |= memorisation(images, self.held_out, self.train, sharding=self.sharding)._asdict()
        return values

    def floor(self, metrics: Sequence[str], count: int) -> dict[str, float]:
        """The same scores for real training images: what a perfect sampler of that many would get."""
        fitting = [name for name in metrics if name != "memorisation"]  # training images are in the training set
        chosen = np.random.default_rng(0).permutation(len(self.train))[:count]
        return self.scores(self.train[np.sort(chosen)], fitting) if fitting else {}

    @functools.cached_property
    def _features(self) -> np.ndarray:
        def compute() -> dict[str, np.ndarray]:
            return {"features": extract(self.network, self.held_out, sharding=self.sharding).features}

        return self._cached("features", compute)["features"]

    @functools.cached_property
    def _moments(self) -> Moments:
        arrays = self._cached("moments", lambda: moments_of(self._features).to_arrays())
        return Moments.from_arrays(arrays)

    def _cached(self, kind: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
        # All processes compute together: one that finds the arrays in its cache would leave the others waiting.
        return compute() if jax.process_count() > 1 else cached_arrays(self._key(kind), compute)

    def _key(self, kind: str) -> ReferenceKey:
        return ReferenceKey(
            data=fingerprint(self.held_out),
            split="test",
            image_shape=self.held_out.shape[1:],
            network=self.network.digest,
            count=len(self.held_out),
            kind=kind,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class WordJudge:
    """Real words that generated ones are compared with.

    Attributes:
        train: words that the generator sees.
        held_out: words of the test split, or of what `config.data.validation` holds out.
        length: letters of a word with its blanks.
    """

    train: list[str]
    held_out: list[str]
    length: int

    def scores(self, samples: np.ndarray) -> dict[str, float]:
        """`text.word_scores` of one-hot letters [N, L, 27], and "count"."""
        return {"count": len(samples), **word_scores(spell(samples), self.train, self.held_out, self.length)}


AnyJudge = Judge | ToySource | WordJudge


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
    name = fingerprint(train, labels)[:16]
    place = cache_folder() / "classifiers" / f"{name}-seed{_CLASSIFIER_SEED}.npz"

    def make() -> bytes:
        if not place.exists():
            print("training the classifier whose features score the samples (once for this data)", flush=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            epochs = signal_epochs(train) if train.ndim == 3 else 5
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


def score_points(points: np.ndarray, source: ToySource) -> dict[str, float]:
    """Mode scores of samples [N, 2] of a toy set, by PacGAN's protocol; share in percent."""
    found = mixture_modes(points[:POINTS], source.centers, source.std)._asdict()
    return {**found, "high_quality": 100 * found["high_quality"], "count": min(POINTS, len(points))}


def score_gan(
    gan: Gan, judge: AnyJudge, count: int, metrics: Sequence[str] | None = None, seed: int = 0
) -> dict[str, float]:
    """Scores of fresh samples of a pair.

    Args:
        gan: the pair.
        judge: what samples are compared with, see `judge_for`.
        count: samples; toy sets take 2,500, as PacGAN does.
        metrics: None = all that fit the data.
        seed: of the noise.

    Raises:
        InputError: a metric that is unknown or does not fit the data.
    """
    key = jax.random.key(seed)
    if isinstance(judge, ToySource):
        check_metrics(metrics or POINT_METRICS, POINT_METRICS)
        return score_points(np.asarray(gan.sample(key, POINTS)), judge)
    if isinstance(judge, WordJudge):
        check_metrics(metrics or WORD_METRICS, WORD_METRICS)
        return judge.scores(np.asarray(gan.sample(key, count)))
    return judge.scores(as_data(np.asarray(gan.sample(key, count))), metrics or IMAGE_METRICS)


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


def evaluate(
    workdir: str | Path,
    *,
    images: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    num: int | None = None,
    seed: int = 0,
    checkpoint: str = "newest",
) -> dict[str, Any]:
    """Scores a trained run, or given images against the run's real data.

    Args:
        workdir: folder of the run.
        images: a folder or .npz of images to score in place of the run's own samples.
        metrics: of `IMAGE_METRICS` or `POINT_METRICS`; None = all that fit.
        num: samples; None = as config.evaluation.count says.
        seed: of the noise.
        checkpoint: newest, best or a step number.

    Returns:
        {"scores": by name, "floor": the same for real images, "features": name and digest of the feature
        network, "step": training steps of the pair, None for given images}.

    Raises:
        InputError: workdir, images, metrics or data do not fit.
    """
    config = together(lambda: read_json(plain_folder(workdir) / CONFIG))
    known = metrics_of(config)
    chosen = tuple(metrics or known)
    check_metrics(chosen, known)
    mesh = make_mesh() if jax.process_count() > 1 else None  # several processes share the work
    gan = None if images else load(workdir, checkpoint, mesh)
    judge = judge_for(config, batch_sharding(mesh) if mesh else None)
    if gan is None and not isinstance(judge, Judge):
        raise InputError(f"--images: the run in {workdir} draws no images; leave --images out")
    if isinstance(judge, WordJudge):
        assert gan is not None
        scores = score_gan(gan, judge, num or config.evaluation.count, chosen, seed)
        floor = word_scores(judge.train, judge.train, judge.held_out, judge.length)
        return {"scores": scores, "floor": floor, "features": None, "step": gan.step}
    if isinstance(judge, ToySource):
        assert gan is not None
        real = judge.read(np.arange(POINTS))["image"]
        return {"scores": score_gan(gan, judge, POINTS, chosen, seed), "floor": score_points(real, judge),
                "features": None, "step": gan.step}  # fmt: skip
    count = min(num or config.evaluation.count, len(judge.train))
    if gan is None:
        given = together(lambda: read_images(Path(str(images)), config.data)[:num])
        scores = judge.scores(given, chosen)
    else:
        scores = score_gan(gan, judge, num or config.evaluation.count, chosen, seed)
    return {
        "scores": scores,
        "floor": judge.floor(chosen, min(count, int(scores["count"]))),
        "features": {"name": judge.network.name, "digest": judge.network.digest},
        "step": gan and gan.step,
    }


def metrics_of(config: Config) -> tuple[str, ...]:
    """Metrics that fit a run's data."""
    if config.data.source in POINT_SETS:
        return POINT_METRICS
    return WORD_METRICS if config.data.source in WORD_SETS else IMAGE_METRICS


def following(config: Config) -> tuple[str, ...]:
    """Those that follow a run: cheap ones."""
    known = metrics_of(config)
    return TRAINING_METRICS if known == IMAGE_METRICS else known


def table(result: dict[str, Any]) -> str:
    """Scores beside their floor, one line a metric."""
    scores, floor = result["scores"], result["floor"]
    network = result["features"]
    lines = [f"{'':18}{'score':>12}{'real data':>12}"]
    for name, value in scores.items():
        real = f"{floor[name]:12.4g}" if name in floor else f"{'':12}"
        lines.append(f"{name:18}{value:12.4g}{real}")
    if network:
        lines.append(f"features: {network['name']} {network['digest'][:12]}")
    return "\n".join(lines)


def check_metrics(metrics: Sequence[str], known: Sequence[str]) -> None:
    """Raises InputError for a metric that is not among the known ones."""
    unknown = [name for name in metrics if name not in known]
    if unknown or not metrics:
        raise InputError(f"--metrics={','.join(metrics)}: unknown metric; choose of {', '.join(known)}")


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
