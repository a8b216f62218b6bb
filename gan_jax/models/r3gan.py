"""R3GAN's networks (Huang et al. 2024): residual blocks with grouped convolutions and no normalisation at all.

Stable training comes from the initialisation (every residual branch starts at zero) and from the
loss. The lowest resolution computes in float32 whatever the dtype, as in the paper's presets.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from gan_jax.models.layers import (
    Conv,
    Dense,
    LabelledNoise,
    Projection,
    downsample,
    named_features,
    stage_count,
    upsample,
)

D_NORMS = ("none",)
_SLOPE = 0.2
_GROUP = 16  # channels a group
_UNIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Block(nn.Module):
    """x + conv1x1(act(grouped conv3x3(act(conv1x1(x))))), channels C -> 2C -> 2C -> C.

    Attributes:
        depth: blocks in the whole network; the branch's gain falls with it, as in Fixup (Zhang et al. 2019).
        dtype: of the activations.
        window: of the grouped convolution; one row for signals.
        group: its channels a group.
    """

    depth: int
    dtype: Any
    window: tuple[int, int] = (3, 3)
    group: int = _GROUP

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, C] to the same shape; the identity when freshly initialised."""
        channels = x.shape[-1]
        inner = 2 * channels
        groups = max(1, inner // self.group)
        while inner % groups:
            groups -= 1
        # He's gain for LeakyReLU, times depth^(-1/4) for each of the two convolutions; squared for a variance.
        init = nn.initializers.variance_scaling(2 / (1 + _SLOPE**2) * self.depth**-0.5, "fan_in", "normal")
        y = Conv(inner, (1, 1), dtype=self.dtype, kernel_init=init, name="conv_1")(x)
        y = Conv(inner, self.window, groups=groups, dtype=self.dtype, kernel_init=init, name="conv_2")(
            nn.leaky_relu(y, _SLOPE)
        )
        zeros = nn.initializers.zeros
        y = Conv(channels, (1, 1), use_bias=False, dtype=self.dtype, kernel_init=zeros, name="conv_3")(
            nn.leaky_relu(y, _SLOPE)
        )
        return x + y


class Generator(nn.Module):
    """A learned basis at the lowest resolution, weighted by the noise, then `blocks` blocks a resolution. No tanh."""

    shape: tuple[int, ...]
    latent_size: int
    width: int = 64
    blocks: int = 2
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to images float32 [B, H, W, C], about [-1, 1]."""
        height, width, channels = self.shape
        count = stage_count(height, width)
        init = nn.initializers.normal(self.num_classes**-0.5 if self.num_classes else 1.0)  # fan-in of a one-hot vector
        z = LabelledNoise(self.num_classes, self.latent_size, init, name="noise")(z, labels)
        basis = self.param("basis", nn.initializers.normal(1.0), (height >> count, width >> count, self.width))
        weights = Dense(self.width, use_bias=False, kernel_init=_UNIT, name="weights")(z)
        x = basis * weights[:, None, None]  # [h, w, C] * [B, 1, 1, C]
        for stage in range(count + 1):
            dtype = self.dtype if stage else jnp.float32
            if stage:
                x = upsample(x.astype(dtype), "constant")
            for number in range(1, self.blocks + 1):
                x = Block(self.blocks * (count + 1), dtype, name=f"stage_{stage}_block_{number}")(x)
        x = Conv(channels, (1, 1), use_bias=False, dtype=self.dtype, kernel_init=_UNIT, name="image")(x)
        return x.astype(jnp.float32)


class Discriminator(nn.Module):
    """The generator's mirror: `blocks` blocks a resolution, then a learned weight for every place and channel."""

    width: int = 64
    blocks: int = 2
    num_classes: int = 0
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return False

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps images [B, H, W, C] to logits float32 [B] and named features."""
        count = stage_count(*images.shape[1:3])
        x = Conv(self.width, (1, 1), use_bias=False, dtype=self.dtype, kernel_init=_UNIT, name="image")(images)
        stages = []
        for stage in range(count, -1, -1):
            dtype = self.dtype if stage else jnp.float32
            x = x.astype(dtype)
            for number in range(1, self.blocks + 1):
                x = Block(self.blocks * (count + 1), dtype, name=f"stage_{stage}_block_{number}")(x)
            stages.append(x)
            if stage:
                x = downsample(x)
        # A depthwise convolution whose window is the whole base.
        init = nn.initializers.normal((x.shape[1] * x.shape[2]) ** -0.5)
        pooled = jnp.einsum("bhwc,hwc->bc", x, self.param("basis", init, x.shape[1:]))
        size = self.width if self.num_classes else 1
        out = Dense(size, use_bias=False, kernel_init=_UNIT, name="out")(pooled)
        if not self.num_classes:
            return out[:, 0], named_features(stages, pooled)
        init = nn.initializers.normal((self.num_classes * self.width) ** -0.5)
        logits = Projection(self.num_classes, init, name="projection")(out, labels, train=train)
        return logits, named_features(stages, pooled)
