"""The augmentation pipeline of ADA (Karras et al. 2020a). Imports JAX, this room and the config.

Each transform is applied to each example with probability p. p below about 0.8 does not leak into the
generator's images (their section 3.1), so p is scheduled or driven by the discriminator's confidence.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from gan_jax.adversarial.warp import cut_out, quarter_turns, reflected, resample, rotate
from gan_jax.config import ADA

Draw = Callable[[str, Callable[[Array], Array], Array], Array]  # name, key -> values [B, ...], neutral value


def augment(key: Array, images: Array, p: Array, transforms: Sequence[str], shard: Callable[[Array], Array]) -> Array:
    """Applies each transform to each example with probability p.

    The strengths are those of the paper's appendix B. All axis-aligned moves are one resampling, all colour
    transforms one matrix; borders are mirrored. At p = 0 the images come out bit for bit.

    Args:
        key: of all draws.
        images: float32 [B, H, W, C] in [-1, 1]; square for "rotate90" and "rotate".
        p: float32 [], probability of each transform.
        transforms: of `config.ADA`.
        shard: constrains an array's leading axis to the mesh.

    Returns:
        [B, H, W, C], differentiable in the images.
    """
    keys = dict(zip(ADA, jax.random.split(key, len(ADA)), strict=True))
    count = len(images)

    def draw(name: str, sample: Callable[[Array], Array], neutral: Array) -> Array:
        """Values [B, ...] of a transform, neutral where it is not applied; neutral throughout if it is off."""
        if name not in transforms:
            return jnp.broadcast_to(neutral, (count, *neutral.shape))
        gate_key, value_key = jax.random.split(keys[name])
        applied = shard(jax.random.uniform(gate_key, (count,))) < p
        values = shard(sample(value_key))
        return jnp.where(applied.reshape(count, *(1,) * (values.ndim - 1)), values, neutral)

    if {"flip", "translate", "scale", "stretch", "shift"} & set(transforms):
        images = _move(images, draw)
    if "rotate90" in transforms:
        turns = draw("rotate90", lambda key: jax.random.randint(key, (count,), 0, 4), jnp.int32(0))
        images = quarter_turns(images, turns)
    if "rotate" in transforms:
        angles = draw("rotate", lambda key: jax.random.uniform(key, (count,), minval=-jnp.pi, maxval=jnp.pi), _ZERO)
        images = rotate(images, angles)
    if {"brightness", "contrast", "luma_flip", "hue", "saturation"} & set(transforms):
        images = _recolour(images, draw)
    if "cutout" in transforms:
        height, width = images.shape[1:3]
        size = jnp.array([height, width])
        centres = draw("cutout", lambda key: jax.random.uniform(key, (count, 2)), jnp.full(2, 2.0))  # 2 = outside
        corner = jnp.round(centres * size - size / 4).astype(jnp.int32)
        hole = (round(height / 2), round(width / 2))
        images = cut_out(images, corner[:, 0], corner[:, 1], hole, centres[:, 0] < 1)
    return images


_ZERO, _ONE = jnp.float32(0), jnp.float32(1)


def _move(images: Array, draw: Draw) -> Array:
    """Flip, translate (whole pixels), scale, stretch and shift (parts of pixels), in one resampling."""
    count, height, width, _ = images.shape
    size = jnp.array([height, width], jnp.float32)
    none = jnp.zeros(2)

    def power(strength: float) -> Callable[[Array], Array]:
        return lambda key: jnp.exp2(strength * jax.random.normal(key, (count,)))

    def whole(key: Array) -> Array:
        return jnp.round(jax.random.uniform(key, (count, 2), minval=-1 / 8, maxval=1 / 8) * size)

    sign = draw("flip", lambda key: jax.random.rademacher(key, (count,), jnp.float32), _ONE)
    scale, stretch = draw("scale", power(0.2), _ONE), draw("stretch", power(0.2), _ONE)
    offset = draw("translate", whole, none)
    offset += draw("shift", lambda key: jax.random.normal(key, (count, 2)) * size / 8, none)

    def places(extent: int, factor: Array, offset: Array) -> Array:  # [B], [B] -> [B, extent]
        middle = (extent - 1) / 2
        around = (jnp.arange(extent) - middle - offset[:, None]) / factor[:, None]
        return reflected(around + middle, extent)

    rows = places(height, scale / stretch, offset[:, 0])
    return resample(images, rows, places(width, sign * scale * stretch, offset[:, 1]))


def _recolour(images: Array, draw: Draw) -> Array:
    """Brightness, contrast, luma flip, hue and saturation: one affine map of each example's colours.

    Grey images have no hue and no saturation.
    """
    count, _, _, channels = images.shape
    same = jnp.eye(channels)
    axis = jnp.full((channels, channels), 1 / channels)  # projection onto the greys

    def normal(key: Array) -> Array:
        return jax.random.normal(key, (count,))

    def wide(values: Array) -> Array:
        return values[:, None, None]  # [B] -> [B, 1, 1]

    offset = draw("brightness", lambda key: 0.2 * normal(key), _ZERO)
    contrast = draw("contrast", lambda key: jnp.exp2(0.5 * normal(key)), _ONE)
    flip = draw("luma_flip", lambda key: jax.random.bernoulli(key, 0.5, (count,)).astype(jnp.float32), _ZERO)
    matrix = wide(contrast) * (same - 2 * wide(flip) * axis)  # [B, C, C]
    lift = (offset * contrast * (1 - 2 * flip))[:, None]  # [B, 1], brightness comes first
    if channels == 3:
        angle = draw("hue", lambda key: jax.random.uniform(key, (count,), minval=-jnp.pi, maxval=jnp.pi), _ZERO)
        saturation = draw("saturation", lambda key: jnp.exp2(normal(key)), _ONE)
        cross = jnp.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / jnp.sqrt(3.0)
        turn = wide(jnp.cos(angle)) * same + wide(jnp.sin(angle)) * cross + wide(1 - jnp.cos(angle)) * axis
        vivid = wide(saturation) * same + wide(1 - saturation) * axis
        exact = lax.Precision.HIGHEST
        matrix = jnp.matmul(jnp.matmul(vivid, turn, precision=exact), matrix, precision=exact)
    mixed = jnp.einsum("bdc,bhwc->bhwd", matrix, images, precision=lax.Precision.HIGHEST)
    return mixed + lift[:, None, None]
