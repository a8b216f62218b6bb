"""Semi-supervised learning: a discriminator with a logit a class, and what it has to beat.

Imports adversarial, data, gan, program, runtime and this room.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from gan_jax.adversarial.ada import augment
from gan_jax.adversarial.state import Average, Net
from gan_jax.adversarial.step import to_float
from gan_jax.config import Config
from gan_jax.data.arrays import ArraySource
from gan_jax.gan import Gan
from gan_jax.program import Program, build
from gan_jax.recognition.controls import batches, train_on
from gan_jax.runtime.mesh import make_mesh, put, replicated

_IMPROVED_GAN: dict[str, Any] = {
    "model.architecture": "improved_gan",
    "model.head": "classes",
    "model.latent_size": 100,
    "loss.name": "feature_matching",
    "loss.head": 2.0,  # its unlabelled loss is half of ours
    "step.shared_noise": False,  # G sees fresh noise and other real images
    "data.batch_size": 100,
    "optimizer.beta1": 0.5,
    "optimizer.beta2": 0.999,
    "optimizer.g_lr": 3e-3,
    "optimizer.d_lr": 3e-3,
    "watchdog.enabled": False,
}
_WEAK, _STRONG = ("translate",), ("translate", "scale", "stretch", "brightness", "contrast", "cutout")
_SURE = 0.95  # probability above which FixMatch believes a label (Sohn et al. 2020)


def improved_gan(steps: int) -> dict[str, Any]:
    """Improved-GAN's recipe for MNIST (Salimans et al. 2016), as changes of the default config.

    From the authors' train_mnist_feature_matching.py. They average D at a rate of 1e-4 a step over 180,000 steps; here
    that rate, too, follows the length.

    Args:
        steps: of the run.
    """
    rate = 1e-4 * max(1.0, 180_000 / steps)
    half_life = float(np.log(0.5) / np.log(1 - min(rate, 0.1))) * _IMPROVED_GAN["data.batch_size"]
    return _IMPROVED_GAN | {"d_ema_half_life": half_life}


def convolutional(steps: int) -> dict[str, Any]:
    """The same game for small convolutions: dropout in place of noise, a dense generator, Adam 5e-4.

    Args:
        steps: of the run.
    """
    return improved_gan(steps) | {
        "model.architecture": "dcgan",
        "model.g_architecture": "mlp",
        "model.g_width": 256,
        "model.d_width": 16,
        "model.dropout": 0.3,
        "optimizer.g_lr": 5e-4,
        "optimizer.d_lr": 5e-4,
    }


def with_known(images: np.ndarray, rows: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> ArraySource:
    """All images without labels, and beside each one of the labelled ones in turn.

    Args:
        images: uint8 [N, H, W, C].
        rows: of the labelled ones [n].
        labels: of those [n].
        class_names: one a class.
    """
    turns = np.resize(np.random.default_rng(0).permutation(len(rows)), len(images))
    arrays = {"image": images, "label": np.zeros(len(images), np.int32),
              "known_image": images[rows][turns], "known_label": labels[turns].astype(np.int32)}  # fmt: skip
    return ArraySource(arrays, len(class_names), class_names)


def semi_supervised(config: Config, source: ArraySource, steps: int) -> Gan:
    """Trains a pair on a source of `with_known`; its discriminator's features hold "head", the logits [N, K].

    Args:
        config: with model.head=classes, e.g. of `improved_gan`; its length is set to `steps`.
        source: of `with_known`.
        steps: of the discriminator.
    """
    config = config.replace({"total_images": steps * config.images_per_step})
    # As many devices as share the batch evenly: the recipe names 100.
    devices = jax.devices()
    mesh = make_mesh(devices[: math.gcd(config.data.batch_size, len(devices))])
    return train_on(build(config, source.shape, source.num_classes, mesh), source)


def classes(gan: Gan, images: np.ndarray) -> np.ndarray:
    """What a discriminator with a logit a class calls images uint8 [N, H, W, C]: int [N]."""
    return class_logits(gan, images).argmax(axis=1)


def class_logits(gan: Gan, images: np.ndarray, part: int = 4_096) -> np.ndarray:
    """The logits [N, K] of such a discriminator."""
    pieces = np.array_split(images, max(1, -(-len(images) // part)))
    return np.concatenate([gan.features(piece.astype(np.float32) / 127.5 - 1)["head"] for piece in pieces])


# ---------------------------------------------------------------- the same network without a generator

Loss = Callable[[Any, Array, dict[str, Array]], Array]  # variables, key, batch -> loss []


def labels_only(config: Config, source: ArraySource, steps: int) -> Gan:
    """The same discriminator, noise, averaging and steps, taught by the labelled images alone."""
    program = _program(config, source)

    def loss(params: Any, key: Array, batch: dict[str, Array]) -> Array:
        logits = _head(program, params, to_float(batch["known_image"]), key)
        return _cross_entropy(logits, batch["known_label"])

    return _descend(program, loss, source, steps)


def pseudo_labels(config: Config, source: ArraySource, steps: int) -> Gan:
    """Half the steps by labels alone; then all images whose label that net is sure of are learnt too (Lee 2013)."""
    first = labels_only(config, source, steps // 2)
    shares = np.asarray(jax.nn.softmax(class_logits(first, source.arrays["image"])))
    sure = np.flatnonzero(shares.max(axis=1) >= _SURE)
    if not len(sure):
        sure = np.argsort(-shares.max(axis=1))[: len(shares) // 10]
    turns = np.resize(sure, len(shares))
    arrays = source.arrays | {"guessed_image": source.arrays["image"][turns],
                              "guessed_label": shares[turns].argmax(axis=1).astype(np.int32)}  # fmt: skip
    program = _program(config, source)

    def loss(params: Any, key: Array, batch: dict[str, Array]) -> Array:
        logits = _head(program, params, to_float(batch["known_image"]), key)
        guessed = _head(program, params, to_float(batch["guessed_image"]), jax.random.fold_in(key, 1))
        return _cross_entropy(logits, batch["known_label"]) + _cross_entropy(guessed, batch["guessed_label"])

    return _descend(program, loss, ArraySource(arrays, source.num_classes, source.class_names), steps - steps // 2)


def fixmatch(config: Config, source: ArraySource, steps: int) -> Gan:
    """A small FixMatch (Sohn et al. 2020): sure guesses on moved images teach strongly changed ones."""
    program = _program(config, source)

    def loss(params: Any, key: Array, batch: dict[str, Array]) -> Array:
        keys = jax.random.split(key, 6)

        def changed(images: Array, key: Array, transforms: tuple[str, ...]) -> Array:
            return augment(key, to_float(images), jnp.float32(0.8), transforms, lambda array: array)

        logits = _head(program, params, changed(batch["known_image"], keys[0], _WEAK), keys[1])
        weak = jax.nn.softmax(_head(program, params, changed(batch["image"], keys[2], _WEAK), keys[3]))
        weak = jax.lax.stop_gradient(weak)
        strong = _head(program, params, changed(batch["image"], keys[4], _STRONG), keys[5])
        sure = weak.max(axis=1) >= _SURE
        guessed = optax.softmax_cross_entropy_with_integer_labels(strong, weak.argmax(axis=1))
        return _cross_entropy(logits, batch["known_label"]) + jnp.mean(sure * guessed)

    return _descend(program, loss, source, steps)


def _program(config: Config, source: ArraySource) -> Program:
    return build(config, source.shape, source.num_classes, make_mesh(jax.devices()[:1]))


def _head(program: Program, params: Any, images: Array, key: Array) -> Array:
    """Logits [B, K] in training mode, noise and all."""
    outputs: Any = program.d.apply({"params": params}, images, None, train=True, rngs={"dropout": key})
    logits: Array = outputs[1]["head"]
    return logits


def _cross_entropy(logits: Array, labels: Array) -> Array:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def _descend(program: Program, loss: Loss, source: ArraySource, steps: int) -> Gan:
    """The pair after Adam steps of its discriminator on a loss, with the config's rate, batch and averaging."""
    config = program.config
    settings = config.optimizer
    optimizer = optax.adam(settings.d_lr.start, b1=settings.beta1, b2=settings.beta2.start, eps=settings.eps)
    keep = 0.5 ** (config.data.batch_size / config.d_ema_half_life) if config.d_ema_half_life else 0.0
    fresh = program.init(put(np.uint32(config.seed), replicated(program.mesh)))

    @jax.jit
    def step(carry: Any, key: Array, batch: dict[str, Array]) -> Any:
        params, average, state = carry
        change, state = optimizer.update(jax.grad(loss)(params, key, batch), state, params)
        params = optax.apply_updates(params, change)
        return params, jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, average, params), state

    carry = (fresh.d.params, fresh.d.params, optimizer.init(fresh.d.params))
    root = jax.random.key(config.seed)
    for number, rows in enumerate(batches(len(source), config.data.batch_size, steps, config.seed)):
        batch = {name: array[rows] for name, array in source.arrays.items()}
        carry = step(carry, jax.random.fold_in(root, number), batch)
    return Gan(program, Average({}, {}), Net(carry[1], {}, ()), source.class_names, steps)
