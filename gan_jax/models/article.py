"""The networks of the article's first GAN: the 28x28 DCGAN generator against one hidden layer. 28x28 only."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from gan_jax.models import dcgan
from gan_jax.models.layers import Dense, Dropout, Projection, named_features

D_NORMS = ("none",)
SIZE = (28, 28)
_GLOROT = nn.initializers.glorot_uniform()  # Keras's default


class Generator(nn.Module):
    """Dense to 7x7x256, 5x5 up-convolutions to 128, 64 and the image; batch norm, LeakyReLU 0.3, tanh."""

    shape: tuple[int, ...]
    latent_size: int
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to images float32 [B, 28, 28, C] in [-1, 1]."""
        network = dcgan.Generator(self.shape, self.latent_size, 64, self.num_classes, self.dtype, name="dcgan")
        return network(z, labels, train=train)


class Discriminator(nn.Module):
    """Flatten, 256 units with LeakyReLU 0.3, dropout, one linear output."""

    num_classes: int = 0
    dropout: float = 0.3
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return False

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps images [B, 28, 28, C] to logits float32 [B] and named features."""
        flat = images.reshape(images.shape[0], -1)  # [B, 28, 28, C] -> [B, 784 * C]
        hidden = nn.leaky_relu(Dense(256, dtype=self.dtype, name="hidden")(flat), 0.3)
        features = named_features([hidden], hidden)
        dropped = Dropout(self.dropout)(features["pooled"], train=train)
        logits = Dense(1, kernel_init=_GLOROT, name="out")(dropped)[:, 0]
        logits += Projection(self.num_classes, name="projection")(features["pooled"], labels, train=train)
        return logits, features
