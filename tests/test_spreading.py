"""Labels that spread over the graph of nearest neighbours."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import make_moons

from gan_jax.config import Config
from gan_jax.recognition import features, probe, spreading
from gan_jax.recognition.machines import fit


@pytest.fixture(scope="module")
def digits() -> probe.Labelled:
    return probe.load_labelled(Config().replace({"data.image_size": 8}))


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


def test_few_labels_teach_digits(digits: probe.Labelled) -> None:
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


@pytest.mark.parametrize("alpha", [0.0, 0.8, 0.98])
def test_every_way_of_spreading_teaches(digits: probe.Labelled, monkeypatch: pytest.MonkeyPatch, alpha: float) -> None:
    """Labels that were spread teach more than the machine of the given ones knows."""
    tried: list[dict[float, float]] = []
    monkeypatch.setattr(spreading, "most_within_error", lambda shares, count: tried.append(shares) or alpha)
    rows = probe.balanced(digits.labels, 100, 0)
    around = spreading.Surroundings.of(digits.train, features.pixels, rows)
    predict, chosen = spreading.learnt_by_spreading(digits, around, rows)
    (shares,) = tried
    assert chosen == alpha and set(shares) == {0.0, 0.8, 0.98} and len(set(shares.values())) > 1
    alone = fit("rbf", around.features[rows], digits.labels[rows]).predict(around.describe(digits.test))
    if alpha:
        assert np.mean(predict(digits.test) == digits.test_labels) > np.mean(alone == digits.test_labels) + 0.01
    else:
        np.testing.assert_array_equal(predict(digits.test), alone)


def test_neighbours_of_new_points_vote_by_their_weight() -> None:
    rng = np.random.default_rng(2)
    points, new, labels = rng.normal(size=(50, 3)), rng.normal(size=(7, 3)), rng.integers(0, 4, 50)
    distances = cdist(points, points)
    scale = np.median(np.sort(distances, axis=1)[:, 10])
    expected = np.zeros((7, 4))
    for row, line in enumerate(cdist(new, points)):
        for place in np.argsort(line)[:10]:
            expected[row, labels[place]] += np.exp(-((line[place] / scale) ** 2))
    found = spreading.Neighbourhood(points).shares(new, labels, 4)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)


def test_of_many_images_a_part_and_the_labelled_ones_are_taken(
    digits: probe.Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "UNLABELLED", 200)
    rows = probe.balanced(digits.labels, 40, 0)
    around = spreading.Surroundings.of(digits.train, features.pixels, rows)
    assert 200 <= len(around.rows) <= 240 and np.isin(rows, around.rows).all()
    predict, _ = spreading.learnt_by_spreading(digits, around, rows)
    assert np.mean(predict(digits.test) == digits.test_labels) > 0.7
    with pytest.raises(ValueError, match="labelled images are missing"):
        spreading.learnt_by_spreading(digits, around, np.setdiff1d(np.arange(len(digits.train)), around.rows)[:40])
