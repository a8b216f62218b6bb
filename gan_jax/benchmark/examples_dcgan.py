"""The 64x64 DCGAN of the PyTorch examples in our layers, for comparisons of speed alone. Imports JAX, Flax, models.

4x4 kernels without biases; ReLU in G, LeakyReLU 0.2 in D, batch normalisation in both (Radford et al. 2016). The
examples' first and last convolutions see one place only, so they are dense layers here, with the same weights.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from gan_jax.models.layers import BatchNorm, Conv, Dense, UpConv, named_features

SHAPE = (64, 64, 3)
_INIT = nn.initializers.normal(0.02)
_PLAIN: dict[str, Any] = {"use_bias": False, "kernel_init": _INIT}


class Generator(nn.Module):
    """Dense to 4x4, then up-convolutions to 8, 16, 32 and 64."""

    latent_size: int = 100
    width: int = 64

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to images float32 [B, 64, 64, 3] in [-1, 1]."""
        x = Dense(16 * 8 * self.width, name="base", **_PLAIN)(z).reshape(-1, 4, 4, 8 * self.width)  # -> [B, 4, 4, C]
        x = nn.relu(BatchNorm(name="base_norm")(x, train=train))
        for number, factor in enumerate((4, 2, 1), 1):
            x = UpConv(factor * self.width, (4, 4), name=f"up_{number}", **_PLAIN)(x)
            x = nn.relu(BatchNorm(name=f"up_{number}_norm")(x, train=train))
        return jnp.tanh(UpConv(3, (4, 4), name="image", **_PLAIN)(x))


class Discriminator(nn.Module):
    """Strided convolutions to 32, 16, 8 and 4, and one linear output."""

    width: int = 64

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return True

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps images [B, 64, 64, 3] to logits float32 [B] and named features."""
        x, stages = images, []
        for number, factor in enumerate((1, 2, 4, 8), 1):
            x = Conv(factor * self.width, (4, 4), 2, name=f"conv_{number}", **_PLAIN)(x)
            if number > 1:
                x = BatchNorm(name=f"conv_{number}_norm")(x, train=train)
            x = nn.leaky_relu(x, 0.2)
            stages.append(x)
        logits = Dense(1, name="out", **_PLAIN)(x.reshape(len(x), -1))[:, 0]  # [B, 4, 4, C] -> [B, 16 * C]
        return logits, named_features(stages, x.mean((1, 2)))
