"""SNGAN's residual networks (Miyato et al. 2018) with a projection discriminator (Miyato & Koyama 2018)."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from gan_jax.models.layers import (
    BatchNorm,
    Conv,
    Dense,
    MinibatchStd,
    Projection,
    average_pool,
    named_features,
    stage_count,
    upsample,
)

D_NORMS = ("none", "spectral")
_RESIDUAL = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")  # Glorot, gain sqrt(2)
_LINEAR = nn.initializers.glorot_uniform()


class UpBlock(nn.Module):
    """BN-ReLU-upsample-conv-BN-ReLU-conv, plus an upsampled 1x1 shortcut."""

    features: int
    num_classes: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, labels: Array | None, *, train: bool) -> Array:
        """Maps [B, H, W, C] to [B, 2H, 2W, features]."""

        def activate(y: Array, name: str) -> Array:
            return nn.relu(BatchNorm(self.num_classes, self.dtype, name=name)(y, labels, train=train))

        # No biases: the batch norms that follow take every constant out again.
        plain: dict[str, Any] = {"use_bias": False, "dtype": self.dtype}
        y = upsample(activate(x, "norm_1"))
        y = Conv(self.features, kernel_init=_RESIDUAL, name="conv_1", **plain)(y)
        y = Conv(self.features, kernel_init=_RESIDUAL, name="conv_2", **plain)(activate(y, "norm_2"))
        # A 1x1 convolution and an interpolation commute; this order is 4 times cheaper.
        shortcut = Conv(self.features, (1, 1), kernel_init=_LINEAR, name="shortcut", **plain)(x)
        return y + upsample(shortcut)


class Generator(nn.Module):
    """Dense to the base, one `UpBlock` of `width` channels a doubling, BN-ReLU-conv-tanh."""

    shape: tuple[int, ...]
    latent_size: int
    width: int = 256
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to images float32 [B, H, W, C] in [-1, 1]; labels choose the batch norms' scales."""
        height, width, channels = self.shape
        count = stage_count(height, width)
        base = (height >> count, width >> count)
        x = Dense(base[0] * base[1] * self.width, dtype=self.dtype, kernel_init=_LINEAR, name="base")(z)
        x = x.reshape(-1, *base, self.width)  # [B, h * w * C] -> [B, h, w, C]
        for number in range(1, count + 1):
            x = UpBlock(self.width, self.num_classes, self.dtype, name=f"block_{number}")(x, labels, train=train)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="norm")(x, train=train))
        x = Conv(channels, dtype=self.dtype, kernel_init=_LINEAR, name="image")(x)
        return jnp.tanh(x.astype(jnp.float32))


class DownBlock(nn.Module):
    """ReLU-conv-ReLU-conv-pool plus a shortcut; the first block of a network has no leading ReLU."""

    features: int
    down: bool
    first: bool
    spectral: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps [B, H, W, C] to [B, H', W', features], H' = H / 2 if `down`."""

        def convolve(y: Array, name: str, window: int) -> Array:
            init = _RESIDUAL if window == 3 else _LINEAR
            layer = Conv(
                self.features, (window, window), dtype=self.dtype, kernel_init=init, spectral=self.spectral, name=name
            )
            return layer(y, train=train)

        y = convolve(x if self.first else nn.relu(x), "conv_1", 3)
        y = convolve(nn.relu(y), "conv_2", 3)
        if self.down:  # pooling and a 1x1 convolution commute; this order is 4 times cheaper
            y, x = average_pool(y), average_pool(x)
        return y + (convolve(x, "shortcut", 1) if self.down or x.shape[-1] != self.features else x)


class Discriminator(nn.Module):
    """Halving blocks down to a side of 7 or 8, two more blocks, ReLU, sum over places, one linear output.

    At 32x32 with width 128 and spectral norm it is SNGAN's.
    """

    width: int = 128
    num_classes: int = 0
    norm: Literal["none", "spectral"] = "none"
    minibatch_std: int = 0
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return self.minibatch_std > 0

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps images [B, H, W, C] to logits float32 [B] and named features."""
        spectral = self.norm == "spectral"
        height, width = images.shape[1:3]
        halvings = stage_count(height, width)
        while halvings > 1 and min(height, width) >> halvings < 7:
            halvings -= 1
        x, stages = images, []
        for index in range(halvings + 2):
            block = DownBlock(
                self.width,
                down=index < halvings,
                first=index == 0,
                spectral=spectral,
                dtype=self.dtype,
                name=f"block_{index + 1}",
            )
            x = block(x, train=train)
            stages.append(x)
        pooled = nn.relu(x).astype(jnp.float32).sum((1, 2))
        seen = MinibatchStd(self.minibatch_std, name="minibatch")(pooled, train=train)
        logits = Dense(1, kernel_init=_LINEAR, spectral=spectral, name="out")(seen, train=train)[:, 0]
        logits += Projection(self.num_classes, spectral=spectral, name="projection")(pooled, labels, train=train)
        return logits, named_features(stages, pooled)
