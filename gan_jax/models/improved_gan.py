"""Improved-GAN's fully connected networks for MNIST (Salimans et al. 2016), for semi-supervised learning.

The recipe is that of the authors' train_mnist_feature_matching.py. One thing differs: its first weights are scaled by
the activations of 500 images, ours by what those are to be expected.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from gan_jax.models.layers import Dense, named_features

D_NORMS = ("none",)
_FIRST_NOISE, _NOISE = 0.3, 0.5  # standard deviations of what is added to D's input and before every other layer
# 1 over the root mean square of a layer's input, so that what it gives has unit variance: pixels or ReLUs, and noise.
_FIRST_GAIN, _GAIN = 1 / math.sqrt(0.2 + _FIRST_NOISE**2), 1 / math.sqrt(0.5 + _NOISE**2)
_D_WIDTHS = (1000, 500, 250, 250, 250)
_G_WIDTHS = (500, 500)


class WeightNorm(nn.Module):
    """Affine map whose columns have a length of their own (Salimans & Kingma 2016): W = gain * V / |V|."""

    features: int
    use_bias: bool = True
    gain: float = 1.0  # at the start
    learned_gain: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, C] to [B, features]."""
        direction = self.param("kernel", nn.initializers.normal(0.05), (x.shape[-1], self.features))
        gain: Any = self.gain
        if self.learned_gain:
            gain = self.param("gain", nn.initializers.constant(self.gain), (self.features,))
        y = x @ (gain * direction / jnp.linalg.norm(direction, axis=0))
        return y + self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else y


class Generator(nn.Module):
    """Two layers of 500 softplus units after batch norm without a scale, and weights of unit length to a sigmoid."""

    shape: tuple[int, ...]
    latent_size: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to float32 [B, *shape] in [-1, 1]."""
        x = jax.scipy.stats.norm.cdf(z)  # the recipe's uniform noise
        for number, width in enumerate(_G_WIDTHS, 1):
            x = Dense(width, use_bias=False, dtype=self.dtype, name=f"hidden_{number}")(x)
            norm = nn.BatchNorm(not train, momentum=0.9, use_scale=False, dtype=self.dtype, name=f"norm_{number}")
            x = nn.softplus(norm(x))
        x = WeightNorm(math.prod(self.shape), learned_gain=False, name="out")(x.astype(jnp.float32))
        x = jnp.tanh(0.5 * x)  # the sigmoid, stretched to [-1, 1]
        return x.reshape(-1, *self.shape)  # [B, H * W * C] -> [B, H, W, C]


class Discriminator(nn.Module):
    """Five ReLU layers of 1000, 500, 250, 250, 250 units with weight norm, each after Gaussian noise; a logit a class.

    Attributes:
        classes: K. The logit of "generated" is fixed at 0, so that of "real" is log sum exp of the K.
    """

    classes: int
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return False

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps images [B, H, W, C] to logits float32 [B] and named features, "head" the K logits."""

        def noisy(x: Array, scale: float) -> Array:
            return x + scale * jax.random.normal(self.make_rng("dropout"), x.shape, x.dtype) if train else x

        x = (images.reshape(len(images), -1) + 1) / 2  # [B, H, W, C] -> [B, H * W * C], pixels of the recipe
        stages, scale = [], _FIRST_NOISE
        for number, width in enumerate(_D_WIDTHS, 1):
            layer = WeightNorm(width, gain=_FIRST_GAIN if number == 1 else _GAIN, name=f"hidden_{number}")
            x = nn.relu(layer(noisy(x, scale).astype(self.dtype)))
            stages.append(x)
            scale = _NOISE
        features = named_features(stages, x)
        head = WeightNorm(self.classes, name="head")(noisy(features["pooled"], _NOISE))
        return jax.nn.logsumexp(head, axis=-1), features | {"head": head}
