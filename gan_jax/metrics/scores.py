"""Scores of what a classifier says about samples: classifier (Inception) score and class shares. NumPy only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gan_jax.errors import InputError
from gan_jax.metrics.checks import check_features


class ClassifierScore(NamedTuple):
    """Mean and standard deviation of the score over splits."""

    mean: float
    std: float


def classifier_score(logits: ArrayLike, splits: int = 1) -> ClassifierScore:
    """exp(mean KL(p(y|x) || p(y))), from 1 (nothing recognised) to K (each sample sure, all classes alike).

    With InceptionV3 logits this is the Inception score (Salimans et al. 2016, section 4).

    Args:
        logits: [N, K].
        splits: parts that are scored alone, in the order given; 1 uses all rows and does not depend on order.

    Raises:
        InputError: splits < 1, fewer rows than splits, or logits that are not finite.
    """
    if splits < 1:
        raise InputError(f"classifier_score: splits={splits} must be at least 1")
    values = check_features(logits, "logits", splits).astype(np.float64)
    values = values - values.max(axis=1, keepdims=True)
    log_given = values - np.log(np.exp(values).sum(axis=1, keepdims=True))  # log p(y|x), [N, K]
    scores = []
    edges = [part * len(values) // splits for part in range(splits + 1)]
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        part = log_given[start:stop]
        probabilities = np.exp(part)
        marginal = probabilities.mean(axis=0)  # p(y), [K]
        log_marginal = np.log(np.maximum(marginal, np.finfo(np.float64).tiny))  # 0 log 0 = 0
        scores.append(np.exp((probabilities * (part - log_marginal)).sum(axis=1).mean()))
    return ClassifierScore(float(np.mean(scores)), float(np.std(scores)))


def class_shares(logits: ArrayLike) -> np.ndarray:
    """Share of the rows whose largest logit is that of each class: float64 [K], sums to 1.

    Raises:
        InputError: no rows, or logits that are not finite.
    """
    values = check_features(logits, "logits", 1)
    return np.bincount(values.argmax(axis=1), minlength=values.shape[1]) / len(values)
