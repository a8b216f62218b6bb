"""WaveGAN (Donahue et al. 2019): DCGAN stretched to one axis, with long windows, strides of 4 and phase shuffle."""

import math
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from gan_jax.models.layers import Conv, Dense, LabelledNoise, MinibatchStd, Projection, UpConv, named_features
from gan_jax.models.signals import phase_shuffle, strides

D_NORMS = ("none", "spectral")
_WINDOW = (1, 25)
_SLOPE = 0.2
_HE = nn.initializers.he_normal()


class Generator(nn.Module):
    """Dense to the base, then transposed convolutions of stride 4 (the first may be 2), halving channels to `width`."""

    shape: tuple[int, ...]
    latent_size: int
    width: int = 64
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to signals float32 [B, L, C] in [-1, 1]."""
        length, channels = self.shape
        steps = strides(length)[::-1]
        base, wide = length // math.prod(steps), self.width * 2 ** (len(steps) - 1)
        x = LabelledNoise(self.num_classes, self.latent_size, name="noise")(z, labels)
        x = Dense(base * wide, dtype=self.dtype, kernel_init=_HE, name="base")(x)
        x = nn.relu(x).reshape(-1, 1, base, wide)  # [B, b * W] -> [B, 1, b, W]
        for number, stride in enumerate(steps, 1):
            last = number == len(steps)
            features = channels if last else wide >> number
            init = nn.initializers.variance_scaling(stride * (1 if last else 2), "fan_in", "normal")
            layer = UpConv(features, _WINDOW, stride, dtype=self.dtype, kernel_init=init, name=f"up_{number}")
            x = layer(x)
            x = x if last else nn.relu(x)
        return jnp.tanh(x[:, 0].astype(jnp.float32))  # [B, 1, L, C] -> [B, L, C]


class Discriminator(nn.Module):
    """Convolutions of stride 4 (the last may be 2) from `width` channels upwards, phase shuffle between them.

    Attributes:
        phase_shuffle: most places by which each layer's output is shifted in training; 0 = none. WaveGAN takes 2.
    """

    width: int = 64
    num_classes: int = 0
    norm: Literal["none", "spectral"] = "none"
    phase_shuffle: int = 0
    minibatch_std: int = 0
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return self.minibatch_std > 0

    @nn.compact
    def __call__(self, signals: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps signals [B, L, C] to logits float32 [B] and named features."""
        spectral = self.norm == "spectral"
        x, stages = signals[:, None], []  # [B, L, C] -> [B, 1, L, C]
        steps = strides(x.shape[2])
        for number, stride in enumerate(steps):
            layer = Conv(
                self.width << number,
                _WINDOW,
                stride,
                dtype=self.dtype,
                kernel_init=_HE,
                spectral=spectral,
                name=f"down_{number + 1}",
            )
            x = nn.leaky_relu(layer(x, train=train), _SLOPE)
            stages.append(x[:, 0])
            if train and self.phase_shuffle and number + 1 < len(steps):
                x = phase_shuffle(self.make_rng("dropout"), x, min(self.phase_shuffle, x.shape[2] - 1))
        pooled = x.reshape(-1, math.prod(x.shape[1:])).astype(jnp.float32)  # [B, 1, b, W] -> [B, b * W]
        seen = MinibatchStd(self.minibatch_std, name="minibatch")(pooled, train=train)
        logits = Dense(1, spectral=spectral, name="out")(seen, train=train)[:, 0]
        logits += Projection(self.num_classes, spectral=spectral, name="projection")(pooled, labels, train=train)
        return logits, named_features(stages, pooled)
