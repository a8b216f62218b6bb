"""What samples are compared with: real data in the eyes of a network, or words, or the modes of a toy set.

Imports data, metrics and runtime.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding

from gan_jax.data.toy import ToySource
from gan_jax.errors import InputError
from gan_jax.metrics.features import FeatureNetwork, extract
from gan_jax.metrics.frechet import Moments, frechet_distance, moments_of
from gan_jax.metrics.kernel import kernel_distance
from gan_jax.metrics.manifold import manifold_scores
from gan_jax.metrics.memorisation import memorisation
from gan_jax.metrics.modes import mixture_modes
from gan_jax.metrics.reference import ReferenceKey, cached_arrays, fingerprint
from gan_jax.metrics.scores import class_shares, classifier_score
from gan_jax.metrics.text import word_scores
from gan_jax.runtime.traces import spell

IMAGE_METRICS = ("fid", "kid", "prdc", "score", "classes", "memorisation")
POINT_METRICS = ("modes",)
POINT_SETS = ("ring", "grid")
WORD_METRICS = ("words",)
WORD_SETS = ("words",)
POINTS = 2_500  # samples of PacGAN's protocol


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


def score_points(points: np.ndarray, source: ToySource) -> dict[str, float]:
    """Mode scores of samples [N, 2] of a toy set, by PacGAN's protocol; share in percent."""
    found = mixture_modes(points[:POINTS], source.centers, source.std)._asdict()
    return {**found, "high_quality": 100 * found["high_quality"], "count": min(POINTS, len(points))}


def check_metrics(metrics: Sequence[str], known: Sequence[str]) -> None:
    """Raises InputError for a metric that is not among the known ones."""
    unknown = [name for name in metrics if name not in known]
    if unknown or not metrics:
        raise InputError(f"--metrics={','.join(metrics)}: unknown metric; choose of {', '.join(known)}")
