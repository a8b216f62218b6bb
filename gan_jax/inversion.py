"""From images back to noise, and directions in which noise changes images most. Imports errors, latents, optax."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.errors import InputError
from gan_jax.latents import BATCH, draw_noise, in_batches, resolve_labels

Generate = Callable[[Any, Any], jax.Array]  # noise [B, Z], labels int32 [B] -> images [B, *shape]


class Inversion(NamedTuple):
    """Noise that a generator makes given images of, as nearly as it can.

    Attributes:
        z: float32 [N, Z].
        labels: int32 [N], zeros for an unconditional generator.
        images: what the generator makes of them, float32 [N, *shape].
        error: root mean square difference from the given images, a value a pixel of [-1, 1], float32 [N].
    """

    z: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    error: np.ndarray


def invert(
    generate: Generate,
    images: jax.Array | np.ndarray,
    *,
    latent_size: int,
    classes: int,
    key: jax.Array,
    labels: Sequence[int] | np.ndarray | None = None,
    candidates: int = 1024,
    starts: int = 8,
    steps: int = 200,
    lr: float = 0.1,
) -> Inversion:
    """Refines the best of many samples by Adam on the squared difference of pixels (Zhu et al. 2016, section 3.1).

    The objective also holds |z|^2 / Z at a weight of 1e-4, so that z stays where noise lives unless an image asks
    for more.

    Args:
        generate: the generator, differentiable.
        images: [N, *shape] in [-1, 1].
        latent_size: Z.
        classes: of the generator; 0 = unconditional.
        key: of the candidates; the same key gives the same result.
        labels: classes of the images, repeated in turn; None = that of the best candidate.
        candidates: samples among which each image finds its starts.
        starts: of the descent, an image; the best end counts.
        steps: of the descent.
        lr: of Adam at the first step; it falls to 0 along a cosine.

    Raises:
        InputError: no images, or labels that do not fit.
    """
    target = np.asarray(images, np.float32)
    if target.ndim < 2 or not len(target):
        raise InputError(f"images to invert must have shape [N, ...] with N > 0, not {list(target.shape)}")
    given = None if labels is None else resolve_labels(labels, len(target), classes)
    z, chosen = _starts(generate, target, given, draw_noise(key, candidates, latent_size), classes, starts)
    goals = target.repeat(starts, 0)  # [N, ...] -> [N * starts, ...]
    z = _descend(generate, goals, z, chosen, steps, lr)
    made = np.asarray(in_batches(generate, z, chosen))
    error = _error(made, goals).reshape(len(target), starts)  # [N * starts] -> [N, starts]
    best = np.arange(len(target)) * starts + error.argmin(1)
    return Inversion(z[best], chosen[best], made[best], error.min(1))


def _starts(
    generate: Generate, target: np.ndarray, given: np.ndarray | None, noise: jax.Array, classes: int, starts: int
) -> tuple[np.ndarray, np.ndarray]:
    """The candidates nearest to each image: noise [N * starts, Z] and labels [N * starts]."""
    z, of_all = np.asarray(noise), resolve_labels(None, len(noise), classes)
    flat = target.reshape(len(target), -1)  # [N, H, W, C] -> [N, H*W*C]

    def nearest(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        made = np.asarray(in_batches(generate, z, labels)).reshape(len(z), -1)  # [M, H, W, C] -> [M, H*W*C]
        far = (made**2).sum(1)[None] - 2 * flat[rows] @ made.T  # less |target|^2, which orders nothing
        return np.argsort(far, axis=1, kind="stable")[:, :starts]

    found = np.empty((len(target), starts), np.int64)
    if given is None:
        found[:] = nearest(of_all, np.arange(len(target)))
        labels = of_all[found]
    else:
        for label in np.unique(given):
            rows = np.flatnonzero(given == label)
            found[rows] = nearest(np.full(len(z), label, np.int32), rows)
        labels = given[:, None].repeat(starts, 1)
    return z[found].reshape(-1, z.shape[1]), labels.reshape(-1)  # [N, starts, Z] -> [N * starts, Z]


def _descend(
    generate: Generate, goals: np.ndarray, z: np.ndarray, labels: np.ndarray, steps: int, lr: float
) -> np.ndarray:
    adam = optax.adam(optax.cosine_decay_schedule(lr, max(steps, 1)))

    def loss(z: jax.Array, goals: jax.Array, labels: jax.Array) -> jax.Array:
        # Summed over images: each has its own gradient, whatever else is in the batch.
        return jnp.sum(_squares(generate(z, labels), goals)) + 1e-4 * jnp.sum(jnp.mean(jnp.square(z), -1))

    @jax.jit
    def advance(z: jax.Array, memory: Any, goals: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        updates, memory = adam.update(jax.grad(loss)(z, goals, labels), memory)
        return z + updates, memory  # type: ignore[operator]

    # A loop in Python: convolutions in a loop of XLA's are ten times slower on CPU.
    def refine(z: np.ndarray, goals: np.ndarray, labels: np.ndarray) -> np.ndarray:
        place, memory = jnp.asarray(z), adam.init(jnp.asarray(z))
        for _ in range(steps):
            place, memory = advance(place, memory, goals, labels)
        return np.asarray(place)

    refined: np.ndarray = in_batches(refine, z, goals, labels, size=BATCH)
    return refined


def _squares(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean square difference of each pair of images, [B]."""
    return jnp.mean(jnp.square(a - b).reshape(a.shape[0], -1), -1)  # [B, H, W, C] -> [B, H*W*C]


def _error(made: np.ndarray, goals: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(made - goals).reshape(len(made), -1).mean(1))


def principal_directions(
    generate: Generate, *, latent_size: int, classes: int, key: jax.Array, samples: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal directions of the latent space, those first that change images most.

    Eigenvectors of E[J^T J], J the generator's Jacobian at random noise: the active subspace (Constantine 2015,
    chapter 3) of the image under squared distance. J^T v of random v estimates it, one pull-back a sample.

    Args:
        generate: the generator, differentiable.
        latent_size: Z.
        classes: of the generator; 0 = unconditional.
        key: of noise and v.
        samples: pull-backs, more than Z.

    Returns:
        Directions float32 [Z, Z], one a row, and the root mean square change of an image, all pixels together, for a
        step of 1 along each, float32 [Z], falling.
    """
    noise_key, image_key = jax.random.split(key)
    samples = max(samples, 2 * latent_size)
    z = np.asarray(draw_noise(noise_key, samples, latent_size))
    labels = resolve_labels(None, samples, classes)
    shape = jax.eval_shape(generate, jax.ShapeDtypeStruct(z.shape, jnp.float32), labels).shape
    v = np.asarray(jax.random.normal(image_key, shape))

    @jax.jit
    def pull_back(z: jax.Array, labels: jax.Array, v: jax.Array) -> jax.Array:
        return jax.grad(lambda z: jnp.sum(generate(z, labels) * v))(z)

    rows = np.asarray(in_batches(pull_back, z, labels, v), np.float64)  # [samples, Z]
    _, strengths, directions = np.linalg.svd(rows, full_matrices=False)
    return directions.astype(np.float32), (strengths / np.sqrt(samples)).astype(np.float32)
