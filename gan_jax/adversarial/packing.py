"""Several examples judged as one, as PacGAN does (Lin et al. 2018), and who lies beside whom. Imports JAX only."""

import jax
import jax.numpy as jnp


def packed_shape(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Of one pack of `count` examples of a shape: they lie side by side on the last axis."""
    return (*shape[:-1], shape[-1] * count)


def pack(examples: jax.Array, count: int) -> jax.Array:
    """Makes packs of consecutive examples (Lin et al. 2018, section 3.1).

    Args:
        examples: [b, ..., C], b divisible by `count`.
        count: examples a pack; 1 changes nothing.

    Returns:
        [b / count, ..., count * C]: the channels of the first example, then those of the second, ...
    """
    if count == 1:
        return examples
    groups = examples.reshape(-1, count, *examples.shape[1:])  # [b, ..., C] -> [b / m, m, ..., C]
    groups = jnp.moveaxis(groups, 1, -2)  # [b / m, ..., m, C]
    return groups.reshape(len(groups), *packed_shape(examples.shape[1:], count))  # [b / m, ..., m * C]


def interleave(real: jax.Array, fake: jax.Array, count: int = 1) -> jax.Array:
    """[2b, ...]: a pack of reals, a pack of fakes, and so on, so that each device keeps its own examples."""
    lead = (-1,) if count == 1 else (-1, count)
    pairs = jnp.stack([a.reshape(*lead, *a.shape[1:]) for a in (real, fake)], 1)  # [b / m, 2, m, ...]
    return pairs.reshape(-1, *real.shape[1:])
