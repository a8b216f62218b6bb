"""Labels for many images from few: spread over the graph of nearest neighbours. Imports scikit-learn, this room."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading

from gan_jax.recognition.features import Describe, Standardised
from gan_jax.recognition.machines import fit
from gan_jax.recognition.probe import Labelled

UNLABELLED = 60_000  # images that labels are spread over, at most
_COMPONENTS, _POWER, _NEIGHBOURS = 256, 0.35, 10
# Shares of a label that come from neighbours (Zhou et al. 2004). 0: a machine of the given labels alone. The next: what
# that machine guesses of all images is spread. The last: the given labels are.
_ALONE, _SMOOTHED, _SPREAD = 0.0, 0.8, 0.98
SETTINGS = {  # for what must be measured anew when they change
    "unlabelled": UNLABELLED,
    "components": _COMPONENTS,
    "power": _POWER,
    "neighbours": _NEIGHBOURS,
    "alphas": [_ALONE, _SMOOTHED, _SPREAD],
}


class Directions:
    """Features [N, F] as unit vectors [N, 256 or fewer] whose angles tell how alike images are.

    Principal components of standardised features, each divided by a power of its variance: between components as they
    are, of which the first few rule, and whitened ones, of which the last do.
    """

    def __init__(self, features: np.ndarray) -> None:
        """Finds the components of features [N, F]."""
        self._scale = Standardised.to(features)
        scaled = self._scale(features)
        self._components = PCA(min(_COMPONENTS, *scaled.shape), svd_solver="randomized", random_state=0).fit(scaled)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Unit vectors of any features [N, F]."""
        found = self._components.transform(self._scale(features))
        found /= np.maximum(self._components.explained_variance_, 1e-12) ** _POWER
        units: np.ndarray = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return units.astype(np.float32)


class Neighbourhood:
    """Points and the ten nearest of each: near ones weigh exp(-(d / s)^2), s the median distance to the tenth.

    Attributes:
        graph: weights [N, N] of pairs of which one is among the other's nearest.
    """

    def __init__(self, points: np.ndarray) -> None:
        """Joins points [N, D]."""
        self._count = min(_NEIGHBOURS, len(points) - 1)
        self._search = NearestNeighbors(algorithm="brute").fit(points)
        distances, places = self._search.kneighbors(points, self._count + 1)  # each is its own nearest
        self._scale = max(float(np.median(distances[:, -1])), 1e-12)
        rows = np.repeat(np.arange(len(points)), self._count)
        weights = self._weights(distances[:, 1:]).ravel()
        graph = sparse.csr_array((weights, (rows, places[:, 1:].ravel())), shape=(len(points), len(points)))
        self.graph = sparse.csr_array(graph.maximum(graph.T))

    def shares(self, points: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
        """How much of the weight of other points' ten nearest each class has: [n, K].

        Args:
            points: [n, D].
            labels: of the points of the neighbourhood [N].
            classes: K.
        """
        distances, places = self._search.kneighbors(points, self._count)
        weights = self._weights(distances)
        found = np.stack([(weights * (labels[places] == label)).sum(axis=1) for label in range(classes)], axis=1)
        shares: np.ndarray = found / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
        return shares

    def _weights(self, distances: np.ndarray) -> np.ndarray:
        weights: np.ndarray = np.exp(-((distances / self._scale) ** 2))
        return weights


@dataclasses.dataclass(frozen=True, eq=False)
class Surroundings:
    """Training images that labels spread over: all that does not depend on the labels.

    Attributes:
        rows: which training images, ascending [N].
        features: float32 [N, F].
        describe: images to features, scaled as those are.
        directions: of the features.
        near: of the directions.
    """

    rows: np.ndarray
    features: np.ndarray
    describe: Describe
    directions: Directions
    near: Neighbourhood

    @classmethod
    def of(cls, images: np.ndarray, describe: Describe, rows: np.ndarray, scale: bool = True) -> "Surroundings":
        """Describes training images.

        Args:
            images: uint8 [M, H, W, C].
            describe: see `features.Describe`.
            rows: those whose labels may be given; of more than `UNLABELLED` images, these and some others are taken.
            scale: whether features are standardised.
        """
        members = np.arange(len(images))
        if len(images) > UNLABELLED:
            members = np.union1d(np.random.default_rng(0).permutation(len(images))[:UNLABELLED], rows)
        found = describe(images[members])
        change: Callable[[np.ndarray], np.ndarray] = Standardised.to(found) if scale else np.asarray
        found = change(found)
        directions = Directions(found)
        return cls(members, found, lambda more: change(describe(more)), directions, Neighbourhood(directions(found)))


def learnt_by_spreading(
    data: Labelled, around: Surroundings, rows: np.ndarray, seed: int = 0
) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """A classifier from the labels of a few training images and what is around them.

    What it says of an image is a sum of two: alpha times the classes of its nearest neighbours, as labels were spread,
    and the rest times what a support vector machine of the given labels says.

    Args:
        data: the set; only the labels of `rows` are read.
        around: of its training images.
        rows: training images whose label is known.
        seed: of the choices.

    Returns:
        uint8 images [N, H, W, C] -> classes [N], and alpha; 0 = the machine alone, since neighbours did harm.

    Raises:
        ValueError: some of the rows are not among those of `around`.
    """
    if not np.isin(rows, around.rows).all():
        raise ValueError("labelled images are missing in the surroundings: name them when these are made")
    places, labels = np.searchsorted(around.rows, rows), data.labels[rows]
    alpha = _chosen(around, places, labels, seed)
    machine = fit("rbf", around.features[places], labels, seed)
    spread_labels = _labelled(around, machine, places, labels, alpha) if alpha else None

    def predict(images: np.ndarray) -> np.ndarray:
        features = around.describe(images)
        guesses: np.ndarray = machine.predict(features)
        if spread_labels is None:
            return guesses
        shares = alpha * around.near.shares(around.directions(features), spread_labels, data.num_classes)
        shares[np.arange(len(guesses)), guesses] += 1 - alpha
        return shares.argmax(axis=1)

    return predict, alpha


def spread(graph: sparse.csr_array, rows: np.ndarray, labels: np.ndarray, alpha: float) -> np.ndarray:
    """The class of each image from the labels of some (Zhou et al. 2004, section 2): int [N].

    Args:
        graph: of `Neighbourhood`, [N, N].
        rows: images whose label is given [n].
        labels: of those [n], 0 or more.
        alpha: share of a label that comes from neighbours, in (0, 1).
    """
    given = np.full(graph.shape[0], -1)
    given[rows] = labels
    machine = LabelSpreading(kernel=lambda *_: graph, alpha=alpha, max_iter=5_000, tol=1e-4 * len(rows))
    found: np.ndarray = machine.fit(np.zeros((graph.shape[0], 1)), given).transduction_
    return found


def _labelled(around: Surroundings, machine: Any, places: np.ndarray, labels: np.ndarray, alpha: float) -> np.ndarray:
    """Classes of all images [N] with one of the alphas above 0."""
    if alpha == _SPREAD:
        return spread(around.near.graph, places, labels, alpha)
    guesses = machine.predict(around.features)
    guesses[places] = labels
    return spread(around.near.graph, np.arange(len(guesses)), guesses, alpha)


def _chosen(around: Surroundings, places: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """The alpha that does best on a part of the labels, five times over."""
    right: dict[float, list[np.ndarray]] = {alpha: [] for alpha in (_ALONE, _SMOOTHED, _SPREAD)}
    folds = min(5, int(np.bincount(labels)[np.unique(labels)].min()))
    for known, held_out in StratifiedKFold(folds, shuffle=True, random_state=seed).split(places, labels):
        machine = fit("rbf", around.features[places[known]], labels[known], seed)
        for alpha in right:
            if alpha:
                guessed = _labelled(around, machine, places[known], labels[known], alpha)[places[held_out]]
            else:
                guessed = machine.predict(around.features[places[held_out]])
            right[alpha].append(guessed == labels[held_out])
    shares = {alpha: float(np.mean(np.concatenate(found))) for alpha, found in right.items()}
    return most_within_error(shares, len(places))


def most_within_error(shares: dict[float, float], count: int) -> float:
    """The largest alpha whose share of right answers is within a standard error of the best (Breiman et al. 1984).

    A hundred labels tell accuracies apart that differ by four points and more; where they cannot, neighbours help.

    Args:
        shares: by alpha.
        count: answers that each is the share of.
    """
    best = max(shares.values())
    error = np.sqrt(best * (1 - best) / count)
    return max(alpha for alpha, share in shares.items() if share >= best - error)
