"""StyleGAN2 (Karras et al. 2020b): styles scale the channels of convolutions; images are sums of all resolutions.

Weights are drawn from N(0, 1) and scaled where they are used ("equalised learning rate", Karras et al. 2018,
section 4.1). No noise is added a pixel, as in the later alias-free networks: an image is a function of z alone.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from gan_jax.models.conv import conv
from gan_jax.models.layers import (
    LabelledNoise,
    MinibatchStd,
    Projection,
    downsample,
    named_features,
    stage_count,
    upsample,
)

D_NORMS = ("none",)
_WIDEST = 8  # times `width`, the most channels of a stage
_MAPPING_LR = 0.01  # of the mapping's weights, relative to all others


def activate(x: Array) -> Array:
    """LeakyReLU 0.2 that keeps the second moment of N(0, 1) inputs about 1."""
    return nn.leaky_relu(x, 0.2) * jnp.asarray(2**0.5, x.dtype)


def modulated_conv(x: Array, kernel: Array, styles: Array, demodulate: bool = True) -> Array:
    """A convolution whose kernel each example scales by its own style (Karras et al. 2020b, eqs. 1 and 3).

    Scaling the input channels and dividing the output channels is the same as a kernel an example, and leaves one
    convolution for the whole batch.

    Args:
        x: [B, H, W, C].
        kernel: float32 [kh, kw, C, D].
        styles: float32 [B, C].
        demodulate: divides each output channel by the norm of its scaled kernel.

    Returns:
        [B, H, W, D], in the dtype of x.
    """
    y = conv(x * styles[:, None, None].astype(x.dtype), kernel.astype(x.dtype))
    if not demodulate:
        return y
    power = jnp.matmul(jnp.square(styles), jnp.square(kernel).sum((0, 1)), precision=lax.Precision.HIGHEST)  # [B, D]
    return y * lax.rsqrt(power + 1e-8)[:, None, None].astype(y.dtype)


class EqualDense(nn.Module):
    """Affine map in float32 with equalised weights.

    Attributes:
        lr: learning rate of the weights, relative to the others'.
        bias: where the bias starts.
    """

    features: int
    lr: float = 1.0
    bias: float = 0.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, C] to [B, D]."""
        channels = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.normal(1 / self.lr), (channels, self.features))
        bias = self.param("bias", nn.initializers.constant(self.bias / self.lr), (self.features,))
        return x @ kernel * (self.lr * channels**-0.5) + bias * self.lr


def _equal_kernel(module: nn.Module, window: int, channels: int, features: int) -> Array:
    kernel: Array = module.param("kernel", nn.initializers.normal(1.0), (window, window, channels, features))
    return kernel * (window * window * channels) ** -0.5


def _add_bias(module: nn.Module, y: Array) -> Array:
    return y + module.param("bias", nn.initializers.zeros, (y.shape[-1],)).astype(y.dtype)


class EqualConv(nn.Module):
    """Convolution with equalised weights, result in `dtype`."""

    features: int
    window: int = 3
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, C] to [B, H, W, D]."""
        kernel = _equal_kernel(self, self.window, x.shape[-1], self.features)
        y = conv(x.astype(self.dtype), kernel.astype(self.dtype))
        return _add_bias(self, y) if self.use_bias else y


class StyledConv(nn.Module):
    """Modulated convolution with its own affine map from w to styles, and a bias."""

    features: int
    window: int = 3
    demodulate: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, w: Array) -> Array:
        """Maps [B, H, W, C] and [B, Z] to [B, H, W, D]."""
        styles = EqualDense(x.shape[-1], bias=1.0, name="style")(w)
        kernel = _equal_kernel(self, self.window, x.shape[-1], self.features)
        return _add_bias(self, modulated_conv(x.astype(self.dtype), kernel, styles, self.demodulate))


class Mapping(nn.Module):
    """Noise, and a vector of the class, normalised and sent through `blocks` dense layers."""

    latent_size: int
    blocks: int
    num_classes: int

    @nn.compact
    def __call__(self, z: Array, labels: Array | None) -> Array:
        """Maps noise [B, Z] to styles w [B, Z]."""
        w = LabelledNoise(self.num_classes, self.latent_size, name="noise")(z, labels)
        w = w * lax.rsqrt(jnp.mean(jnp.square(w), -1, keepdims=True) + 1e-8)
        for number in range(1, self.blocks + 1):
            w = activate(EqualDense(self.latent_size, _MAPPING_LR, name=f"dense_{number}")(w))
        return w


class Synthesis(nn.Module):
    """A learned constant, then at each resolution two styled convolutions (one at the lowest) and a picture."""

    shape: tuple[int, ...]
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, w: Array) -> Array:
        """Maps styles [B, Z] to images float32 [B, H, W, C], the sum of the pictures of all resolutions."""
        height, width, channels = self.shape
        widths = stage_widths(self.width, stage_count(height, width))[::-1]
        base = (height >> (len(widths) - 1), width >> (len(widths) - 1))
        x = self.param("constant", nn.initializers.normal(1.0), (*base, widths[0])).astype(self.dtype)
        x = jnp.broadcast_to(x, (w.shape[0], *x.shape))
        image = jnp.zeros((w.shape[0], *base, channels), self.dtype)
        for stage, features in enumerate(widths):
            if stage:
                x, image = upsample(x, "constant"), upsample(image, "constant")
                x = activate(StyledConv(features, dtype=self.dtype, name=f"stage_{stage}_conv_1")(x, w))
            x = activate(StyledConv(features, dtype=self.dtype, name=f"stage_{stage}_conv_2")(x, w))
            image += StyledConv(channels, 1, False, self.dtype, name=f"stage_{stage}_image")(x, w)
        return image.astype(jnp.float32)


class Generator(nn.Module):
    """`Mapping` of `blocks` layers, then `Synthesis`; `width` channels at the full resolution. No tanh."""

    shape: tuple[int, ...]
    latent_size: int
    width: int = 64
    blocks: int = 2
    num_classes: int = 0
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.mapping = Mapping(self.latent_size, self.blocks, self.num_classes)
        self.synthesis = Synthesis(self.shape, self.width, self.dtype)

    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to images float32 [B, H, W, C], about [-1, 1]."""
        return self.paint(self.styles(z, labels))

    def styles(self, z: Array, labels: Array | None = None) -> Array:
        """Maps noise [B, Z] to styles [B, Z]."""
        return self.mapping(z, labels)

    def paint(self, w: Array) -> Array:
        """Maps styles [B, Z] to images."""
        return self.synthesis(w)


def stage_widths(width: int, count: int) -> list[int]:
    """Channels of the stages from the full resolution to the base: doubling up to 8 times the width."""
    return [width * min(2**power, _WIDEST) for power in range(count + 1)]


class Block(nn.Module):
    """Two convolutions, the second at half the size, beside a 1x1 convolution of the halved input."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, C] to [B, H / 2, W / 2, features]."""
        y = activate(EqualConv(x.shape[-1], dtype=self.dtype, name="conv_1")(x))
        y = activate(EqualConv(self.features, dtype=self.dtype, name="conv_2")(downsample(y)))
        x = EqualConv(self.features, 1, False, self.dtype, name="shortcut")(downsample(x))
        return (x + y) * jnp.asarray(0.5**0.5, x.dtype)


class Discriminator(nn.Module):
    """A `Block` a halving from `width` channels, minibatch standard deviation, a convolution and two dense layers."""

    width: int = 64
    num_classes: int = 0
    minibatch_std: int = 0
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return self.minibatch_std > 0

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps images [B, H, W, C] to logits float32 [B] and named features."""
        widths = stage_widths(self.width, stage_count(*images.shape[1:3]))
        x, stages = activate(EqualConv(widths[0], 1, dtype=self.dtype, name="image")(images)), []
        for number, features in enumerate(widths[1:], 1):
            x = Block(features, self.dtype, name=f"block_{number}")(x)
            stages.append(x)
        x = MinibatchStd(self.minibatch_std, name="minibatch")(x, train=train)
        x = activate(EqualConv(widths[-1], dtype=self.dtype, name="conv")(x)).astype(jnp.float32)
        pooled = activate(
            EqualDense(widths[-1], name="dense")(x.reshape(x.shape[0], -1))
        )  # [B, h, w, C] -> [B, h * w * C]
        logits = EqualDense(1, name="out")(pooled)[:, 0]
        logits += Projection(self.num_classes, name="projection")(pooled, labels, train=train)
        return logits, named_features(stages, pooled)
