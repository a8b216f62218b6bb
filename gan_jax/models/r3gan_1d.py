"""R3GAN's recipe (Huang et al. 2024) for signals: its residual blocks along one axis, and frames of long signals.

A long signal is cut into frames first: a learned basis of `2 * frame` samples turns each into one place of the
networks and back, as a short-time Fourier transform would. Speech then costs a hundred places, not thousands.
"""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from gan_jax.models.conv import conv
from gan_jax.models.layers import Conv, Dense, LabelledNoise, Projection, UpConv, named_features
from gan_jax.models.r3gan import Block
from gan_jax.models.signals import downsample, halvings, loudness, spectrogram_kernel, upsample

D_NORMS = ("none",)
_WINDOW = (1, 3)
_GROUP = 64  # channels a group: along one axis wide groups are cheap, and narrow ones slow on CPU
_UNIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Generator(nn.Module):
    """A learned basis at the lowest resolution, weighted by the noise; `blocks` blocks a resolution; frames to samples.

    Attributes:
        frame: samples a place of the highest resolution stands for.
    """

    shape: tuple[int, ...]
    latent_size: int
    width: int = 64
    blocks: int = 2
    frame: int = 1
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, *, train: bool) -> Array:
        """Maps noise [B, Z] to signals float32 [B, L, C]."""
        length, channels = self.shape
        places = length // self.frame
        count = halvings(places)
        init = nn.initializers.normal(self.num_classes**-0.5 if self.num_classes else 1.0)  # fan-in of a one-hot vector
        z = LabelledNoise(self.num_classes, self.latent_size, init, name="noise")(z, labels)
        basis = self.param("basis", nn.initializers.normal(1.0), (1, places >> count, self.width))
        weights = Dense(self.width, use_bias=False, kernel_init=_UNIT, name="weights")(z)
        x = basis * weights[:, None, None]  # [1, b, W] * [B, 1, 1, W]
        for stage in range(count + 1):
            dtype = self.dtype if stage else jnp.float32
            if stage:
                x = upsample(x.astype(dtype))
            for number in range(1, self.blocks + 1):
                x = Block(self.blocks * (count + 1), dtype, _WINDOW, _GROUP, name=f"stage_{stage}_block_{number}")(x)
        if self.frame == 1:
            x = Conv(channels, (1, 1), use_bias=False, dtype=self.dtype, kernel_init=_UNIT, name="signal")(x)
        else:
            window = (1, 2 * self.frame)
            init = nn.initializers.normal(0.1 * (2 * self.width) ** -0.5)  # sounds begin quiet
            layer = UpConv(
                channels, window, self.frame, use_bias=False, dtype=self.dtype, kernel_init=init, name="signal"
            )
            x = layer(x)
        return x[:, 0].astype(jnp.float32)  # [B, 1, L, C] -> [B, L, C]


class Discriminator(nn.Module):
    """The generator's mirror: frames, `blocks` blocks a resolution, a learned weight for every place and channel.

    Attributes:
        frame: samples that become one place.
        d_spectrogram: "none": the first layer sees the frames' samples; "beside": their spectrogram, too; "alone": it
            sees nothing else, so that no sound is told by its phases, which the ear hardly hears either.
    """

    width: int = 64
    blocks: int = 2
    frame: int = 1
    d_spectrogram: Literal["none", "beside", "alone"] = "none"
    num_classes: int = 0
    dtype: Any = jnp.float32

    @property
    def cross_sample(self) -> bool:
        """Whether an example's logit depends on the rest of the batch."""
        return False

    @nn.compact
    def __call__(self, signals: Array, labels: Array | None = None, *, train: bool) -> tuple[Array, dict[str, Array]]:
        """Maps signals [B, L, C] to logits float32 [B] and named features."""
        x = signals[:, None]  # [B, L, C] -> [B, 1, L, C]
        count = halvings(x.shape[2] // self.frame)
        window = (1, 1 if self.frame == 1 else 2 * self.frame)
        common: dict[str, Any] = {"use_bias": False, "dtype": self.dtype, "kernel_init": _UNIT}
        seen: list[Array] = []
        if self.d_spectrogram != "alone":
            seen.append(Conv(self.width, window, self.frame, name="signal", **common)(x))
        if self.d_spectrogram != "none":
            seen.append(Conv(self.width, (1, 1), name="spectrogram", **common)(self._spectrogram(x)))
        x, stages = sum(seen[1:], start=seen[0]), []
        for stage in range(count, -1, -1):
            dtype = self.dtype if stage else jnp.float32
            x = x.astype(dtype)
            for number in range(1, self.blocks + 1):
                x = Block(self.blocks * (count + 1), dtype, _WINDOW, _GROUP, name=f"stage_{stage}_block_{number}")(x)
            stages.append(x[:, 0])
            if stage:
                x = downsample(x)
        init = nn.initializers.normal((x.shape[1] * x.shape[2]) ** -0.5)
        pooled = jnp.einsum("bhwc,hwc->bc", x, self.param("basis", init, x.shape[1:]))
        size = self.width if self.num_classes else 1
        out = Dense(size, use_bias=False, kernel_init=_UNIT, name="out")(pooled)
        if not self.num_classes:
            return out[:, 0], named_features(stages, pooled)
        init = nn.initializers.normal((self.num_classes * self.width) ** -0.5)
        logits = Projection(self.num_classes, init, name="projection")(out, labels, train=train)
        return logits, named_features(stages, pooled)

    def _spectrogram(self, x: Array) -> Array:
        """Loudness [B, 1, L / frame, C * (frame + 1)] of signals [B, 1, L, C], every channel by itself."""
        kernel = jnp.asarray(spectrogram_kernel(self.frame))
        parts = [
            loudness(conv(x[..., index : index + 1].astype(jnp.float32), kernel, self.frame))
            for index in range(x.shape[-1])
        ]
        return jnp.concatenate(parts, -1)
