"""Labels that spread over the graph of nearest neighbours."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import make_moons

from gan_jax.config import Config
from gan_jax.recognition import features, probe, spreading
from gan_jax.recognition.machines import fit


def test_a_graph_joins_the_nearest_both_ways() -> None:
    points = np.random.default_rng(0).normal(size=(60, 3))
    graph = spreading.Neighbourhood(points).graph.toarray()
    distances = cdist(points, points)
    nearest = np.argsort(distances, axis=1)[:, 1:11]
    joined = np.zeros_like(graph, dtype=bool)
    joined[np.repeat(np.arange(60), 10), nearest.ravel()] = True
    assert ((graph > 0) == (joined | joined.T)).all()
    scale = np.median(np.sort(distances, axis=1)[:, 10])
    np.testing.assert_allclose(graph[graph > 0], np.exp(-((distances[graph > 0] / scale) ** 2)), rtol=1e-6)


def test_labels_spread_by_the_closed_form_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    graph = spreading.Neighbourhood(rng.normal(size=(80, 2))).graph
    rows, labels, alpha = np.array([3, 17, 40, 66]), np.array([0, 1, 2, 1]), 0.9
    degree = graph.toarray().sum(axis=1)
    normal = graph.toarray() / np.sqrt(np.outer(degree, degree))
    given = np.zeros((80, 3))
    given[rows, labels] = 1
    expected = np.linalg.solve(np.eye(80) - alpha * normal, given).argmax(axis=1)  # F = (I - alpha S)^-1 Y
    assert (spreading.spread(graph, rows, labels, alpha) == expected).mean() > 0.98  # up to ties of its last step


def test_one_label_a_moon_is_enough() -> None:
    points, moons = make_moons(600, noise=0.05, random_state=0)
    rows = np.array([np.flatnonzero(moons == moon)[0] for moon in (0, 1)])
    guessed = spreading.spread(spreading.Neighbourhood(points).graph, rows, np.array([0, 1]), 0.99)
    assert np.mean(guessed == moons) > 0.98


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({0.0: 0.80, 0.9: 0.78, 0.99: 0.77}, 0.99),  # an error of 4 points: no difference
        ({0.0: 0.80, 0.9: 0.78, 0.99: 0.70}, 0.9),
        ({0.0: 0.95, 0.9: 0.70, 0.99: 0.60}, 0.0),
    ],
)
def test_neighbours_help_unless_they_clearly_harm(shares: dict[float, float], expected: float) -> None:
    assert spreading.most_within_error(shares, 100) == expected


def test_few_labels_teach_digits() -> None:
    digits = probe.load_labelled(Config().replace({"data.image_size": 8}))
    rows = probe.balanced(digits.labels, 40, 0)
    around = spreading.Surroundings.of(digits.train, features.pixels, rows)
    predict, alpha = spreading.learnt_by_spreading(digits, around, rows)
    alone = fit("rbf", features.pixels(digits.train[rows]), digits.labels[rows])
    right = np.mean(predict(digits.test) == digits.test_labels)
    assert alpha > 0 and right > np.mean(alone.predict(features.pixels(digits.test)) == digits.test_labels) + 0.02
    # Labels that are not given are not read.
    blind = digits.labels.copy()
    blind[np.setdiff1d(np.arange(len(blind)), rows)] = 0
    hidden = probe.Labelled(digits.train, blind, digits.test, digits.test_labels, digits.class_names)
    again = spreading.learnt_by_spreading(hidden, around, rows)[0]
    np.testing.assert_array_equal(again(digits.test), predict(digits.test))
