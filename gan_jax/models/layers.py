"""Layers that the architectures share, and the rule for image sizes. Imports JAX, Flax, conv and errors only."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from gan_jax.errors import InputError
from gan_jax.models.conv import Padding, conv, up_conv

Initializer = Callable[..., Any]
LARGEST_BASE = 16  # rows or columns at the lowest resolution


def stage_count(height: int, width: int) -> int:
    """How often an image is halved: while both sides are even and the shorter one stays 4 or more."""
    count = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 8:
        height, width, count = height // 2, width // 2, count + 1
    return count


def check_image_size(height: int, width: int) -> None:
    """Checks that an image can be halved to a base of at most 16x16.

    Raises:
        InputError: it cannot; names the nearest sizes that can.
    """
    count = stage_count(height, width)
    if count and max(height, width) >> count <= LARGEST_BASE:
        return
    sides = range(4, LARGEST_BASE + 1)
    legal = [(a << n, b << n) for n in range(1, 12) for a in sides for b in sides]

    def distance(size: tuple[int, int]) -> int:
        return abs(size[0] - height) + abs(size[1] - width)

    smaller = [size for size in legal if size[0] <= height and size[1] <= width]
    larger = [size for size in legal if size[0] >= height and size[1] >= width]
    nearest = [min(sizes, key=distance) for sizes in (smaller, larger) if sizes]
    raise InputError(
        f"config.data.image_size={height},{width} cannot be halved to {LARGEST_BASE}x{LARGEST_BASE} or less: try "
        + " or ".join(f"--config.data.image_size={a},{b}" for a, b in nearest)
    )


# ---------------------------------------------------------------- linear layers


def spectrally_normalized(module: nn.Module, kernel: Array, train: bool) -> Array:
    """Divides a kernel by its largest singular value (Miyato et al. 2018, algorithm 1).

    The kernel is read as a matrix [kh * kw * C, D]. Its left vector `u` lives in the collection
    "batch_stats" of `module`; a call with `train` takes one power iteration and keeps it.

    Args:
        module: the layer that owns the kernel, inside its `__call__`.
        kernel: [..., D], float32.
        train: whether to iterate; without it the estimate stays as it is.

    Returns:
        The kernel, same shape. Gradients see `u` and `v` as constants, as in the paper.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])  # [kh, kw, C, D] -> [kh * kw * C, D]

    def times(a: Array, b: Array) -> Array:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)  # bfloat16 products would cost digits of sigma

    def unit(vector: Array) -> Array:
        return vector / (jnp.linalg.norm(vector) + 1e-12)

    def iterate(u: Array) -> Array:
        return unit(times(unit(times(matrix, u)), matrix))

    def start() -> Array:
        u = unit(jax.random.normal(module.make_rng("params"), (kernel.shape[-1],)))
        return lax.fori_loop(0, 15, lambda _, u: iterate(u), u)  # or the first step would see a wild estimate

    kept = module.variable("batch_stats", "u", start)
    u = iterate(kept.value) if train else kept.value
    if train and module.is_mutable_collection("batch_stats") and not module.is_initializing():
        kept.value = lax.stop_gradient(u)
    v = lax.stop_gradient(unit(times(matrix, u)))
    return kernel / times(v, times(matrix, lax.stop_gradient(u)))


class Dense(nn.Module):
    """Affine map of the last axis; parameters `kernel` [C, D] and `bias` [D] in float32, result in `dtype`."""

    features: int
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    spectral: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Maps [..., C] to [..., D]; `train` moves the spectral norm's statistics."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        if self.spectral:
            kernel = spectrally_normalized(self, kernel, train)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return _add_bias(self, y) if self.use_bias else y


class Conv(nn.Module):
    """Convolution; parameters `kernel` [kh, kw, C / groups, D] and `bias` [D] in float32, result in `dtype`."""

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    strides: int = 1
    padding: Padding = "SAME"
    groups: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    spectral: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Maps [B, H, W, C] to [B, H', W', D]; `train` moves the spectral norm's statistics."""
        shape = (*self.kernel_size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        if self.spectral:
            kernel = spectrally_normalized(self, kernel, train)
        y = conv(x.astype(self.dtype), kernel.astype(self.dtype), self.strides, self.padding, self.groups)
        return _add_bias(self, y) if self.use_bias else y


class UpConv(nn.Module):
    """Transposed convolution, by default one that doubles height and width; parameters and dtype as in `Conv`."""

    features: int
    kernel_size: tuple[int, int] = (5, 5)
    strides: int = 2
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, C] to [B, strides * H, strides * W, D]; see `conv.up_conv` for signals of one row."""
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        y = up_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.strides)
        return _add_bias(self, y) if self.use_bias else y


def _add_bias(module: nn.Module, y: Array) -> Array:
    return y + module.param("bias", nn.initializers.zeros, (y.shape[-1],)).astype(y.dtype)


# ---------------------------------------------------------------- normalisation and labels


class BatchNorm(nn.Module):
    """Batch normalisation over the whole (global) batch; with classes, their own scale and offset.

    Conditional form: Dumoulin et al. 2017, equation 5. Running statistics and parameters are float32.
    """

    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Normalises the last axis of [B, ..., C]; labels int32 [B] when there are classes."""
        plain = self.num_classes == 0
        norm = nn.BatchNorm(not train, momentum=0.9, dtype=self.dtype, use_scale=plain, use_bias=plain, name="norm")
        x = norm(x)
        if plain:
            return x

        def look_up(name: str, init: Initializer) -> Array:
            table = nn.Embed(self.num_classes, x.shape[-1], embedding_init=init, name=name)
            wide = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
            return table(_known(labels)).reshape(wide).astype(x.dtype)  # [B, C] -> [B, 1, 1, C]

        return x * (1 + look_up("scale", nn.initializers.normal(0.02))) + look_up("offset", nn.initializers.zeros)


class Dropout(nn.Module):
    """Sets a share of the values to zero in training and scales the others up to the same mean.

    As `flax.linen.Dropout`, but its noise takes half as many random words: 16 bits a value, so the share is rounded to
    a multiple of 1 / 65536.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps [..., C] to the same shape."""
        kept = max(1, 2**16 - round(2**16 * self.rate))  # of 65536 values
        if not train or kept == 2**16:
            return x
        words = jax.random.bits(self.make_rng("dropout"), (*x.shape[:-1], -(-x.shape[-1] // 2)), jnp.uint32)
        halves = lax.bitcast_convert_type(words, jnp.uint16)  # [..., C / 2] -> [..., C / 2, 2]
        halves = halves.reshape(*words.shape[:-1], -1)[..., : x.shape[-1]]  # -> [..., C]
        return jnp.where(halves < kept, x * (2**16 / kept), 0).astype(x.dtype)


class MinibatchStd(nn.Module):
    """Appends a channel that says how much a group of examples differs (Karras et al. 2018, section 3).

    Groups are `group` consecutive examples, so that their size and members do not depend on the devices. Outside
    training the channel holds the average of what training saw: what D says of an image then depends on it alone.

    Attributes:
        group: examples a group; 0 = the layer does nothing.
    """

    group: int

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps [B, ..., C] to [B, ..., C + 1]; B is divisible by the group in training."""
        if not self.group:
            return x
        kept = self.variable("batch_stats", "spread", jnp.zeros, ())
        spread = jnp.broadcast_to(kept.value, x.shape[0])
        if train:
            groups = x.astype(jnp.float32).reshape(-1, self.group, math.prod(x.shape[1:]))  # [B, ...] -> [B / m, m, N]
            deviation = jnp.sqrt(jnp.var(groups, axis=1) + 1e-8).mean(
                1
            )  # [B / m]; the root's gradient is infinite at 0
            spread = jnp.broadcast_to(deviation[:, None], groups.shape[:2]).reshape(-1)  # [B / m, m] -> [B]
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                kept.value = 0.9 * kept.value + 0.1 * lax.stop_gradient(deviation.mean())
        wide = spread.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))  # [B] -> [B, 1, ...]
        return jnp.concatenate([x, jnp.broadcast_to(wide, (*x.shape[:-1], 1))], -1)


class LabelledNoise(nn.Module):
    """Appends a learned vector of the class to the noise; does nothing without classes."""

    num_classes: int
    features: int
    embedding_init: Initializer = nn.initializers.normal(1.0)  # the scale of the noise itself

    @nn.compact
    def __call__(self, z: Array, labels: Array | None) -> Array:
        """Maps [B, Z] to [B, Z + features]."""
        if not self.num_classes:
            return z
        table = nn.Embed(self.num_classes, self.features, embedding_init=self.embedding_init, name="embedding")
        return jnp.concatenate([z, table(_known(labels))], -1)


class Projection(nn.Module):
    """Inner product of features and a learned vector of the class (Miyato & Koyama 2018, equation 3)."""

    num_classes: int
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    spectral: bool = False

    @nn.compact
    def __call__(self, pooled: Array, labels: Array | None, *, train: bool) -> Array:
        """Maps [B, C] to float32 [B]; zeros without classes."""
        if not self.num_classes:
            return jnp.zeros(pooled.shape[0])
        table = self.param("embedding", self.kernel_init, (self.num_classes, pooled.shape[-1]))
        if self.spectral:
            table = spectrally_normalized(self, table, train)
        return jnp.sum(table[_known(labels)] * pooled, -1)


def _known(labels: Array | None) -> Array:
    if labels is None:
        raise ValueError("a class-conditional network needs labels")
    return labels


# ---------------------------------------------------------------- resampling and results


def upsample(x: Array, edge: Literal["constant", "edge"] = "edge") -> Array:
    """Doubles height and width with the filter [1, 3, 3, 1] / 4 along each, which is bilinear interpolation.

    Args:
        x: [B, H, W, C].
        edge: what lies outside: copies of the border ("edge") or zeros ("constant").
    """
    return _spread(x, edge)


def downsample(x: Array) -> Array:
    """Halves height and width of [B, H, W, C] with the filter [1, 3, 3, 1] / 8 along each, zeros outside."""
    return 0.25 * _gather(x, "constant")


# Interpolation and its adjoint, each the derivative of the other: by JAX's own rules the derivatives would be sums of
# padded arrays, which XLA computes many times slower on CPU.


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(x: Array, edge: Literal["constant", "edge"]) -> Array:
    """[B, H, W, C] -> [B, 2H, 2W, C]."""
    for axis in (1, 2):
        size = x.shape[axis]
        padded = _pad(x, axis, edge)
        before, after = (lax.slice_in_dim(padded, start, start + size, axis=axis) for start in (0, 2))
        pairs = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])  # [.., size, 2, ..] -> [.., 2 * size, ..]
    return x


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(x: Array, edge: Literal["constant", "edge"]) -> Array:
    """[B, H, W, C] -> [B, H / 2, W / 2, C], the adjoint of `_spread`."""
    for axis in (1, 2):
        # Outside lies what the border's copies gave, its own outermost value, or nothing.
        padded, end = _pad(x, axis, edge), x.shape[axis] - 1
        taps = [lax.slice_in_dim(padded, start, start + end, stride=2, axis=axis) for start in range(4)]
        x = 0.25 * (taps[0] + taps[3]) + 0.75 * (taps[1] + taps[2])
    return x


_spread.defvjp(lambda x, edge: (_spread(x, edge), None), lambda edge, _, g: (_gather(g, edge),))
_gather.defvjp(lambda x, edge: (_gather(x, edge), None), lambda edge, _, g: (_spread(g, edge),))


def _pad(x: Array, axis: int, mode: Literal["constant", "edge"]) -> Array:
    return jnp.pad(x, [(int(i == axis), int(i == axis)) for i in range(x.ndim)], mode=mode)


def average_pool(x: Array) -> Array:
    """Halves height and width of [B, H, W, C] by the mean of 2x2 squares."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))  # [B, H/2, 2, W/2, 2, C]


def named_features(stages: Sequence[Array], pooled: Array) -> dict[str, Array]:
    """A discriminator's features: "stage_1" (nearest to the image), "stage_2", ... and "pooled", float32."""
    named = {f"stage_{number}": stage for number, stage in enumerate(stages, 1)} | {"pooled": pooled}
    return {name: array.astype(jnp.float32) for name, array in named.items()}
