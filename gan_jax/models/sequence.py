"""A pair for words: a generator that draws letter after letter, and a discriminator of one-hot letters.

Letters are drawn by the Gumbel-max trick from the noise itself, so that a sample is a pure function of its noise like
any other. The gradient of a letter is that of a softmax at `temperature` (straight-through Gumbel-softmax: Jang et al.
2017, section 2.2; for GANs of text: Kusner & Hernandez-Lobato 2016).
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from gan_jax.models.layers import Conv, Dense, LabelledNoise, MinibatchStd, Projection, named_features

D_NORMS = ("none",)
_HE = nn.initializers.he_normal()
_SLOPE = 0.2
_EDGE = 1e-6  # of probabilities: Gumbel noise stays finite


class Generator(nn.Module):
    """Each letter from those before it and from the noise: `blocks` residual layers of `width` units.

    The first L * V numbers of the noise choose letters, the others say what the whole word is like.
    """

    shape: tuple[int, ...]
    latent_size: int
    width: int = 256
    blocks: int = 2
    num_classes: int = 0
    dtype: Any = jnp.float32
    tempered = True  # its call takes a temperature

    @nn.compact
    def __call__(
        self,
        z: Array,
        labels: Array | None = None,
        *,
        train: bool,
        temperature: Array | float = 1.0,
        given: Array | None = None,
    ) -> Array:
        """Maps noise [B, Z] to one-hot letters float32 [B, L, V].

        The temperature is that of the softmax whose gradient is used; it changes no letter. With words `given`, one-hot
        [B, L, V], nothing is drawn: the logits [B, L, V] of each letter after those before it in that word.
        """
        length, letters = self.shape
        chances, whole = z[:, : length * letters], z[:, length * letters :]
        uniform = jnp.clip(jax.scipy.stats.norm.cdf(chances), _EDGE, 1 - _EDGE)
        gumbel = -jnp.log(-jnp.log(uniform)).reshape(-1, length, letters)  # [B, L * V] -> [B, L, V]
        whole = LabelledNoise(self.num_classes, max(whole.shape[1], 1), name="noise")(whole, labels)
        meaning = Dense(self.width, dtype=self.dtype, name="whole")(whole)
        place = self.param("place", nn.initializers.normal(1.0), (length, self.width))
        # Row (d - 1) V + v: what letter v, d places before, says of the next one.
        past = self.param("past", nn.initializers.normal(0.5), ((length - 1) * letters, self.width))
        layers = [
            (
                Dense(self.width, dtype=self.dtype, kernel_init=_HE, name=f"inner_{number}"),
                Dense(self.width, dtype=self.dtype, kernel_init=nn.initializers.zeros, name=f"outer_{number}"),
            )
            for number in range(1, self.blocks + 1)
        ]
        out = Dense(letters, dtype=self.dtype, name="letters")
        drawn: list[Array] = []
        said: list[Array] = []
        for index in range(length):
            x = meaning + place[index]
            if drawn:
                seen = jnp.concatenate(drawn[::-1], -1)  # the nearest first: [B, index * V]
                x += (seen @ past[: seen.shape[1]]).astype(self.dtype)
            for inner, outer in layers:
                x += outer(nn.relu(inner(nn.relu(x))))
            said.append(out(nn.relu(x)).astype(jnp.float32))
            if given is None:
                drawn.append(straight_through(said[-1] + gumbel[:, index], temperature))
            else:
                drawn.append(given[:, index])
        return jnp.stack(said if given is not None else drawn, 1)


class Discriminator(nn.Module):
    """Letters as vectors, `blocks` residual blocks of two convolutions over three letters, a dense layer of all."""

    width: int = 256
    blocks: int = 2
    num_classes: int = 0
    minibatch_std: int = 0
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return self.minibatch_std > 0

    @nn.compact
    def __call__(self, words: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps one-hot letters [B, L, V] to logits float32 [B] and named features."""
        x = Dense(self.width, use_bias=False, dtype=self.dtype, name="letters")(words[:, None])  # [B, 1, L, W]
        stages = []
        for number in range(1, self.blocks + 1):
            y = x
            for part in ("a", "b"):
                y = Conv(self.width, (1, 3), dtype=self.dtype, kernel_init=_HE, name=f"conv_{number}{part}")(
                    nn.leaky_relu(y, _SLOPE)
                )
            x += y
            stages.append(x[:, 0])
        flat = nn.leaky_relu(x, _SLOPE).reshape(-1, math.prod(x.shape[1:]))  # [B, 1, L, W] -> [B, L * W]
        pooled = nn.leaky_relu(Dense(self.width, dtype=self.dtype, kernel_init=_HE, name="whole")(flat), _SLOPE)
        features = named_features(stages, pooled)
        seen = MinibatchStd(self.minibatch_std, name="minibatch")(features["pooled"], train=train)
        logits = Dense(1, name="out")(seen, train=train)[:, 0]
        logits += Projection(self.num_classes, name="projection")(features["pooled"], labels, train=train)
        return logits, features


def straight_through(scores: Array, temperature: Array | float) -> Array:
    """One-hot of the highest score, whose gradient is that of softmax(scores / temperature).

    Args:
        scores: float32 [B, V], logits plus Gumbel noise.
        temperature: above 0.
    """
    soft = jax.nn.softmax(scores / temperature)
    hard = jax.nn.one_hot(jnp.argmax(scores, -1), scores.shape[-1], dtype=soft.dtype)
    return hard + (soft - lax.stop_gradient(soft))
