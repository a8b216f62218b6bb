"""Labels for many images from few: spread over the graph of nearest neighbours. Imports scikit-learn, this room."""

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

UNLABELLED = 20_000  # images that labels are spread over
_COMPONENTS, _NEIGHBOURS = 64, 10
_ALPHAS = (0.0, 0.9, 0.99)  # share of a label that comes from neighbours (Zhou et al. 2004); 0 = no spreading
_TAUGHT = 8_000  # spread labels that the classifier learns from
SETTINGS = {  # for what must be measured anew when they change
    "unlabelled": UNLABELLED,
    "components": _COMPONENTS,
    "neighbours": _NEIGHBOURS,
    "alphas": list(_ALPHAS),
    "taught": _TAUGHT,
}


def learnt_by_spreading(
    data: Labelled, describe: Describe, rows: np.ndarray, seed: int = 0, scale: bool = True
) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """A classifier from the labels of a few training images and as many others as `UNLABELLED`.

    Args:
        data: the set; only the labels of `rows` are read.
        describe: see `features.Describe`.
        rows: training images whose label is known.
        seed: of the choices.
        scale: whether features are standardised.

    Returns:
        uint8 images [N, H, W, C] -> classes [N], and alpha of `taught_by_neighbours`.
    """
    others = np.setdiff1d(np.random.default_rng(0).permutation(len(data.train))[:UNLABELLED], rows)
    found = describe(data.train[np.concatenate([rows, others])])
    change: Callable[[np.ndarray], np.ndarray] = Standardised.to(found) if scale else np.asarray
    machine, alpha = taught_by_neighbours(change(found), np.arange(len(rows)), data.labels[rows], seed)
    return lambda images: machine.predict(change(describe(images))), alpha


def directions(features: np.ndarray) -> np.ndarray:
    """Features [N, F] as unit vectors [N, 64 or fewer] whose angles tell how alike images are.

    Principal components of the standardised features, each divided by the square root of its spread: between those as
    they are, of which the first few rule, and whitened ones, of which the last do.
    """
    scaled = Standardised.to(features)(features)
    components = PCA(min(_COMPONENTS, *scaled.shape), svd_solver="randomized", random_state=0)
    found = components.fit_transform(scaled)
    found /= np.maximum(components.explained_variance_, 1e-12) ** 0.25
    units: np.ndarray = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return units


def neighbourhood(points: np.ndarray) -> sparse.csr_array:
    """Weights [N, N] of the graph that joins each point with its ten nearest, in both directions: exp(-(d / s)^2).

    s is the median distance to the tenth.
    """
    count = min(_NEIGHBOURS, len(points) - 1)
    distances, places = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(points).kneighbors(points)
    scale = max(float(np.median(distances[:, -1])), 1e-12)
    weights = np.exp(-((distances[:, 1:] / scale) ** 2)).ravel()
    rows = np.repeat(np.arange(len(points)), count)
    graph = sparse.csr_array((weights, (rows, places[:, 1:].ravel())), shape=(len(points), len(points)))
    return sparse.csr_array(graph.maximum(graph.T))


def spread(graph: sparse.csr_array, rows: np.ndarray, labels: np.ndarray, alpha: float) -> np.ndarray:
    """The class of each image from the labels of a few (Zhou et al. 2004, section 2): int [N].

    Args:
        graph: of `neighbourhood`, [N, N].
        rows: images whose label is given [n].
        labels: of those [n], 0 or more.
        alpha: share of a label that comes from neighbours, in (0, 1).
    """
    given = np.full(graph.shape[0], -1)
    given[rows] = labels
    machine = LabelSpreading(kernel=lambda *_: graph, alpha=alpha, max_iter=5_000, tol=1e-4 * len(rows))
    found: np.ndarray = machine.fit(np.zeros((graph.shape[0], 1)), given).transduction_
    return found


def taught_by_neighbours(
    features: np.ndarray, rows: np.ndarray, labels: np.ndarray, seed: int = 0
) -> tuple[Any, float]:
    """A support vector machine with a Gaussian kernel, taught by the labels of a few and what they say of the others.

    Args:
        features: float32 [N, F] of labelled and unlabelled images.
        rows: images whose label is given [n].
        labels: of those [n], at least two of each class.
        seed: of the folds by which alpha is chosen, and of which spread labels are learnt.

    Returns:
        The machine, and alpha; 0 = labels were not spread, since a machine of the given ones alone did better.
    """
    graph = neighbourhood(directions(features))
    right: dict[float, list[np.ndarray]] = {alpha: [] for alpha in _ALPHAS}
    folds = min(5, int(np.bincount(labels)[np.unique(labels)].min()))
    for known, held_out in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels):
        for alpha in _ALPHAS:
            if alpha:
                guessed = spread(graph, rows[known], labels[known], alpha)[rows[held_out]]
            else:
                machine = fit("rbf", features[rows[known]], labels[known], seed)
                guessed = machine.predict(features[rows[held_out]])
            right[alpha].append(guessed == labels[held_out])
    shares = {alpha: float(np.mean(np.concatenate(found))) for alpha, found in right.items()}
    alpha = most_within_error(shares, len(rows))
    if not alpha:
        return fit("rbf", features[rows], labels, seed), alpha
    guessed = spread(graph, rows, labels, alpha)
    guessed[rows] = labels
    others = np.setdiff1d(np.arange(len(features)), rows)
    learnt = np.concatenate([rows, np.random.default_rng(seed).permutation(others)[:_TAUGHT]])
    return fit("rbf", features[learnt], guessed[learnt], seed), alpha


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
