"""Canvases, what is found on them, and both detectors, on scikit-learn's digits."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.config import Config, load_config
from gan_jax.recognition import probe
from gan_jax.recognition.canvases import Canvas, Found, make_canvases, mean_precision, overlaps, suppressed
from gan_jax.recognition.detecting import Detecting
from gan_jax.recognition.detection import decode, focal_loss, targets


@pytest.fixture(scope="module")
def digits() -> probe.Labelled:
    return probe.load_labelled(Config().replace({"data.image_size": 8}))


def test_canvases_hold_what_they_say(digits: probe.Labelled) -> None:
    canvases = make_canvases(digits.train, digits.labels, 40, 0, 32)
    again = make_canvases(digits.train, digits.labels, 40, 0, 32)
    for one, two in zip(canvases, again, strict=True):
        assert np.array_equal(one.image, two.image) and np.array_equal(one.boxes, two.boxes)
    for canvas in canvases:
        assert 1 <= len(canvas.boxes) == len(canvas.labels) <= 3
        assert canvas.boxes.min() >= 0 and canvas.boxes.max() <= 32
        between = overlaps(canvas.boxes, canvas.boxes) - np.eye(len(canvas.boxes))
        assert between.max() <= 0.3 + 1e-6
        for top, left, bottom, right in canvas.boxes.astype(int):
            assert canvas.image[top:bottom, left:right].mean() > canvas.image.mean()


def test_overlaps_of_squares() -> None:
    a = np.array([[0.0, 0, 2, 2]])
    assert overlaps(a, np.array([[0.0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6]]))[0].tolist() == pytest.approx(
        [1, 1 / 7, 0]
    )


def test_precision_of_a_case_done_by_hand() -> None:
    canvas = Canvas(np.zeros((8, 8, 1), np.uint8), np.array([[0, 0, 4, 4], [4, 4, 8, 8]], np.float32), np.array([0, 0]))
    boxes = np.array([[0, 0, 4, 4], [0, 4, 4, 8], [4, 4, 8, 8], [0, 0, 4, 4]], float)
    found = Found(boxes, np.zeros(4, int), np.array([0.9, 0.8, 0.7, 0.6]))  # right, wrong, right, found already
    assert mean_precision([canvas], [found], 1) == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert mean_precision([canvas], [Found(boxes[:0], np.zeros(0, int), np.zeros(0))], 1) == 0
    kept = suppressed(Found(boxes, np.zeros(4, int), np.array([0.9, 0.8, 0.7, 0.95])))
    assert kept.scores.tolist() == [0.95, 0.8, 0.7]


def test_targets_are_read_back_as_the_boxes(digits: probe.Labelled) -> None:
    for canvas in make_canvases(digits.train, digits.labels, 10, 1, 32):
        wanted = targets([canvas], 10)
        assert int((wanted["heat"] == 1).sum()) == int(wanted["there"].sum()) == len(canvas.boxes)
        logits = np.log(np.maximum(wanted["heat"][0], 1e-6))
        found = decode(logits, wanted["shape"][0])
        found = Found(*(array[found.scores > -1e-3] for array in found))
        assert mean_precision([canvas], [found], 10) == 100


def test_focal_loss_of_one_place_each() -> None:
    heat, logits = jnp.array([1.0, 0.0, 0.5]), jnp.array([0.3, -0.2, 1.0])
    p = 1 / (1 + np.exp(-np.asarray(logits)))
    expected = -((1 - p[0]) ** 2 * np.log(p[0]) + p[1] ** 2 * np.log(1 - p[1]) + 0.5**4 * p[2] ** 2 * np.log(1 - p[2]))
    assert float(focal_loss(logits, heat)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("method", ["hog", "ours", "frozen"])
def test_detectors_find_digits(root: pathlib.Path, digits: probe.Labelled, method: str) -> None:
    changes = {
        "data.source": "digits",
        "data.path": "",
        "model.d_width": 8,
        "model.g_width": 32,
        "data.batch_size": 16,
        "model.d_extra_stages": 0,
        "optimizer.d_lr": 1e-3,
    }  # as the suite detects

    def config(seed: int) -> Config:
        return load_config(root / "configs" / "recognition.py", changes | {"data.image_size": 8, "seed": seed})

    rules = Detecting(lambda: digits, config, side=32, unlabelled=64, images=320, tested=20, steps=150)
    found = rules.measure(method, 60, 0)
    floor = {"hog": 8, "ours": 8, "frozen": 1}[method]  # nothing found is 0; a digit of 8x8 has few gradients
    assert found["map50"] > floor and found["ap50_any"] > floor
    assert jax.device_count() == 8  # the GAN's batch is split, the detector needs one device
