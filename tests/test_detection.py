"""Canvases, what is found on them, and both detectors, on scikit-learn's digits."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.config import Config, load_config
from gan_jax.data.arrays import ArraySource
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.program import build
from gan_jax.recognition import probe
from gan_jax.recognition.canvases import Canvas, Found, make_canvases, mean_precision, overlaps, suppressed
from gan_jax.recognition.controls import train_on, untrained
from gan_jax.recognition.detecting import Detecting
from gan_jax.recognition.detection import decode, focal_loss, moved, targets
from gan_jax.runtime.mesh import make_mesh


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


def test_what_is_said_of_a_canvas_moves_with_it(digits: probe.Labelled) -> None:
    canvases = make_canvases(digits.train, digits.labels, 30, 1, 32)
    wanted = targets(canvases, 10)
    found = moved(wanted, np.random.default_rng(0))
    assert {name: array.shape for name, array in found.items()} == {n: array.shape for n, array in wanted.items()}
    shifts = set()
    for number in range(30):
        for row, column in np.argwhere(found["there"][number]):
            (place,) = np.argwhere((wanted["shape"][number] == found["shape"][number, row, column]).all(axis=-1)
                                   & (wanted["there"][number] == 1))  # fmt: skip
            assert np.array_equal(wanted["heat"][number][*place], found["heat"][number, row, column])
            before, after = wanted["image"][number], found["image"][number]
            y, x = 4 * place, 4 * np.array([row, column])
            assert np.array_equal(before[y[0] : y[0] + 4, y[1] : y[1] + 4], after[x[0] : x[0] + 4, x[1] : x[1] + 4])
            shifts.add((number, *(place - [row, column])))
    assert len({number for number, *_ in shifts}) == len(shifts), "one way a canvas"
    assert len({tuple(shift) for _, *shift in shifts}) > 10
    assert 0 < found["there"].sum() < wanted["there"].sum(), "what leaves is no longer asked for"


def test_focal_loss_of_one_place_each() -> None:
    heat, logits = jnp.array([1.0, 0.0, 0.5]), jnp.array([0.3, -0.2, 1.0])
    p = 1 / (1 + np.exp(-np.asarray(logits)))
    expected = -((1 - p[0]) ** 2 * np.log(p[0]) + p[1] ** 2 * np.log(1 - p[1]) + 0.5**4 * p[2] ** 2 * np.log(1 - p[2]))
    assert float(focal_loss(logits, heat)) == pytest.approx(float(expected), rel=1e-5)


def recipe(root: pathlib.Path) -> Config:
    """Of a small GAN of digits."""
    changes = {"data.source": "digits", "data.path": "", "data.image_size": 8, "data.batch_size": 16,
               "model.d_width": 8, "model.g_width": 32, "total_images": 320}  # fmt: skip
    return load_config(root / "configs" / "recognition.py", changes)


@pytest.fixture(scope="module")
def gan(root: pathlib.Path, digits: probe.Labelled) -> Gan:
    config = recipe(root)
    return train_on(build(config, digits.train.shape[1:], 0, make_mesh()), ArraySource({"image": digits.train}))


@pytest.mark.parametrize("method", ["hog", "ours", "frozen"])
def test_detectors_find_digits(root: pathlib.Path, digits: probe.Labelled, gan: Gan, method: str) -> None:
    """Two classes: of ten on so few canvases chance decides, and the last bits of a JAX version with it."""
    train, test = digits.labels < 2, digits.test_labels < 2
    two = probe.Labelled(digits.train[train], digits.labels[train], digits.test[test], digits.test_labels[test],
                         digits.class_names[:2])  # fmt: skip
    rules = Detecting(lambda: two, lambda seed: recipe(root), lambda seed: gan, side=32, tested=20, steps=300)
    found = rules.measure(method, 60, 0)
    floor = {"hog": 8, "ours": 8, "frozen": 1}[method]  # nothing found is 0; a digit of 8x8 has few gradients
    assert found["map50"] > floor and found["ap50_any"] > floor
    assert jax.device_count() == 8  # the GAN's batch is split, the detector needs one device


def test_the_trunk_sees_canvases_as_the_gan_sees_its_images(
    root: pathlib.Path, digits: probe.Labelled, gan: Gan
) -> None:
    """Far from the borders a convolution says the same of a digit wherever it lies."""
    rules = Detecting(lambda: digits, lambda seed: recipe(root), lambda seed: gan, side=32)
    image = digits.train[:1].astype(np.float32) / 127.5 - 1
    canvas = np.full((1, 32, 32, 1), image.min(), np.float32)
    canvas[:, 8:16, 16:24] = image
    alone = np.full((1, 8, 8, 1), image.min(), np.float32)
    small, large = gan.features(image), rules.trunk("ours", 0).features(canvas)
    np.testing.assert_allclose(large["stage_1"][:, 5:7, 9:11], small["stage_1"][:, 1:3, 1:3], atol=1e-5)
    assert not np.allclose(small["stage_1"][:, 1:3, 1:3], gan.features(alone)["stage_1"][:, 1:3, 1:3], atol=1e-2)
    assert not np.allclose(rules.trunk("random", 0).features(canvas)["stage_1"], large["stage_1"], atol=1e-2)


def test_a_class_conditional_trunk_serves(root: pathlib.Path, digits: probe.Labelled) -> None:
    config = recipe(root).replace({"model.conditional": True})
    mine = untrained(build(config, digits.train.shape[1:], digits.num_classes, make_mesh()), 1)
    rules = Detecting(lambda: digits, lambda seed: config, lambda seed: mine, side=32, tested=4, steps=2)
    assert set(rules.measure("frozen", 4, 0)) == {"map50", "ap50_any"}


def test_detection_needs_a_dcgan(digits: probe.Labelled, gan: Gan) -> None:
    config = Config().replace({"model.architecture": "mlp"})
    rules = Detecting(lambda: digits, lambda seed: config, lambda seed: gan, side=32)
    with pytest.raises(InputError, match="config.model.architecture=mlp: detection needs the stages of a dcgan"):
        rules.measure("ours", 20, 0)
