"""DiffAugment (Zhao et al. 2020a): strong, always on, differentiable. Imports JAX, this room and the config."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from gan_jax.adversarial.warp import cut_out, resample

SHIFT = 1 / 8  # of the side, the furthest translation
HOLE = 1 / 2  # of the side, the side of the rectangle cut out


def diffaugment(key: Array, images: Array, transforms: Sequence[str], shard: Callable[[Array], Array]) -> Array:
    """Transforms every example at random (Zhao et al. 2020a, section 3.2 and appendix A).

    Args:
        key: of all draws.
        images: float32 [B, H, W, C] in [-1, 1], or signals [B, L, C], which are moved and cut along their length.
        transforms: of `config.DIFFAUGMENT`; "color" is brightness +-0.5, saturation x 0..2 and contrast x 0.5..1.5,
            "translation" up to an eighth of the side with zeros coming in, "cutout" zeros a rectangle of half the side.
        shard: constrains an array's leading axis to the mesh.

    Returns:
        The same shape, differentiable in the images.
    """
    if images.ndim == 3:
        return diffaugment(key, images[:, :, None], transforms, shard)[:, :, 0]  # [B, L, C] as [B, L, 1, C]
    color_key, move_key, hole_key = jax.random.split(key, 3)
    count, height, width, _ = images.shape
    if "color" in transforms:
        draws = shard(jax.random.uniform(color_key, (count, 3)))[:, :, None, None, None]  # [B, 3, 1, 1, 1]
        images = images + draws[:, 0] - 0.5
        grey = images.mean(3, keepdims=True)
        images = grey + 2 * draws[:, 1] * (images - grey)
        mean = images.mean((1, 2, 3), keepdims=True)
        images = mean + (0.5 + draws[:, 2]) * (images - mean)
    if "translation" in transforms:
        down, right = (
            shard(jax.random.randint(one, (count,), -reach, reach + 1))
            for one, reach in zip(
                jax.random.split(move_key), (round(height * SHIFT), round(width * SHIFT)), strict=True
            )
        )
        images = resample(images, jnp.arange(height) - down[:, None], jnp.arange(width) - right[:, None])
    if "cutout" in transforms:
        size = (max(1, round(height * HOLE)), max(1, round(width * HOLE)))
        # Centres may lie anywhere, so the rectangle may reach over the border.
        rows, columns = (
            shard(jax.random.randint(one, (count,), 0, extent + 1 - length % 2)) - length // 2
            for one, extent, length in zip(jax.random.split(hole_key), (height, width), size, strict=True)
        )
        images = cut_out(images, rows, columns, size, jnp.ones(count, bool))
    return images
