"""The networks: shapes, sizes, statistics, conditioning, precision, and what a bad setting is told."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax import lax

from gan_jax import models
from gan_jax.config import ModelConfig
from gan_jax.errors import InputError
from gan_jax.models import layers, mlp, r3gan

KEY = jax.random.key(0, impl="rbg")  # compiles quickly
SHAPES = [(28, 28, 1), (32, 32, 3), (48, 64, 3), (8, 8, 1)]
BUILDS = [(name, shape) for name in ("mlp", "dcgan", "resnet", "r3gan", "stylegan2") for shape in SHAPES]
BUILDS += [("mlp", (2,)), ("article", (28, 28, 1)), ("article", (28, 28, 3))]
# improved_gan has no width and a logit a class: tests/test_recognition.py.
ARCHITECTURES = {name: module for name, module in models.ARCHITECTURES.items() if name != "improved_gan"}
SMALL = {name: (28, 28, 1) if name == "article" else (8, 8, 1) for name in ARCHITECTURES}
SMALL |= {name: tiny.SHAPES[name] for name in ("wavegan", "r3gan_1d", "sequence")}
LATENT = {"sequence": math.prod(tiny.SHAPES["sequence"]) + 6}  # each choice of a letter, and 6
CLASSES = 3


def make(architecture, shape, classes=0, **changes):
    widths = {} if architecture == "article" else {"g_width": 4, "d_width": 4}
    widths |= {"blocks": 1} if architecture in ("mlp", "r3gan", "r3gan_1d", "sequence", "stylegan2") else {}
    latent = LATENT.get(architecture, 6)
    settings = {"architecture": architecture, "latent_size": latent, "conditional": classes > 0, **widths, **changes}
    return models.build(ModelConfig(**settings), shape, classes)


def noise(batch=4, size=6):
    return jax.random.normal(jax.random.key(1), (batch, size))


def images(shape, batch=4):
    return jnp.tanh(jax.random.normal(jax.random.key(2), (batch, *shape)))


def labels(batch=4):
    return jnp.arange(batch, dtype=jnp.int32) % CLASSES


def init(network, shape, classes=0):
    """Random variables of a network for inputs of a shape; drawn by NumPy, since compiling an init takes long."""
    known = labels() if classes else None
    abstract = jax.eval_shape(lambda: network.init(KEY, jnp.zeros((4, *shape)), known, train=False))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1].key in ("scale", "var"):  # of batch norms
            return np.ones(leaf.shape, leaf.dtype)
        return rng.normal(size=leaf.shape).astype(leaf.dtype) / math.prod(leaf.shape[:-1]) ** 0.5

    return jax.tree_util.tree_map_with_path(draw, abstract)


def ready(architecture, classes=0, **changes):
    """(network, variables, inputs) of the generator and of the discriminator, at a small size."""
    shape = SMALL[architecture]
    # A letter changes only where another scores higher: many words, so that some do.
    both = (noise(256, LATENT[architecture]) if architecture in LATENT else noise(), images(shape))
    for network, inputs in zip(make(architecture, shape, classes, **changes), both, strict=True):
        yield network, init(network, inputs.shape[1:], classes), inputs


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def dtypes(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


@pytest.mark.parametrize(("classes", "dtype"), [(0, "float32"), (CLASSES, "bfloat16")])
@pytest.mark.parametrize(("architecture", "shape"), BUILDS)
def test_shapes_and_dtypes(architecture, shape, classes, dtype):
    g, d = make(architecture, shape, classes, dtype=dtype)
    known = labels() if classes else None
    f32 = jnp.dtype(jnp.float32)

    g_variables = jax.eval_shape(lambda: g.init(KEY, noise(), known, train=False))
    made, changed = jax.eval_shape(
        lambda v: g.apply(v, noise(), known, train=True, mutable=["batch_stats"]), g_variables
    )
    assert (made.shape, made.dtype) == ((4, *shape), f32)

    d_variables = jax.eval_shape(lambda: d.init(KEY, images(shape), known, train=False))
    logits, features = jax.eval_shape(lambda v: d.apply(v, images(shape), known, train=False), d_variables)
    assert (logits.shape, logits.dtype) == ((4,), f32)
    assert "pooled" in features and "stage_1" in features
    assert all(len(array.shape) >= 2 and len(array) == 4 for array in features.values())
    assert features["pooled"].ndim == 2
    assert dtypes([features, g_variables, d_variables, changed]) == {f32}


@pytest.mark.parametrize("architecture", ["dcgan", "resnet", "r3gan", "stylegan2"])
def test_bfloat16_is_used_inside(architecture):
    g, d = make(architecture, (32, 32, 3), dtype="bfloat16")
    for network, inputs in ((g, noise()), (d, images((32, 32, 3)))):
        variables = jax.eval_shape(lambda n=network, x=inputs: n.init(KEY, x, train=False))
        text = str(jax.make_jaxpr(lambda v, n=network, x=inputs: n.apply(v, x, train=False))(variables))
        results = re.findall(r":(\w+)\[[\d,]*\] = conv_general_dilated", text)
        wide = {"f32"} if architecture == "r3gan" else set()  # its lowest resolution
        assert "bf16" in results and set(results) <= {"bf16"} | wide


@functools.cache
def conditional_outputs(architecture):
    """Of generator and discriminator: outputs for class 0, for class 1, and for class 0 in bfloat16."""
    runs = list(ready(architecture, CLASSES))

    def outputs(network, variables, inputs):
        rough = network.clone(dtype=jnp.dtype(jnp.bfloat16))
        for one, label in ((network, 0), (network, 1), (rough, 0)):
            yield jax.tree.leaves(one.apply(variables, inputs, jnp.full(len(inputs), label), train=False))[0]

    return [jax.jit(lambda v, x, n=network: list(outputs(n, v, x)))(v, x) for network, v, x in runs]


@pytest.mark.parametrize("architecture", SMALL)
def test_bfloat16_is_close_to_float32(architecture):
    for exact, _, rough in conditional_outputs(architecture):
        assert not np.array_equal(rough, exact)
        if architecture in LATENT and exact.ndim == 3:  # letters: few are others
            assert np.mean(np.any(rough != exact, axis=-1)) < 0.05
            continue
        np.testing.assert_allclose(rough, exact, rtol=0, atol=0.1 * float(jnp.abs(exact).max()))


# ---------------------------------------------------------------- sizes, by the formulas of the papers


def test_dcgan_has_the_sizes_of_the_28x28_network():
    g, d = make("dcgan", (28, 28, 1), g_width=64, d_width=64, latent_size=100)
    z = jnp.zeros((1, 100))
    variables = jax.eval_shape(lambda: g.init(KEY, z, train=False))
    base, norms = 7 * 7 * 256, 7 * 7 * 256 + 128 + 64
    assert count(variables["params"]) == 100 * base + 25 * 256 * 128 + 25 * 128 * 64 + 25 * 64 * 1 + 2 * norms
    assert count(variables["batch_stats"]) == 2 * norms
    params = jax.eval_shape(lambda: d.init(KEY, images((28, 28, 1)), train=False))["params"]
    assert count(params) == (25 * 1 * 64 + 64) + (25 * 64 * 128 + 128) + (7 * 7 * 128 + 1)


def test_article_has_the_sizes_of_its_networks():
    g, d = make("article", (28, 28, 1), latent_size=100)
    dcgan, _ = make("dcgan", (28, 28, 1), g_width=64, latent_size=100)
    z = jnp.zeros((1, 100))
    ours, same = (jax.eval_shape(lambda n=network: n.init(KEY, z, train=False)) for network in (g, dcgan))
    assert count(ours) == count(same)
    params = jax.eval_shape(lambda: d.init(KEY, images((28, 28, 1)), train=False))["params"]
    assert count(params) == (784 * 256 + 256) + (256 + 1)


def test_resnet_has_the_sizes_of_sngan_32():
    g, d = make("resnet", (32, 32, 3), g_width=256, d_width=128, d_norm="spectral", latent_size=128)
    z = jnp.zeros((1, 128))
    params = jax.eval_shape(lambda: g.init(KEY, z, train=False))["params"]
    block = (
        2 * 9 * 256 * 256 + 256 * 256 + 4 * 256
    )  # without SNGAN's biases, which the norms that follow take out again
    assert count(params) == (128 * 4096 + 4096) + 3 * block + 512 + (9 * 256 * 3 + 3)
    params = jax.eval_shape(lambda: d.init(KEY, images((32, 32, 3)), train=False))["params"]
    conv3, conv1 = 9 * 128 * 128 + 128, 128 * 128 + 128
    first = (9 * 3 * 128 + 128) + conv3 + (3 * 128 + 128)
    assert count(params) == first + (2 * conv3 + conv1) + 2 * (2 * conv3) + (128 + 1)


def test_r3gan_has_the_sizes_of_its_cifar_preset():
    g, d = make("r3gan", (32, 32, 3), 10, g_width=768, d_width=768, blocks=2, latent_size=64)
    one = jnp.zeros(1, jnp.int32)
    g_params = jax.eval_shape(lambda: g.init(KEY, jnp.zeros((1, 64)), one, train=False))["params"]
    d_params = jax.eval_shape(lambda: d.init(KEY, images((32, 32, 3), 1), one, train=False))["params"]
    assert round(count(g_params) / 1e6, 1) == 20.8
    assert round(count(d_params) / 1e6, 1) == 21.3
    block = d_params["stage_0_block_1"]
    assert block["conv_2"]["kernel"].shape == (3, 3, 16, 1536)
    assert [name for name in block if "bias" in block[name]] == ["conv_1", "conv_2"]


# ---------------------------------------------------------------- R3GAN


def test_r3gan_block_starts_as_the_identity_and_can_leave_it():
    x = images((8, 8, 16))
    block = r3gan.Block(depth=4, dtype=jnp.float32)
    params = jax.jit(block.init)(KEY, x)
    gradient, y = jax.jit(jax.grad(lambda p: (jnp.sum(jnp.sin(block.apply(p, x))), block.apply(p, x)), has_aux=True))(
        params
    )
    np.testing.assert_array_equal(y, x)
    assert jnp.abs(gradient["params"]["conv_3"]["kernel"]).max() > 0


def test_r3gan_branch_gain_falls_with_depth():
    """The variance of each of the two first kernels is that of He et al. times depth^(-1/2)."""
    x = jnp.zeros((1, 4, 4, 64))
    params = jax.jit(r3gan.Block(depth=16, dtype=jnp.float32).init)(KEY, x)["params"]
    for name, fan_in in (("conv_1", 64), ("conv_2", 9 * 16)):
        np.testing.assert_allclose(params[name]["kernel"].var(), 2 / 1.04 / 4 / fan_in, rtol=0.05)


@pytest.mark.parametrize("edge", ["constant", "edge"])
def test_upsample(edge):
    x = images((4, 6, 2))
    if edge == "edge":
        expected = jax.image.resize(x, (4, 8, 12, 2), "bilinear")
    else:
        taps = jnp.outer(jnp.array([1, 3, 3, 1.0]), jnp.array([1, 3, 3, 1.0])) / 16
        kernel = jnp.broadcast_to(taps[..., None, None], (4, 4, 1, 2))
        expected = lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            [(2, 2), (2, 2)],
            lhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )
    np.testing.assert_allclose(layers.upsample(x, edge), expected, atol=1e-6)


def test_downsample_is_the_adjoint_of_upsample():
    x, y = images((4, 6, 2)), images((8, 12, 2))
    left, right = jnp.vdot(layers.upsample(x, "constant"), y), jnp.vdot(x, layers.downsample(y))
    np.testing.assert_allclose(left, 4 * right, rtol=1e-5)


@pytest.mark.parametrize("edge", ["constant", "edge"])
def test_gradient_of_upsample_is_its_adjoint_to_every_order(edge):
    x, y = images((4, 6, 2)), images((8, 12, 2))

    def pulled(y):
        return jax.vjp(lambda x: layers.upsample(x, edge), x)[1](y)[0]

    # By JAX's own rule, for a matrix of the same map.
    matrix = layers.upsample(jnp.eye(24).reshape(24, 4, 6, 1), edge).reshape(24, 96)
    expected = jnp.einsum("ij,bjc->bic", matrix, y.reshape(4, 96, 2)).reshape(x.shape)
    np.testing.assert_allclose(pulled(y), expected, atol=1e-5)
    np.testing.assert_allclose(jax.vjp(pulled, y)[1](x)[0], layers.upsample(x, edge), atol=1e-6)


@pytest.mark.parametrize(("rate", "channels"), [(0.3, 64), (0.5, 7)])
def test_dropout_keeps_the_mean_and_its_share(rate, channels):
    x = jnp.ones((64, 8, 8, channels))
    layer = layers.Dropout(rate)

    def drop(key):
        return layer.apply({}, x, train=True, rngs={"dropout": key})

    y, other = drop(jax.random.key(0)), drop(jax.random.key(1))
    share = np.mean(np.asarray(y) == 0, axis=(0, 1, 2))
    np.testing.assert_allclose(share, rate, atol=5 * (rate * (1 - rate) / 4096) ** 0.5)  # channel by channel
    np.testing.assert_allclose(y[y > 0], 1 / (1 - rate), rtol=1e-4)
    # Neighbours share a random word; their fates are independent, as those of two keys.
    pairs = np.asarray(y[..., ::2][..., : channels // 2] == 0) & np.asarray(y[..., 1::2] == 0)
    np.testing.assert_allclose(pairs.mean(), rate**2, atol=0.01)
    np.testing.assert_allclose(np.mean((np.asarray(y) == 0) & (np.asarray(other) == 0)), rate**2, atol=0.01)
    assert layer.apply({}, x, train=False) is x
    assert layers.Dropout(0.0).apply({}, x, train=True) is x


def test_average_pool():
    x = images((4, 6, 2))
    np.testing.assert_allclose(layers.average_pool(x)[1, 1, 2], x[1, 2:4, 4:6].mean((0, 1)), rtol=1e-6)


# ---------------------------------------------------------------- spectral norm


@pytest.mark.parametrize(
    "layer",
    [layers.Dense(7, spectral=True), layers.Conv(7, (3, 3), spectral=True), layers.Conv(6, groups=2, spectral=True)],
)
def test_spectral_norm_finds_the_largest_singular_value(layer):
    x = images((5, 5, 8), 1)
    variables = init_layer(layer, x)
    kernel = np.asarray(variables["params"]["kernel"], np.float64)
    exact = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1][0]

    def train(_, stats):
        return layer.apply({**variables, "batch_stats": stats}, x, train=True, mutable="batch_stats")[1]["batch_stats"]

    stats = jax.lax.fori_loop(0, 100, train, variables["batch_stats"])
    plain = layer.clone(spectral=False)
    expected = plain.apply({"params": {**variables["params"], "kernel": jnp.asarray(kernel / exact, jnp.float32)}}, x)
    np.testing.assert_allclose(layer.apply({**variables, "batch_stats": stats}, x), expected, rtol=1e-3, atol=1e-4)


def init_layer(layer, x):
    return jax.jit(lambda: layer.init(KEY, x))()


def test_spectral_norm_gradient_ignores_the_kernel_s_scale():
    """W / sigma(W) does not change along W, so its gradient is orthogonal to W (Miyato et al. 2018, equation 12)."""
    layer, x = layers.Dense(5, use_bias=False, spectral=True), images((6,))
    variables = init_layer(layer, x)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(layer.apply({**variables, "params": p}, x)))))(
        variables["params"]
    )
    kernel = variables["params"]["kernel"]
    cosine = jnp.vdot(gradient["kernel"], kernel) / jnp.linalg.norm(gradient["kernel"]) / jnp.linalg.norm(kernel)
    assert abs(cosine) < 1e-5


@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "resnet"])
def test_spectral_norm_bounds_every_kernel_of_the_discriminator(architecture):
    _, d = make(architecture, (8, 8, 1), CLASSES, d_norm="spectral")
    variables = jax.eval_shape(lambda: d.init(KEY, images((8, 8, 1)), labels(), train=False))
    kernels = [leaf for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim > 1]
    assert len(kernels) == len(jax.tree.leaves(variables["batch_stats"]))


# ---------------------------------------------------------------- statistics, randomness, independence


@pytest.mark.parametrize("architecture", SMALL)
def test_statistics_move_in_training_only(architecture):
    for network, variables, inputs in ready(architecture, d_norm=models.ARCHITECTURES[architecture].D_NORMS[-1]):

        @jax.jit
        def run(variables, inputs, network=network):
            return [network.apply(variables, inputs, train=on, mutable=["batch_stats"])[1] for on in (False, True)]

        before = variables.get("batch_stats", {})
        still, moved = run(variables, inputs)
        assert all(map(np.array_equal, *map(jax.tree.leaves, (before, still))))
        assert not before or not all(map(np.array_equal, *map(jax.tree.leaves, (before, moved))))


def test_batch_norm_uses_the_batch_in_training_and_its_average_later():
    x = 5 + 2 * images((4, 4, 3), 64)
    norm = layers.BatchNorm()
    variables = norm.init(KEY, x, train=False)
    y, changed = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var((0, 1, 2)), 1, atol=1e-3)
    np.testing.assert_allclose(changed["batch_stats"]["norm"]["mean"], 0.1 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.apply(variables, x, train=False), x, rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "norm"), [(name, norm) for name, module in ARCHITECTURES.items() for norm in module.D_NORMS]
)
def test_logits_depend_on_other_examples_only_if_declared(architecture, norm):
    shape = (16, 16, 1) if norm == "batch" else SMALL[architecture]  # no batch norm in a network of one stage
    _, d = make(architecture, shape, d_norm=norm)

    @jax.jit
    def run(variables, x):
        return d.apply(variables, x, train=True, mutable=["batch_stats"])[0][0][0]

    x = images(shape)
    alone, other = (run(init(d, shape), batch) for batch in (x, x.at[1:].multiply(-0.5)))
    assert d.cross_sample == (norm == "batch")
    assert np.allclose(alone, other, rtol=1e-5, atol=1e-6) == (not d.cross_sample)


@pytest.mark.parametrize("architecture", ["dcgan", "article"])
def test_dropout_acts_in_training_only(architecture):
    _, (d, variables, x) = ready(architecture, dropout=0.5)

    def logits(train):
        return jax.jit(
            lambda key: d.apply(variables, x, train=train, rngs={"dropout": key}, mutable=["batch_stats"])[0][0]
        )

    for train, differs in ((True, True), (False, False)):
        run = logits(train)
        first, again, other = (run(jax.random.key(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert np.allclose(first, other) != differs


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize("architecture", SMALL)
def test_labels_change_the_output(architecture):
    for zero, one, _ in conditional_outputs(architecture):
        assert not np.allclose(zero, one)


@pytest.mark.parametrize("architecture", SMALL)
def test_missing_labels_are_told(architecture):
    for network, variables, inputs in ready(architecture, CLASSES):
        with pytest.raises(ValueError, match="needs labels"):
            jax.eval_shape(lambda v, x, n=network: n.apply(v, x, train=False), variables, inputs)


def test_projection_is_the_inner_product_with_the_class_vector():
    pooled = images((5,))
    layer = layers.Projection(CLASSES)
    variables = layer.init(KEY, pooled, labels(), train=False)
    expected = np.einsum("bc,bc->b", pooled, np.asarray(variables["params"]["embedding"])[np.asarray(labels())])
    np.testing.assert_allclose(layer.apply(variables, pooled, labels(), train=False), expected, rtol=1e-5)


def test_labels_are_ignored_without_conditioning():
    g, d = models.build(ModelConfig(architecture="dcgan", g_width=4, d_width=4), (8, 8, 1), 10)
    assert g.num_classes == d.num_classes == 0


# ---------------------------------------------------------------- image sizes and other settings


@pytest.mark.parametrize(
    ("size", "halvings"),
    [((28, 28), 2), ((32, 32), 3), ((64, 64), 4), ((48, 64), 3), ((8, 8), 1), ((7, 8), 0), ((6, 6), 0)],
)
def test_stage_count(size, halvings):
    assert layers.stage_count(*size) == halvings


@pytest.mark.parametrize("size", [(34, 34), (7, 7), (2, 2), (500, 500), (32, 512), (31, 28)])
def test_a_size_that_does_not_fit_is_told_two_that_do(size):
    with pytest.raises(InputError, match=f"config.data.image_size={size[0]},{size[1]} ") as error:
        make("dcgan", (*size, 1))
    offered = [tuple(map(int, pair)) for pair in re.findall(r"--config.data.image_size=(\d+),(\d+)", str(error.value))]
    assert offered and "\n" not in str(error.value)
    for height, width in offered:
        layers.check_image_size(height, width)


def test_the_nearest_sizes_are_offered():
    with pytest.raises(InputError, match="=32,32 or --config.data.image_size=36,36$"):
        layers.check_image_size(34, 34)


@pytest.mark.parametrize(
    ("architecture", "shape", "changes", "message"),
    [
        ("dcgan", (28, 28, 1), {"conditional": True}, "conditional=true needs labels"),
        ("dcgan", (2,), {}, "data are points: use mlp"),
        ("article", (32, 32, 3), {}, "image_size=32,32 does not fit .*article"),
        (
            "resnet",
            (32, 32, 3),
            {"d_norm": "batch"},
            "d_norm=batch is not known to .*resnet: choose from none, spectral",
        ),
        ("r3gan", (32, 32, 3), {"d_norm": "spectral"}, "d_norm=spectral is not known to .*r3gan"),
        ("r3gan", (32, 32, 3), {"dropout": 0.5}, "dropout=0.5 has no effect"),
        ("article", (28, 28, 1), {"g_width": 32}, "g_width=32 has no effect"),
        ("dcgan", (28, 28, 1), {"blocks": 3}, "blocks=3 has no effect"),
        ("resnet", (32, 32, 3), {"latent_signs": 2}, "latent_signs=2 has no effect"),
        ("dcgan", (28, 28, 1), {"latent_direct": 2}, "latent_direct=2 has no effect"),
        ("dcgan", (28, 28, 1), {"d_octaves": 4}, "d_octaves=4 has no effect"),
    ],
)
def test_settings_that_do_not_fit(architecture, shape, changes, message):
    with pytest.raises(InputError, match=message):
        models.build(ModelConfig(architecture=architecture, **changes), shape, 0)


def test_signs_of_noise_cut_the_generators_space_into_pieces():
    g, _ = make("mlp", (2,), latent_signs=2)
    variables, z = init(g, (6,)), noise(16)
    points = g.apply(variables, z, train=False)
    assert np.array_equal(points, g.apply(variables, z.at[:, :2].multiply(3.0), train=False))
    assert not np.allclose(points, g.apply(variables, z.at[:, 2:].multiply(3.0), train=False))
    # The size of a jump does not depend on how near to the cut the two sides are.
    near = z.at[:, 0].set(1e-6)
    jump = g.apply(variables, near, train=False) - g.apply(variables, near.at[:, 0].set(-1e-6), train=False)
    assert np.linalg.norm(jump, axis=1).min() > 1e-3


def test_direct_noise_moves_the_output_by_a_linear_map():
    g, _ = make("mlp", (2,), latent_direct=2)
    variables, z = init(g, (6,)), noise(16)
    still = g.apply(variables, z.at[:, -2:].set(0.0), train=False)
    moves = z[:, -2:] @ variables["params"]["direct"]["kernel"]
    np.testing.assert_allclose(g.apply(variables, z, train=False), still + moves, atol=1e-5)
    assert np.linalg.norm(moves, axis=1).min() > 1e-3
    other = g.apply(variables, z.at[:, :-2].multiply(3.0), train=False)
    assert not np.allclose(other, still + moves)


def test_waves_of_the_input():
    x = jnp.array([[0.5, -1.0], [0.125, 3.0]])
    seen = mlp.with_waves(x, 3)  # 1/4, 1/2 and 1 cycle a unit
    turns = np.concatenate([x / 4, x / 2, x], -1)
    expected = np.concatenate([x, np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)], -1)
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    assert np.array_equal(mlp.with_waves(x, 0), x)
    _, d = make("mlp", (2,), d_octaves=3)
    assert init(d, (2,))["params"]["hidden_1"]["kernel"].shape == (14, 4)
