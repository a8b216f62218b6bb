"""InceptionV3 as used for FID, in Flax, and a converter of its public weights. Imports errors, storage, features.

This is the network of the 2015 TensorFlow release that FID is defined by: average pooling leaves padding out of
the mean, and the pooling branch of the last block takes the maximum (Szegedy et al. 2016; Heusel et al. 2017).
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.errors import InputError
from gan_jax.metrics import storage
from gan_jax.metrics.features import FeatureNetwork

WEIGHTS_FILE = "pt_inception-2015-12-05-6726825d.pth"  # of github.com/mseitzer/pytorch-fid
WEIGHTS_SHA256 = "6726825d"  # how the sha256 of that file begins
SIZE, FEATURES, CLASSES = 299, 2048, 1008

_average = partial(nn.avg_pool, window_shape=(3, 3), padding="SAME", count_include_pad=False)
_maximum = partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))


class ConvNormRelu(nn.Module):
    """Convolution without bias, batch normalisation with stored statistics, ReLU."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(
            self.features,
            self.kernel,
            self.stride,
            self.padding,
            use_bias=False,
            precision=jax.lax.Precision.HIGHEST,  # scores must not depend on how a device rounds products
            name="conv",
        )(x)
        return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x))


def _chain(x: jax.Array, *layers: tuple[Any, ...]) -> jax.Array:
    """Applies layers given as (name, features, kernel, stride, padding), the last three optional."""
    for name, *settings in layers:
        x = ConvNormRelu(*settings, name=name)(x)
    return x


class BlockA(nn.Module):
    """35x35 block with 1x1, 5x5 and double 3x3 branches."""

    pool_features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate(
            [
                _chain(x, ("branch1x1", 64)),
                _chain(x, ("branch5x5_1", 48), ("branch5x5_2", 64, (5, 5))),
                _chain(x, ("branch3x3dbl_1", 64), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3))),
                _chain(_average(x), ("branch_pool", self.pool_features)),
            ],
            axis=-1,
        )


class BlockB(nn.Module):
    """35x35 -> 17x17."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate(
            [
                _chain(x, ("branch3x3", 384, (3, 3), 2, "VALID")),
                _chain(
                    x,
                    ("branch3x3dbl_1", 64),
                    ("branch3x3dbl_2", 96, (3, 3)),
                    ("branch3x3dbl_3", 96, (3, 3), 2, "VALID"),
                ),
                _maximum(x),
            ],
            axis=-1,
        )


class BlockC(nn.Module):
    """17x17 block with factorised 7x7 branches."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        flat, tall, width = (1, 7), (7, 1), self.width
        return jnp.concatenate(
            [
                _chain(x, ("branch1x1", 192)),
                _chain(x, ("branch7x7_1", width), ("branch7x7_2", width, flat), ("branch7x7_3", 192, tall)),
                _chain(
                    x,
                    ("branch7x7dbl_1", width),
                    ("branch7x7dbl_2", width, tall),
                    ("branch7x7dbl_3", width, flat),
                    ("branch7x7dbl_4", width, tall),
                    ("branch7x7dbl_5", 192, flat),
                ),
                _chain(_average(x), ("branch_pool", 192)),
            ],
            axis=-1,
        )


class BlockD(nn.Module):
    """17x17 -> 8x8."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate(
            [
                _chain(x, ("branch3x3_1", 192), ("branch3x3_2", 320, (3, 3), 2, "VALID")),
                _chain(
                    x,
                    ("branch7x7x3_1", 192),
                    ("branch7x7x3_2", 192, (1, 7)),
                    ("branch7x7x3_3", 192, (7, 1)),
                    ("branch7x7x3_4", 192, (3, 3), 2, "VALID"),
                ),
                _maximum(x),
            ],
            axis=-1,
        )


class BlockE(nn.Module):
    """8x8 block whose 3x3 branches fork; `pool_maximum` in the last one."""

    pool_maximum: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        single = _chain(x, ("branch3x3_1", 384))
        double = _chain(x, ("branch3x3dbl_1", 448), ("branch3x3dbl_2", 384, (3, 3)))
        pooled = nn.max_pool(x, (3, 3), padding="SAME") if self.pool_maximum else _average(x)
        return jnp.concatenate(
            [
                _chain(x, ("branch1x1", 320)),
                _chain(single, ("branch3x3_2a", 384, (1, 3))),
                _chain(single, ("branch3x3_2b", 384, (3, 1))),
                _chain(double, ("branch3x3dbl_3a", 384, (1, 3))),
                _chain(double, ("branch3x3dbl_3b", 384, (3, 1))),
                _chain(pooled, ("branch_pool", 192)),
            ],
            axis=-1,
        )


class InceptionV3(nn.Module):
    """Images float32 [B, 299, 299, 3] in [-1, 1] -> features [B, 2048] and logits [B, 1008].

    The logits leave out the bias of the last layer, as the Inception score's first implementation does.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = _chain(
            x,
            ("Conv2d_1a_3x3", 32, (3, 3), 2, "VALID"),
            ("Conv2d_2a_3x3", 32, (3, 3), 1, "VALID"),
            ("Conv2d_2b_3x3", 64, (3, 3)),
        )
        x = _chain(_maximum(x), ("Conv2d_3b_1x1", 80), ("Conv2d_4a_3x3", 192, (3, 3), 1, "VALID"))
        x = _maximum(x)
        for name, width in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = BlockA(width, name=name)(x)
        x = BlockB(name="Mixed_6a")(x)
        for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            x = BlockC(width, name=name)(x)
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE(pool_maximum=False, name="Mixed_7b")(x)
        x = BlockE(pool_maximum=True, name="Mixed_7c")(x)
        x = jnp.mean(x, axis=(1, 2))
        return x, nn.Dense(CLASSES, use_bias=False, precision=jax.lax.Precision.HIGHEST, name="fc")(x)


def apply_inception(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Images float32 [B, H, W, 1 or 3] in [-1, 1], resized bilinearly to 299x299 without antialiasing."""
    batch, _, _, channels = images.shape
    if channels == 1:
        images = jnp.repeat(images, 3, axis=-1)
    images = jax.image.resize(images, (batch, SIZE, SIZE, 3), "bilinear", antialias=False)
    outputs: Any = InceptionV3().apply(variables, images)
    return outputs


def convert_inception(source: str | Path, target: str | Path, sha256: str = WEIGHTS_SHA256) -> str:
    """Turns the public PyTorch weights file into our own .npz.

    Args:
        source: the downloaded file `WEIGHTS_FILE`.
        target: .npz file to write, for `load_inception`.
        sha256: how the sha256 of the source must begin.

    Returns:
        The digest of the weights.

    Raises:
        InputError: the file is missing, is another one, or PyTorch is not installed to read it.
    """
    source = Path(source)
    if not source.is_file():
        raise InputError(f"{source}: no such file; download {WEIGHTS_FILE} of the pytorch-fid project")
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise InputError(f"{source}: sha256 begins {found[:8]}, not {sha256}: take {WEIGHTS_FILE}, whole")
    try:
        import torch  # only here: reading a .pth file is its job
    except ImportError:
        raise InputError("PyTorch is needed once, to read the .pth file: pip install torch") from None
    state = torch.load(source, map_location="cpu", weights_only=True)
    arrays = inception_arrays({name: value.numpy() for name, value in state.items()})
    return storage.save_arrays(Path(target), arrays, {"kind": "inception", "source_sha256": found})


def load_inception(path: str | Path) -> FeatureNetwork:
    """The FID feature network, from the file that `convert_inception` wrote.

    Raises:
        InputError: the file is missing, damaged, or of another kind.
    """
    arrays, facts = storage.load_arrays(Path(path))
    if facts.get("kind") != "inception":
        raise InputError(f"{path}: not an InceptionV3 file: make one with convert_inception")
    _check_arrays(arrays, str(path))
    return FeatureNetwork(
        name="inception",
        digest=facts["digest"],
        size=FEATURES,
        num_classes=CLASSES,
        image_shape=None,
        variables=storage.unflatten(arrays),
        apply=apply_inception,
    )


def inception_arrays(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """PyTorch's state dict under our names and axis orders, flat, e.g. "params/Mixed_5b/branch1x1/conv/kernel".

    Raises:
        InputError: an array is missing, unknown, or of another shape.
    """
    leaves = {
        "bn.weight": ("params", "bn/scale"),
        "bn.bias": ("params", "bn/bias"),
        "bn.running_mean": ("batch_stats", "bn/mean"),
        "bn.running_var": ("batch_stats", "bn/var"),
        "conv.weight": ("params", "conv/kernel"),
    }
    arrays = {}
    for name, value in state.items():
        if name == "fc.bias" or name.endswith("num_batches_tracked"):
            continue
        if name == "fc.weight":
            arrays["params/fc/kernel"] = np.ascontiguousarray(value.T)  # [K, F] -> [F, K]
            continue
        *path, kind, leaf = name.split(".")
        collection, ending = leaves.get(f"{kind}.{leaf}", ("unknown", f"{kind}/{leaf}"))
        if ending == "conv/kernel":
            value = np.ascontiguousarray(value.transpose(2, 3, 1, 0))  # [O, I, H, W] -> [H, W, I, O]
        arrays["/".join([collection, *path, ending])] = value
    _check_arrays(arrays, "InceptionV3 weights")
    return arrays


def _check_arrays(arrays: Mapping[str, np.ndarray], where: str) -> None:
    shapes = jax.eval_shape(InceptionV3().init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))
    wanted = {
        "/".join(part.key for part in path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
    }
    wrong = sorted(
        name for name in wanted.keys() | arrays.keys() if name not in arrays or arrays[name].shape != wanted.get(name)
    )
    if wrong:
        raise InputError(
            f"{where}: {len(wrong)} arrays are missing, unknown or misshapen, first {wrong[0]}: take {WEIGHTS_FILE}"
        )
