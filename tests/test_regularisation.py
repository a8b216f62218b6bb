"""Packs, spread of minibatches, LeCam, consistency, path length, adaptive augmentation: closed forms and invariants."""

import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from tiny import fill, run, tiny_config, tiny_program

from gan_jax.adversarial import penalties
from gan_jax.adversarial.game import Game
from gan_jax.adversarial.losses import LOSSES, confidence
from gan_jax.adversarial.packing import interleave, pack, packed_shape
from gan_jax.adversarial.running import adapted, blended, initial
from gan_jax.adversarial.state import Net
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.models.layers import MinibatchStd
from gan_jax.models.stylegan2 import modulated_conv
from gan_jax.program import build
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.mesh import batch_sharding, make_mesh

BATCH, SHAPE = 8, (8, 8, 1)


class Linear(nn.Module):
    """D(x) = <w, x>."""

    cross_sample: bool = False

    @nn.compact
    def __call__(self, images, labels=None, *, train):
        flat = images.reshape(len(images), -1)
        return flat @ self.param("w", nn.initializers.normal(), flat.shape[1:]), {}


def game_of(changes: dict[str, Any]) -> Game:
    common = {"data.batch_size": BATCH, "data.image_size": SHAPE[:2], "watchdog.enabled": False}
    return Game(Linear(), Linear(), Config().replace(common | changes), lambda array: array)


def examples(seed: int, shape: tuple[int, ...] = SHAPE) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (BATCH, *shape))


def d_loss(game: Game, w: jax.Array, hyper: dict[str, float], real: jax.Array, fake: jax.Array) -> dict[str, Any]:
    net = Net({"w": jnp.asarray(w)}, {}, None)
    labels = jnp.zeros(BATCH, jnp.int32)
    total, (_, metrics) = game.d_loss(net, jax.random.key(0), real, fake, labels, hyper, True)
    return {"total": total, **metrics}


# ---------------------------------------------------------------- packs


def test_a_pack_lays_consecutive_examples_side_by_side() -> None:
    images = np.arange(4 * 2 * 2 * 3).reshape(4, 2, 2, 3)
    packed = np.asarray(pack(jnp.asarray(images), 2))
    assert packed.shape[1:] == packed_shape((2, 2, 3), 2) == (2, 2, 6)
    np.testing.assert_array_equal(packed[1], np.concatenate([images[2], images[3]], -1))
    points = np.arange(12).reshape(6, 2)
    np.testing.assert_array_equal(pack(jnp.asarray(points), 3), points.reshape(2, 6))
    assert pack(images, 1) is images


def test_packs_of_reals_and_fakes_alternate() -> None:
    real, fake = np.arange(4)[:, None], -np.arange(1, 5)[:, None]
    assert interleave(real, fake)[:, 0].tolist() == [0, -1, 1, -2, 2, -3, 3, -4]
    assert interleave(real, fake, 2)[:, 0].tolist() == [0, 1, -1, -2, 2, 3, -3, -4]


def test_packed_loss_and_penalties_are_those_of_packs() -> None:
    """A linear critic of pairs: R1 = R2 = |w|^2 of both halves, and the losses are those of pairs."""
    game = game_of({"model.pack": 2, "penalty.r1": 1.0, "penalty.r2": 1.0, "penalty.wgan_gp": 1.0})
    real, fake = examples(1, (2,)), examples(2, (2,))
    w = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
    found = d_loss(game, w, {"r1": 1.0, "r2": 1.0, "wgan_gp": 1.0}, real, fake)
    norm = np.square(w).sum()
    logits = [np.asarray(x).reshape(BATCH // 2, 4) @ w for x in (real, fake)]
    np.testing.assert_allclose(
        found["d_loss"], np.mean(np.logaddexp(0, -logits[0]) + np.logaddexp(0, logits[1])), rtol=1e-5
    )
    np.testing.assert_allclose([found["r1"], found["r2"]], norm, rtol=1e-5)
    np.testing.assert_allclose(found["wgan_gp"], (np.sqrt(norm) - 1) ** 2, rtol=1e-4)


def test_points_between_packs_have_one_share_a_pack() -> None:
    points = np.asarray(penalties.between(jax.random.key(0), jnp.zeros((8, 3)), jnp.ones((8, 3)), pack=2))
    np.testing.assert_array_equal(points, np.repeat(points[::2, :1], 2, 0) * np.ones(3))
    assert len(np.unique(points)) == 4


def test_a_packed_run_is_the_same_on_1_and_8_devices_and_packs_have_no_features() -> None:
    states = {}
    for devices in (1, 8):
        program = tiny_program("mlp", devices, {"model.pack": 2})
        states[devices], metrics = run(program, 2)
        assert np.isfinite(metrics["d_loss"])
    assert states[1].d.params["hidden_1"]["kernel"].shape[0] == 4  # two points
    params = [jax.device_get((state.g.params, state.d.params)) for state in states.values()]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *params)
    with pytest.raises(InputError, match="judges packs"):
        Gan(program, states[8].ema, states[8].d, (), 2).features(np.zeros((4, 2)))


# ---------------------------------------------------------------- minibatch standard deviation


def test_spread_of_a_group_by_hand_and_its_average_outside_training() -> None:
    x = np.array([[0.0, 1.0], [2.0, 5.0], [3.0, 3.0], [3.0, 3.0]], np.float32)
    layer = MinibatchStd(2)
    variables = layer.init(jax.random.key(0), x, train=False)
    y, changed = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(y[:, :2], x)
    np.testing.assert_allclose(y[:, 2], [1.5, 1.5, 1e-4, 1e-4], rtol=1e-3)  # deviations 1 and 2, then none
    still = layer.apply(changed, x[:3], train=False)
    np.testing.assert_allclose(still[:, 2], 0.1 * (1.5 + 1e-4) / 2, rtol=1e-3)
    assert MinibatchStd(0).apply({}, x, train=True) is x


def test_groups_are_the_same_on_1_and_8_devices() -> None:
    x, layer, found = np.random.default_rng(0).normal(size=(16, 3, 3, 2)).astype(np.float32), MinibatchStd(2), []
    variables = {"batch_stats": {"spread": jnp.float32(0)}}
    for devices in (1, 8):
        put = jax.device_put(x, batch_sharding(make_mesh(jax.devices()[:devices])))
        compiled = (
            jax.jit(lambda x: layer.apply(variables, x, train=True, mutable=["batch_stats"])).lower(put).compile()
        )
        found.append(jax.device_get(compiled(put)))
    assert "all-gather" not in compiled.as_text()  # every device holds whole groups
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *found)


@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "resnet", "stylegan2"])
def test_d_with_a_spread_depends_on_its_group_alone(architecture: str) -> None:
    config = tiny_config(architecture, {"model.minibatch_std": 2, "model.conditional": False})
    shape = (2,) if architecture == "mlp" else (*config.data.image_size, config.data.channels)
    d = build(config, shape, 0, make_mesh(jax.devices()[:1])).d
    assert d.cross_sample
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    abstract = jax.eval_shape(lambda: d.init(jax.random.key(0), x, train=False))
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract)

    @jax.jit
    def logits(x, factor):
        train = d.apply(variables, x * factor, train=True, mutable=["batch_stats"])[0][0]
        return train, d.apply(variables, x * factor, train=False)[0]

    before, alone = logits(x, np.ones((4, *[1] * len(shape)), np.float32))
    after, still = logits(x, np.array([1, 1, 1, -2], np.float32).reshape(4, *[1] * len(shape)))
    np.testing.assert_allclose(before[:2], after[:2], rtol=1e-4)
    assert not np.isclose(before[2], after[2], rtol=1e-4)
    np.testing.assert_allclose(alone[:3], still[:3], rtol=1e-4)


# ---------------------------------------------------------------- LeCam, consistency, path length


def test_lecam_by_its_formula() -> None:
    real, fake = jnp.array([1.0, 3.0]), jnp.array([-1.0, 0.5])
    np.testing.assert_allclose(
        penalties.lecam(real, fake, jnp.float32(2.0), jnp.float32(-0.5)), [1.5**2 + 3**2, 3.5**2 + 1.5**2]
    )


def test_consistency_costs_a_critic_that_sees_places_and_no_other() -> None:
    """The sum of pixels does not notice a shift, as long as nothing leaves the image; a single pixel does."""
    game = game_of({"penalty.bcr": 2.0})
    inner = jnp.zeros((BATCH, *SHAPE)).at[:, 2:6, 2:6].set(examples(3)[:, 2:6, 2:6])
    blind, seeing = jnp.ones(64), jnp.zeros(64).at[27].set(1.0)
    at_rest = d_loss(game, blind, {"bcr": 2.0}, inner, inner * 0.5)
    np.testing.assert_allclose(at_rest["bcr"], 0, atol=1e-10)
    moved = d_loss(game, seeing, {"bcr": 2.0}, inner, inner * 0.5)
    assert moved["bcr"] > 0.1
    np.testing.assert_allclose(moved["total"], moved["d_loss"] + 2 * moved["bcr"], rtol=1e-5)


def test_path_length_of_a_linear_generator() -> None:
    """Images A w: J^T y = A^T y, whose length is the same at every w."""
    matrix = np.random.default_rng(0).normal(size=(3 * 5 * 2, 4)).astype(np.float32)
    w, noise = (
        np.random.default_rng(seed).normal(size=s).astype(np.float32) for seed, s in ((1, (6, 4)), (2, (6, 3, 5, 2)))
    )
    found = penalties.path_lengths(lambda w: (w @ matrix.T).reshape(-1, 3, 5, 2), jnp.asarray(w), jnp.asarray(noise))
    expected = np.linalg.norm(noise.reshape(6, -1) @ matrix, axis=1) / np.sqrt(15)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_stylegan2_carries_all_its_scalars_and_its_path_penalty_is_lazy() -> None:
    program = tiny_program("stylegan2")
    state, first = run(program, 1)
    mean = float(state.running["path_mean"])
    assert first["path_length"] > 0 and mean == first["path_mean"] > 0
    state, second = program.step(state, fill(program, 1), np.int32(1))
    assert second["path_length"] == 0 and state.running["path_mean"] == mean
    assert set(state.running) == {"augment_p", "lecam_real", "lecam_fake", "path_mean"}
    np.testing.assert_allclose(blended(jnp.float32(2.0), jnp.float32(4.0)), 2.02, rtol=1e-6)


# ---------------------------------------------------------------- augmentation in the game


def test_penalties_see_the_plain_image_through_the_augmentation() -> None:
    """With a linear critic, R1 is |w|^2 less the part that the cutout hides."""
    game = game_of({"augment.method": "diffaugment", "augment.transforms": "cutout", "penalty.r1": 1.0})
    w, real, fake = np.arange(64, dtype=np.float32) / 64, examples(1), examples(2)
    found = d_loss(game, w, {"r1": 1.0, "augment_p": 0.0}, real, fake)
    assert 0 < found["r1"] < np.square(w).sum()
    net, labels = Net({"w": jnp.asarray(w)}, {}, None), jnp.zeros(BATCH, jnp.int32)
    slope = jax.grad(game.g_loss)(fake, net, jax.random.key(1), real, labels, {"augment_p": 0.0})
    hidden = (np.asarray(slope) == 0).mean((1, 2, 3))
    assert (hidden > 0.05).all() and (hidden < 0.5).all()  # no gradient where the hole is, some everywhere else


def test_p_rises_above_the_target_falls_below_it_and_stays_a_probability() -> None:
    p = jnp.float32(0.5)
    assert adapted(p, jnp.float32(0.9), 0.6, 0.1) > p > adapted(p, jnp.float32(0.3), 0.6, 0.1)
    assert adapted(p, jnp.float32(0.6), 0.6, 0.1) == p
    high, low = jnp.float32(0.95), jnp.float32(0.05)
    assert adapted(high, jnp.float32(1.0), 0.6, 0.1) == 1 and adapted(low, jnp.float32(-1.0), 0.6, 0.1) == 0


def test_scalars_follow_the_run_and_a_checkpoint_holds_them(tmp_path: pathlib.Path) -> None:
    """p rises by the images seen under a target that any D is above; LeCam's averages blend the logits by halves."""
    changes = {
        **{"augment.method": "ada", "augment.adaptive": True, "augment.transforms": "brightness,translate"},
        **{"augment.target": -0.999, "augment.p": 0.5, "augment.adaptive_images": 100},
        **{"penalty.lecam": 0.5, "penalty.lecam_half_life": 16.0, "loss.name": "nonsaturating"},  # one step's images
        **{"data.source": "digits", "data.image_size": 4, "model.minibatch_std": 2},
    }
    program = build(tiny_config("mlp", changes), (4, 4, 1), 0, make_mesh(jax.devices()[:1]))
    state, metrics = run(program, 2)
    before = jax.device_get(state.running)
    np.testing.assert_allclose(before["augment_p"], 0.5 + 2 * 16 / 100, rtol=1e-5)
    assert metrics["augment_p"] == before["augment_p"]
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(2, state)
        checkpoints.wait()
        restored, _ = checkpoints.restore_newest(program.abstract_state)
    state, metrics = program.step(state, fill(program, 2), np.int32(1))
    for name, logit in (("lecam_real", "real_logit"), ("lecam_fake", "fake_logit")):
        np.testing.assert_allclose(state.running[name], 0.5 * before[name] + 0.5 * metrics[logit], rtol=1e-5)
    resumed, _ = program.step(restored, fill(program, 2), np.int32(1))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), jax.device_get(state))


def test_confidence_is_about_the_logit_that_says_nothing() -> None:
    real, fake = jnp.array([0.2, 0.4, 0.9, -1.0]), jnp.array([0.3, 0.3, 0.3, 0.3])
    found = {name: float(confidence(loss, real, fake)) for name, loss in LOSSES.items()}
    assert found["nonsaturating"] == 0.5 and found["hinge"] == 0.5
    assert found["least_squares"] == -0.5
    assert found["relativistic"] == 0 and found["wasserstein"] == 0


def test_nothing_is_carried_when_nothing_is_used() -> None:
    assert initial(Config()) == {}
    scheduled = {"augment.method": "ada", "augment.p": {"start": 0.0, "end": 0.3}}
    assert initial(Config().replace(scheduled)) == {}


# ---------------------------------------------------------------- StyleGAN2


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_is_one_convolution_an_example(demodulate: bool) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (3, 5, 6, 4)), jax.random.normal(keys[1], (3, 3, 4, 2))
    styles = jax.random.normal(keys[2], (3, 4))

    def one(image, style):
        scaled = kernel * style[:, None]
        if demodulate:
            scaled /= jnp.sqrt(jnp.square(scaled).sum((0, 1, 2)) + 1e-8)
        return lax.conv_general_dilated(
            image[None], scaled, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]

    expected = jnp.stack([one(*pair) for pair in zip(x, styles, strict=True)])
    np.testing.assert_allclose(modulated_conv(x, kernel, styles, demodulate), expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- settings that make no sense


def program_of(changes: dict[str, Any], shape: tuple[int, ...], devices: int = 1) -> None:
    build(Config().replace(changes), shape, 0, make_mesh(jax.devices()[:devices]))


POINTS = {"model.architecture": "mlp", "data.source": "ring"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.pack": 3}, "batch_size=64 must be divisible by step.accumulate=1 x model.pack=3"),
        ({"model.pack": 2, "model.conditional": True}, "model.pack=2 mixes classes"),
        ({"model.minibatch_std": 1}, "minibatch_std=1 compares an example with nothing"),
        ({"model.minibatch_std": 5}, "x model.minibatch_std=5"),
        ({"model.architecture": "r3gan", "model.minibatch_std": 4}, "minibatch_std=4 has no effect .*r3gan"),
        ({"model.architecture": "dcgan", "penalty.path_length": 2.0}, "path_length needs styles"),
        ({"augment.transforms": "color"}, "transforms do nothing with method=none"),
        ({"augment.method": "diffaugment", "augment.p": 0.3}, "p and adaptive do nothing with method=diffaugment"),
        ({"augment.method": "ada"}, "does nothing at p=0"),
        ({"augment.method": "ada", "augment.p": 1.5}, "p is a probability"),
        ({"augment.method": "ada", "augment.p": {"start": 0, "end": 1}, "augment.adaptive": True}, "schedule or D"),
        ({"augment.method": "ada", "augment.p": 1, "augment.transforms": "color"}, "unknown transform 'color'"),
        ({"augment.method": "diffaugment", "augment.transforms": "flip"}, "choose from color, translation, cutout"),
        ({"penalty.bcr": 1, "penalty.bcr_transforms": "shift"}, "bcr_transforms: unknown transform 'shift'"),
        ({"penalty.bcr": 1, "penalty.bcr_transforms": ""}, "bcr_transforms is empty"),
        ({"penalty.bcr": 1, "augment.method": "diffaugment"}, "set augment.method=none or penalty.bcr=0"),
        (
            {"augment.method": "ada", "augment.p": 1, "augment.transforms": "rotate", "data.image_size": (32, 48)},
            "square ones, not 32,48",
        ),
        (
            {"augment.method": "ada", "augment.adaptive": True, "loss.name": "article_squared_error"},
            "adaptive needs a D that tells real from fake",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        program_of(changes, (28, 28, 1))
    assert "\n" not in str(error.value)


def test_points_are_not_augmented_and_devices_hold_whole_packs_and_groups() -> None:
    for changes, field in (({"augment.method": "diffaugment"}, "augment.method"), ({"penalty.bcr": 1}, "penalty.bcr")):
        with pytest.raises(InputError, match=f"config.{field} transforms images, but the data are points"):
            program_of(POINTS | changes, (2,))
    with pytest.raises(InputError, match="8 devices x 1 micro-batches x packs of 2 x groups of 4: try .*=64"):
        program_of(POINTS | {"model.pack": 2, "model.minibatch_std": 4, "data.batch_size": 40}, (2,), 8)


def test_transforms_are_read_from_the_command_line() -> None:
    config = Config().replace({"augment.method": "ada", "augment.p": "0.4", "augment.transforms": "flip, hue"})
    assert config.augment.transforms == ("flip", "hue") == config.augment.chosen
    default = Config().replace({"augment.method": "ada", "augment.adaptive": "true"}).augment.chosen
    off = (
        Config().replace({"augment.method": "diffaugment"}).replace({"augment.method": "none", "model.d_norm": "none"})
    )
    assert off == Config()
    assert not {"flip", "rotate", "rotate90", "luma_flip"} & set(default)
