"""Classical classifiers on top of features, their settings chosen on a part of the labels. Imports scikit-learn."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC

_FEW = 200  # labels up to which settings are chosen by five folds; above, on one fifth of the labels
_CHOOSING = 2_000  # labels that take part in choosing, at most
_EXACT = 10_000  # labels up to which the kernel of all pairs is held
_LANDMARKS = 4_000  # of its approximation above that


class KernelMachine:
    """A support vector machine with a Gaussian kernel; regularised least squares on landmarks where labels are many."""

    def __init__(self, c: float, width: float) -> None:
        """Sets the penalty.

        Args:
            c: of an error, C.
            width: gamma as a multiple of 1 / (F * variance), scikit-learn's "scale".
        """
        self._c, self._width = c, width

    def fit(self, features: np.ndarray, labels: np.ndarray) -> "KernelMachine":
        """Fits to features [N, F] and labels [N]."""
        self._gamma = self._width / (features.shape[1] * float(features.var(dtype=np.float64)) + 1e-12)
        if len(features) <= _EXACT:
            self._machine: Any = SVC(C=self._c, kernel="precomputed", cache_size=1000)
            self._support: np.ndarray | None = features
            self._machine.fit(rbf_kernel(features, gamma=self._gamma), labels)
        else:
            landmarks = Nystroem(gamma=self._gamma, n_components=min(_LANDMARKS, len(features)), random_state=0)
            self._support = None
            self._machine = make_pipeline(landmarks, RidgeClassifier(alpha=1 / self._c)).fit(features, labels)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Classes [N]."""
        parts = np.array_split(features, -(-len(features) // 2_000))
        if self._support is None:
            return np.concatenate([self._machine.predict(part) for part in parts])
        support = self._support
        return np.concatenate([self._machine.predict(rbf_kernel(part, support, gamma=self._gamma)) for part in parts])


class Family(NamedTuple):
    """A kind of classifier and the settings to choose from."""

    make: Callable[..., Any]
    settings: Sequence[Mapping[str, Any]]


def _linear(c: float) -> LinearSVC:
    return LinearSVC(C=c, dual="auto", max_iter=5_000, random_state=0)


def _logistic(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=1_000)


FAMILIES = {
    "linear": Family(_linear, [{"c": 10.0**power} for power in range(-5, 1)]),
    "logistic": Family(_logistic, [{"c": 10.0**power} for power in range(-4, 1)]),
    "rbf": Family(KernelMachine, [{"c": c, "width": width} for width in (1.0, 0.3) for c in (10.0, 1.0, 100.0)]),
    "knn": Family(KNeighborsClassifier, [{"n_neighbors": k} for k in (1, 3, 5, 10)]),
}


def fit(family: str, features: np.ndarray, labels: np.ndarray, seed: int = 0) -> Any:
    """The classifier of a family that does best on a part of the labels, fitted to all of them.

    Args:
        family: of `FAMILIES`.
        features: float32 [N, F].
        labels: int [N], at least two of each class.
        seed: of the parts.
    """
    make, settings = FAMILIES[family]
    scores = np.zeros(len(settings))
    for train, held_out in _parts(labels, seed):
        for number, setting in enumerate(settings):
            if setting.get("n_neighbors", 0) <= len(train):
                machine = make(**setting).fit(features[train], labels[train])
                scores[number] += np.mean(machine.predict(features[held_out]) == labels[held_out])
    return make(**settings[int(scores.argmax())]).fit(features, labels)


def _parts(labels: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels to try settings on: (those fitted to, those scored on)."""
    rows = np.arange(len(labels))
    if len(labels) <= _FEW:
        folds = min(5, int(np.bincount(labels)[np.unique(labels)].min()))
        return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels))
    if len(labels) > _CHOOSING:
        splitter = StratifiedShuffleSplit(1, train_size=_CHOOSING, random_state=seed)
        rows = next(splitter.split(rows, labels))[0]
    train, held_out = next(StratifiedShuffleSplit(1, test_size=0.2, random_state=seed).split(rows, labels[rows]))
    return [(rows[train], rows[held_out])]
