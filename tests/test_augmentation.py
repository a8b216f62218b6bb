"""Augmentations: identity at p = 0, shares, references in NumPy, linearity, one or eight devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.adversarial import ada
from gan_jax.adversarial.diffaugment import diffaugment
from gan_jax.adversarial.warp import quarter_turns, reflected, resample, rotate
from gan_jax.config import ADA, DIFFAUGMENT
from gan_jax.runtime.mesh import batch_sharding, make_mesh, shard_batch

SIZE = 8


def whole(array):
    return array


def pictures(count=256, size=SIZE):
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


@functools.cache
def everything():
    """All of both methods, compiled once: (key, images, p) -> (ada, diffaugment)."""
    return jax.jit(lambda key, x, p: (ada.augment(key, x, p, ADA, whole), diffaugment(key, x, DIFFAUGMENT, whole)))


def test_p_zero_is_the_identity_and_p_one_touches_every_image() -> None:
    images = pictures()
    for p, share in ((0.0, 0.0), (1.0, 1.0)):
        changed, _ = everything()(jax.random.key(0), images, jnp.float32(p))
        assert np.isfinite(changed).all()
        assert np.mean((np.asarray(changed) != images).any((1, 2, 3))) == share
    assert not np.array_equal(changed, everything()(jax.random.key(1), images, jnp.float32(1))[0])


def test_a_share_p_of_the_examples_is_transformed() -> None:
    """A flip is none in one case of two, a quarter turn in one of four."""
    count, p = 2000, 0.3
    images = pictures(count, 4)
    expected = {"scale": p, "rotate90": 0.75 * p, "flip": 0.5 * p, "hue": p, "cutout": p}
    expected["brightness,saturation"] = 1 - (1 - p) ** 2  # independently

    @jax.jit
    def run(x):
        sets = [tuple(name.split(",")) for name in expected]
        return [jnp.any(ada.augment(jax.random.key(7), x, 0.3, one, whole) != x, (1, 2, 3)).mean() for one in sets]

    for (name, wanted), found in zip(expected.items(), run(images), strict=True):
        assert abs(found - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / count), name


def test_both_methods_are_affine_in_the_image_and_pass_gradients() -> None:
    """<w, T(x + d) - T(x)> = <J^T w, d> for fixed draws, and the gradient reaches the pixels of every image."""
    x, d, w = np.random.default_rng(1).normal(size=(3, 6, SIZE, SIZE, 3)).astype(np.float32)

    @jax.jit
    def run(x):
        def product(x):
            key = jax.random.key(3)
            return jnp.vdot(w, ada.augment(key, x, 0.8, ADA, whole) + diffaugment(key, x, DIFFAUGMENT, whole))

        return jax.value_and_grad(product)(x)

    (before, slope), (after, _) = run(x), run(x + d)
    np.testing.assert_allclose(after - before, np.vdot(slope, d), rtol=1e-3)
    assert (np.abs(np.asarray(slope)).sum((1, 2, 3)) > 0).all()


def test_eight_devices_augment_as_one() -> None:
    mesh, images, key = make_mesh(), pictures(), jax.random.key(5)
    shard = functools.partial(shard_batch, mesh)

    @jax.jit
    def run(x, p):
        return ada.augment(key, x, p, ADA, shard), diffaugment(key, x, DIFFAUGMENT, shard)

    shared = run(jax.device_put(images, batch_sharding(mesh)), jnp.float32(0.7))
    assert all(len(array.sharding.device_set) == 8 for array in shared)
    alone = everything()(key, images, jnp.float32(0.7))
    # Places of up to 8 carry rounding of 1e-6, times the slope between two pixels.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), shared, alone)


# ---------------------------------------------------------------- DiffAugment


def test_translation_is_a_shift_with_zeros_coming_in() -> None:
    images, reach = pictures(), round(SIZE / 8)
    moved = np.asarray(jax.jit(lambda x: diffaugment(jax.random.key(0), x, ("translation",), whole))(images))
    padded = np.pad(images, [(0, 0), (reach, reach), (reach, reach), (0, 0)])
    steps = range(2 * reach + 1)
    shifted = {(i, j): padded[:, i : i + SIZE, j : j + SIZE] for i in steps for j in steps}
    found = [
        [place for place, other in shifted.items() if np.array_equal(one, other[n])] for n, one in enumerate(moved)
    ]
    assert all(len(places) == 1 for places in found)
    assert {places[0] for places in found} == set(shifted)  # every shift occurs


def test_cutout_zeros_one_rectangle_of_half_the_side() -> None:
    images = pictures()
    cut = np.asarray(jax.jit(lambda x: diffaugment(jax.random.key(0), x, ("cutout",), whole))(images))
    hole = (cut == 0).all(3)
    np.testing.assert_array_equal(np.where(hole[..., None], 0, images), cut)
    rows, columns = hole.any(2), hole.any(1)
    np.testing.assert_array_equal(hole, rows[:, :, None] & columns[:, None])
    for side in (rows, columns):
        assert side.sum(1).max() == SIZE // 2 and side.sum(1).min() >= SIZE // 4  # it may reach over the border


def test_signals_are_moved_and_cut_along_their_length() -> None:
    signals, reach = pictures()[:, :, 0], round(SIZE / 8)  # [B, L, C]
    moved = np.asarray(jax.jit(lambda x: diffaugment(jax.random.key(0), x, ("translation",), whole))(signals))
    padded = np.pad(signals, [(0, 0), (reach, reach), (0, 0)])
    shifted = [padded[:, start : start + SIZE] for start in range(2 * reach + 1)]
    found = [[s for s, other in enumerate(shifted) if np.array_equal(one, other[n])] for n, one in enumerate(moved)]
    assert all(len(starts) == 1 for starts in found)
    assert {starts[0] for starts in found} == set(range(2 * reach + 1))

    cut = np.asarray(jax.jit(lambda x: diffaugment(jax.random.key(0), x, ("cutout",), whole))(signals))
    hole = (cut == 0).all(2)
    np.testing.assert_array_equal(np.where(hole[..., None], 0, signals), cut)
    assert hole.sum(1).max() == SIZE // 2 and hole.sum(1).min() >= SIZE // 4
    assert (np.diff(hole.astype(int), axis=1) > 0).sum(1).max() <= 1  # one hole


def test_color_keeps_what_its_formulas_keep() -> None:
    """The mean moves by brightness alone; differences of channels shrink or grow by one factor an image."""
    images = pictures()
    coloured = np.asarray(jax.jit(lambda x: diffaugment(jax.random.key(0), x, ("color",), whole))(images))
    lift = (coloured - images).mean((1, 2, 3))
    assert -0.5 <= lift.min() < -0.4 and 0.4 < lift.max() <= 0.5
    before, after = (array[..., 0] - array[..., 1] for array in (images, coloured))
    factor = (before * after).sum((1, 2)) / (before * before).sum((1, 2))
    np.testing.assert_allclose(after, factor[:, None, None] * before, atol=1e-5)
    assert factor.min() >= 0 and 2 < factor.max() <= 3


# ---------------------------------------------------------------- geometry


def test_resampling_at_whole_places_is_numpys_reflecting_pad() -> None:
    images = pictures(9)
    rows, columns = np.arange(9) % 3 - 1, np.arange(9) // 3 - 1
    places = [reflected(jnp.arange(SIZE) + 2.0 * offset[:, None], SIZE) for offset in (rows, columns)]
    moved = resample(jnp.asarray(images), *places)
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    for n in range(9):
        i, j = 2 + 2 * rows[n], 2 + 2 * columns[n]
        np.testing.assert_array_equal(moved[n], padded[n, i : i + SIZE, j : j + SIZE])


def test_resampling_interpolates_linearly() -> None:
    ramp = jnp.broadcast_to(jnp.arange(SIZE, dtype=jnp.float32)[:, None, None], (1, SIZE, SIZE, 1))
    rows = jnp.linspace(0.25, 6.5, 5)[None]
    moved = resample(ramp, rows, jnp.arange(SIZE, dtype=jnp.float32)[None])
    np.testing.assert_allclose(moved[0, :, 3, 0], rows[0], rtol=1e-6)


@pytest.mark.parametrize("size", [4, 7, 8])
def test_quarter_turns_are_those_of_numpy(size: int) -> None:
    images = pictures(4, size)
    turns = jnp.arange(4)
    expected = np.stack([np.rot90(image, turn) for turn, image in enumerate(images)])
    np.testing.assert_array_equal(quarter_turns(jnp.asarray(images), turns), expected)
    np.testing.assert_allclose(rotate(jnp.asarray(images), turns * (jnp.pi / 2)), expected, atol=1e-6)


def test_rotation_turns_a_slope_about_the_centre() -> None:
    """Linear interpolation is exact on a slope, wherever no border comes in."""
    size, angles = 16, np.array([0.0, 0.3, -0.7, 1.9, 3.0], np.float32)
    rows, columns = np.meshgrid(*[np.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    slope = (0.3 * rows - 0.8 * columns).astype(np.float32)
    images = jnp.broadcast_to(slope[None, :, :, None], (len(angles), size, size, 1))
    turned = np.asarray(rotate(images, jnp.asarray(angles)))[..., 0]
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    expected = 0.3 * (rows * cos + columns * sin) - 0.8 * (columns * cos - rows * sin)
    middle = slice(5, -5)
    np.testing.assert_allclose(turned[:, middle, middle], expected[:, middle, middle], atol=1e-5)
    np.testing.assert_array_equal(turned[0], slope)


# ---------------------------------------------------------------- colours


def test_colour_transforms_keep_their_invariants() -> None:
    images, key = pictures(64), jax.random.key(1)
    grey = np.repeat(images[..., :1], 3, 3)

    @jax.jit
    def run(x):
        names = ("hue", "saturation", "luma_flip", "contrast", "brightness")
        return {name: ada.augment(key, x, 1.0, (name,), whole) for name in names}

    colour, plain = run(images), run(grey)
    for name in ("hue", "saturation"):  # greys stay, and so does the mean over the channels
        np.testing.assert_allclose(plain[name], grey, atol=1e-6)
        np.testing.assert_allclose(colour[name].mean(3), images.mean(3), atol=1e-6)
    np.testing.assert_allclose(np.square(colour["hue"]).sum(3), np.square(images).sum(3), atol=1e-5)  # a rotation
    flipped = np.isclose(plain["luma_flip"], -grey, atol=1e-6).all((1, 2, 3))
    same = np.isclose(plain["luma_flip"], grey, atol=1e-6).all((1, 2, 3))
    assert (flipped ^ same).all() and 0.2 < flipped.mean() < 0.8
    ratio, lift = np.asarray(colour["contrast"]) / images, np.asarray(colour["brightness"]) - images
    for constant in (ratio, lift):
        np.testing.assert_allclose(constant, constant[:, :1, :1, :1] * np.ones_like(constant), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.log2(ratio[:, 0, 0, 0]).std(), 0.5, rtol=0.3)
    np.testing.assert_allclose(lift[:, 0, 0, 0].std(), 0.2, rtol=0.3)
