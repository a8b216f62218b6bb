"""Second tasks of a discriminator, from which it learns features beyond real or generated. Imports JAX, this room.

A task changes images, and the discriminator's head answers what was done to them, or what they show.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gan_jax.adversarial.ada import augment
from gan_jax.adversarial.warp import quarter_turns

EMBEDDING = 64  # numbers by which "views" compares two images
# Of ADA. No flips and no turns, which make another thing of a shoe or a letter.
VIEW_TRANSFORMS = ("translate", "scale", "stretch", "brightness", "contrast", "cutout")
_VIEW_SHARE = 0.8  # of the images that each transform changes

Shard = Callable[[Array], Array]


class Task(NamedTuple):
    """A second task.

    Attributes:
        ask: (key, images [b, ...], labels [b], shard) -> images [n, ...] for D and what its head should say of them.
        loss: (head [n, K], answers, temperature) -> mean loss and share of right answers, float32 [] each.
        generated: whether the generator is asked to make images on which it can be solved.
    """

    ask: Callable[[Array, Array, Array, Shard], tuple[Array, Array]]
    loss: Callable[[Array, Array, float], tuple[Array, Array]]
    generated: bool = False


def turn(key: Array, images: Array, labels: Array, shard: Shard) -> tuple[Array, Array]:
    """Images [b, H, H, C] turned by 0, 90, 180 or 270 degrees in equal parts, and the quarter turns, int32 [b]."""
    turns = shard(jnp.arange(len(images), dtype=jnp.int32) % 4)
    return quarter_turns(images, turns), turns


def look_twice(key: Array, images: Array, labels: Array, shard: Shard) -> tuple[Array, Array]:
    """Two random views of each image, side by side [2b, H, W, C], and the place of each one's twin, int32 [2b]."""
    doubled = jnp.repeat(images, 2, axis=0)
    views = augment(key, doubled, jnp.float32(_VIEW_SHARE), VIEW_TRANSFORMS, shard)
    return views, jnp.arange(len(doubled), dtype=jnp.int32) ^ 1


def give(key: Array, images: Array, labels: Array, shard: Shard) -> tuple[Array, Array]:
    """The images as they are, and their labels."""
    return images, labels


def classify(head: Array, answers: Array, temperature: float) -> tuple[Array, Array]:
    """Cross-entropy of logits [n, K] with classes [n]."""
    loss = optax.softmax_cross_entropy_with_integer_labels(head, answers)
    return jnp.mean(loss), jnp.mean(jnp.argmax(head, -1) == answers, dtype=jnp.float32)


def find_twin(head: Array, answers: Array, temperature: float) -> tuple[Array, Array]:
    """NT-Xent (Chen et al. 2020a, eq. 1) of embeddings [n, K]: each view should know its twin among all others."""
    units = head / (jnp.linalg.norm(head, axis=-1, keepdims=True) + 1e-6)
    likeness = jnp.matmul(units, units.T, precision=jax.lax.Precision.HIGHEST) / temperature
    others = likeness - 1e9 * jnp.eye(len(head))
    return classify(others, answers, temperature)


TASKS = {
    "rotation": Task(turn, classify, generated=True),  # SSGAN (Chen et al. 2019)
    "views": Task(look_twice, find_twin),  # as ContraD (Jeong & Shin 2021) teaches its trunk
    "classes": Task(give, classify),  # Salimans et al. 2016, section 5
    # AC-GAN (Odena et al. 2017), but D learns the classes of real images alone: taught on bad early samples, too, it
    # would learn to read what G writes instead of what images show.
    "auxiliary": Task(give, classify, generated=True),
}
