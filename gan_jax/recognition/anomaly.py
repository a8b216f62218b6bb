"""Novelty: how unlike the images of one class is another image? Scores rise with strangeness.

Imports gan, metrics, scikit-learn and this room.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.svm import OneClassSVM

from gan_jax.gan import Gan
from gan_jax.metrics.pairwise import nearest, shift_of, shifted
from gan_jax.recognition.features import Standardised, pixels, stages

Score = Callable[[np.ndarray], np.ndarray]  # uint8 [N, H, W, C] -> float [N]
_COMPONENTS = 32
_SUPPORT = 1_500  # images of the class that the one-class machine is fitted to


def distance(known: np.ndarray, queries: np.ndarray, k: int = 2) -> np.ndarray:
    """Mean distance of vectors [N, F] to their k nearest among the known ones [M, F]."""
    shift = shift_of(known)
    squared, _ = nearest(shifted(queries, shift), shifted(known, shift), min(k, len(known)))
    return np.sqrt(squared).mean(axis=1)


def neighbours(images: np.ndarray) -> Score:
    """Mean distance to the two nearest images of the class, in pixels."""
    known = pixels(images)
    return lambda others: distance(known, pixels(others))


def components(images: np.ndarray) -> Score:
    """Squared error of a reconstruction from 32 principal components of the class."""
    known = pixels(images)
    pca = PCA(min(_COMPONENTS, *known.shape), random_state=0).fit(known)

    def score(others: np.ndarray) -> np.ndarray:
        vectors = pixels(others)
        return np.square(vectors - pca.inverse_transform(pca.transform(vectors))).mean(axis=1)

    return score


def machine(images: np.ndarray) -> Score:
    """A one-class support vector machine (Schölkopf et al. 2001), Gaussian kernel, nu = 0.1."""
    known = pixels(images)
    known = known[np.random.default_rng(0).permutation(len(known))[:_SUPPORT]]
    fitted = OneClassSVM(nu=0.1, gamma="scale").fit(known)
    return lambda others: -fitted.decision_function(pixels(others))


def vector_neighbours(describe: Callable[[np.ndarray], list[np.ndarray]], images: np.ndarray) -> Score:
    """Distances to the two nearest images of the class in several descriptions, each by its own scale, added up.

    Args:
        describe: uint8 [N, H, W, C] -> vectors [N, F], one array a description.
        images: of the class. The scale of a description is the median distance between its own images.
    """
    known = describe(images)
    scales = [Standardised.to(vectors) for vectors in known]
    known = [scale(vectors) for scale, vectors in zip(scales, known, strict=True)]
    typical = [float(np.median(distance(vectors[::2], vectors[1::2]))) for vectors in known]

    def score(others: np.ndarray) -> np.ndarray:
        found = [scale(vectors) for scale, vectors in zip(scales, describe(others), strict=True)]
        return np.mean([distance(a, b) / t for a, b, t in zip(known, found, typical, strict=True)], axis=0)

    return score


def trunk_neighbours(gan: Gan, images: np.ndarray) -> Score:
    """`vector_neighbours` in pixels and in every stage of a discriminator, pooled to 4x4."""

    def describe(others: np.ndarray) -> list[np.ndarray]:
        return [pixels(others), *stages(gan)(others)]

    return vector_neighbours(describe, images)


def turns_of(gan: Gan, images: np.ndarray, part: int = 4_096) -> np.ndarray:
    """How badly a discriminator with a rotation head tells the four turns of images uint8 [N, H, H, C]: nats [N].

    Of one class it knows which way is up; of others it does not (Golan & El-Yaniv 2018).
    """
    total = np.zeros(len(images))
    for start in range(0, len(images), part):
        piece = images[start : start + part].astype(np.float32) / 127.5 - 1
        for turns in range(4):
            head = gan.features(np.rot90(piece, turns, axes=(1, 2)))["head"].astype(np.float64)
            total[start : start + part] += logsumexp(head, axis=1) - head[:, turns]
    return total / 4


def turns_and_neighbours(gan: Gan, images: np.ndarray) -> Score:
    """`turns_of` plus the distance to the two nearest images of the class, in units of its median within the class."""
    known = pixels(images)
    typical = float(np.median(distance(known[::2], known[1::2])))
    return lambda others: turns_of(gan, others) + distance(known, pixels(others)) / typical


def auroc(scores: np.ndarray, labels: np.ndarray, normal: int) -> float:
    """Area under the receiver operating characteristic in percent: images of other classes are the positives."""
    return float(100 * roc_auc_score(labels != normal, scores))
