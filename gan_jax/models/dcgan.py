"""DCGAN (Radford et al. 2016) with the 5x5 kernels of the article's and TensorFlow's 28x28 network, at any size."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from gan_jax.models.layers import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Initializer,
    LabelledNoise,
    MinibatchStd,
    Projection,
    UpConv,
    named_features,
    stage_count,
)

D_NORMS = ("none", "batch", "spectral")
_SLOPE = 0.3  # of LeakyReLU: Keras's default, which the 28x28 network uses
# Keras's default, which the 28x28 network uses, too. N(0, 0.02) of the paper needs batch norm in D: without it the
# signal shrinks from layer to layer and D learns nothing for tens of thousands of images.
_GLOROT = nn.initializers.glorot_uniform()
_WIDEST = 8  # times `width`, the most channels of a stage


class Generator(nn.Module):
    """Dense to the base, a 5x5 convolution, then stride-2 up-convolutions; batch norm and LeakyReLU between.

    Channels halve from stage to stage down to `width`. At 28x28 with width 64: 256, 128, 64 and the image.
    """

    shape: tuple[int, ...]
    latent_size: int
    width: int = 64
    num_classes: int = 0
    dtype: Any = jnp.float32
    kernel_init: Initializer = _GLOROT

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to images float32 [B, H, W, C] in [-1, 1]."""
        height, width, channels = self.shape
        count = stage_count(height, width)
        base = (height >> count, width >> count)
        widths = [self.width * min(2**power, _WIDEST) for power in range(count, -1, -1)]
        common: dict[str, Any] = {"use_bias": False, "dtype": self.dtype, "kernel_init": self.kernel_init}

        def activate(x: Array, name: str) -> Array:
            return nn.leaky_relu(BatchNorm(dtype=self.dtype, name=name)(x, train=train), _SLOPE)

        x = LabelledNoise(self.num_classes, self.latent_size, name="noise")(z, labels)
        x = activate(Dense(base[0] * base[1] * widths[0], name="base", **common)(x), "base_norm")
        x = x.reshape(-1, *base, widths[0])  # [B, h * w * C] -> [B, h, w, C]
        x = activate(Conv(widths[1], (5, 5), name="conv", **common)(x), "conv_norm")
        for number, features in enumerate(widths[2:], 1):
            x = activate(UpConv(features, name=f"up_{number}", **common)(x), f"up_{number}_norm")
        x = UpConv(channels, name="image", **common)(x)
        return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
    """Stride-2 5x5 convolutions with LeakyReLU and dropout, channels doubling from `width`, and one linear output.

    Attributes:
        extra_stages: convolutions after those that halve both sides evenly; an odd side is rounded up.
    """

    width: int = 64
    extra_stages: int = 0
    num_classes: int = 0
    norm: Literal["none", "batch", "spectral"] = "none"
    dropout: float = 0.0
    minibatch_std: int = 0
    dtype: Any = jnp.float32
    kernel_init: Initializer = _GLOROT

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return self.norm == "batch" or self.minibatch_std > 0

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps images [B, H, W, C] to logits float32 [B] and named features."""
        spectral = self.norm == "spectral"
        x, stages = images, []
        for index in range(stage_count(*images.shape[1:3]) + self.extra_stages):
            norm = self.norm == "batch" and index > 0  # none on the first layer, as Radford et al. advise
            x = Conv(
                self.width * min(2**index, _WIDEST),
                (5, 5),
                strides=2,
                use_bias=not norm,
                dtype=self.dtype,
                kernel_init=self.kernel_init,
                spectral=spectral,
                name=f"conv_{index + 1}",
            )(x, train=train)
            if norm:
                x = BatchNorm(dtype=self.dtype, name=f"conv_{index + 1}_norm")(x, train=train)
            x = nn.leaky_relu(x, _SLOPE)
            stages.append(x)
            x = Dropout(self.dropout)(x, train=train)
        features = named_features(stages, stages[-1].astype(jnp.float32).mean((1, 2)))
        x = MinibatchStd(self.minibatch_std, name="minibatch")(x, train=train)
        flat = x.reshape(x.shape[0], -1).astype(jnp.float32)  # [B, h, w, C] -> [B, h * w * C]
        logits = Dense(1, kernel_init=self.kernel_init, spectral=spectral, name="out")(flat, train=train)[:, 0]
        project = Projection(self.num_classes, spectral=spectral, name="projection")
        logits += project(features["pooled"], labels, train=train)
        return logits, features
