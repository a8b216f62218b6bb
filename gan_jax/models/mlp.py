"""Fully connected networks, for toy data (as PacGAN's ring and grid, Lin et al. 2018) and small images."""

import math
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from gan_jax.models.layers import Dense, LabelledNoise, MinibatchStd, Projection, named_features

D_NORMS = ("none", "spectral")
_HE = nn.initializers.he_normal()
_FAINT = nn.initializers.variance_scaling(0.01, "fan_in", "normal")  # a tenth of the noise, at first


class Generator(nn.Module):
    """`blocks` hidden layers of `width` ReLU units, and a linear layer; images and signals end in tanh.

    Attributes:
        signs: numbers of the noise, the first, of which the layers see the sign alone.
        direct: numbers of the noise, the last, which the layers do not see (zeros stand for them): a linear map of them
            moves the output, so that examples are those of the layers with one Gaussian around each.
    """

    shape: tuple[int, ...]
    latent_size: int
    width: int = 400
    blocks: int = 2
    signs: int = 0
    direct: int = 0
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to float32 [B, *shape]."""
        if self.signs:  # a continuous map of noise in one piece has points between the modes (Khayatkhoei et al. 2018)
            z = jnp.concatenate([jnp.sign(z[:, : self.signs]), z[:, self.signs :]], -1)
        kept = self.latent_size - self.direct
        direct = z[:, kept:]
        if self.direct:
            # Zeros in their place: a first layer made for fewer numbers begins larger, and in trials left more strays.
            z = z.at[:, kept:].set(0.0)
        x = LabelledNoise(self.num_classes, self.latent_size, name="noise")(z, labels)
        for number in range(1, self.blocks + 1):
            dense = Dense(self.width, dtype=self.dtype, kernel_init=_HE, name=f"hidden_{number}")
            x = nn.relu(dense(x))
        x = Dense(math.prod(self.shape), dtype=self.dtype, name="out")(x).astype(jnp.float32)
        if self.direct:
            x += Dense(math.prod(self.shape), use_bias=False, kernel_init=_FAINT, name="direct")(direct)
        x = x.reshape(-1, *self.shape)  # [B, H * W * C] -> [B, H, W, C]
        return jnp.tanh(x) if len(self.shape) > 1 else x


class Discriminator(nn.Module):
    """`blocks` hidden layers of `width` units with LeakyReLU 0.2, and one linear output."""

    width: int = 200
    blocks: int = 2
    octaves: int = 0
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
        """Maps [B, ...] to logits float32 [B] and named features."""
        spectral = self.norm == "spectral"
        x = images.reshape(images.shape[0], -1)  # [B, ...] -> [B, N]
        if self.octaves:
            x = with_waves(x, self.octaves)
        stages = []
        for number in range(1, self.blocks + 1):
            dense = Dense(self.width, dtype=self.dtype, kernel_init=_HE, spectral=spectral, name=f"hidden_{number}")
            x = nn.leaky_relu(dense(x, train=train), 0.2)
            stages.append(x)
        features = named_features(stages, x)
        seen = MinibatchStd(self.minibatch_std, name="minibatch")(features["pooled"], train=train)
        logits = Dense(1, spectral=spectral, name="out")(seen, train=train)[:, 0]
        project = Projection(self.num_classes, spectral=spectral, name="projection")
        logits += project(features["pooled"], labels, train=train)
        return logits, features


def with_waves(x: Array, octaves: int) -> Array:
    """Coordinates [B, N] and their sines and cosines of 1/4, 1/2, 1, 2, ... cycles a unit: [B, N (1 + 2 octaves)].

    Networks learn slow functions first; of waves they can make fast ones (Tancik et al. 2020).
    """
    angles = [2 * jnp.pi * 2.0**number * x for number in range(-2, octaves - 2)]
    return jnp.concatenate([x, *map(jnp.sin, angles), *map(jnp.cos, angles)], -1)
