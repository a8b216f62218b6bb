"""A head for a discriminator's second task, on top of any architecture. Imports JAX, Flax, layers and the config."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from gan_jax.config import ModelConfig
from gan_jax.models.layers import Dense

_TURNS, _EMBEDDING, _HIDDEN = 4, 64, 128


class WithHead(nn.Module):
    """A discriminator whose features are joined by "head": what it says on its second task.

    Attributes:
        d: the discriminator.
        size: numbers the head gives.
        hidden: units of a ReLU layer below it; 0 = the head is linear.
        judges: the head's logits, one a class, also say whether an image is real: log sum exp (Salimans et al. 2016).
    """

    d: nn.Module
    size: int
    hidden: int = 0
    judges: bool = False
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        d: Any = self.d
        return bool(d.cross_sample)

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps images [B, H, W, C] to logits float32 [B] and named features."""
        d: Any = self.d
        logits, features = d(images, labels, train=train)
        last = features[f"stage_{sum(name.startswith('stage_') for name in features)}"]
        x = features["pooled"] if self.judges else last.reshape(len(last), -1)  # [B, h, w, C] -> [B, h * w * C]
        if self.hidden:
            x = nn.relu(Dense(self.hidden, dtype=self.dtype, name="head_hidden")(x))
        head = Dense(self.size, name="head")(x).astype(jnp.float32)
        if self.judges:
            logits = jax.nn.logsumexp(head, axis=-1)
        return logits, features | {"head": head}


def with_head(d: nn.Module, config: ModelConfig, num_classes: int) -> nn.Module:
    """The discriminator with the head of `config.head`; itself if there is none, or if it has its own."""
    dtype = jnp.dtype(config.dtype)
    match config.head:
        case "rotation":
            return WithHead(d, _TURNS, dtype=dtype)
        case "views":
            return WithHead(d, _EMBEDDING, _HIDDEN, dtype=dtype)
        case "auxiliary":
            return WithHead(d, num_classes, dtype=dtype)
        case "classes" if config.architecture != "improved_gan":
            return WithHead(d, num_classes, judges=True, dtype=dtype)
    return d
