"""Trunks of short GAN runs, and what they are compared with: no training, codes, labels, no generator.

Imports adversarial, data, gan, models, program, runtime and this room.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from gan_jax.adversarial.state import Net
from gan_jax.adversarial.step import to_float
from gan_jax.adversarial.tasks import TASKS
from gan_jax.data.arrays import Source
from gan_jax.data.pipeline import Pipeline
from gan_jax.gan import Gan, from_state
from gan_jax.models.layers import Dense
from gan_jax.program import Program
from gan_jax.runtime.mesh import batch_sharding, put, replicated

Batch = dict[str, Any]
Ask = Callable[[Array, Batch], tuple[Array, Array]]
_LEARNING_RATE, _WEIGHT_DECAY = 1e-3, 1e-3
_BATCH = 64


def untrained(program: Program, seed: int) -> Gan:
    """The pair with its initial weights."""
    return from_state(program, program.init(put(np.uint32(seed), replicated(program.mesh))), ())


def train_on(program: Program, source: Source) -> Gan:
    """A pair trained for the length of its config, without journal and checkpoints: minutes, not hours.

    Args:
        program: of the pair; several sets may share it, and it compiles once.
        source: the examples.
    """
    config, place = program.config, replicated(program.mesh)
    state = program.init(put(np.uint32(config.seed), place))
    lead = program.passes, program.micro_batch
    with Pipeline(source, config.data, config.seed, *lead, batch_sharding(program.mesh, axis=1)) as pipeline:
        for step in range(0, config.total_steps, program.per_dispatch):
            count = min(program.per_dispatch, config.total_steps - step)
            state, _ = program.step(state, pipeline.batch(step, program.per_dispatch), put(np.int32(count), place))
    return from_state(program, state, source.class_names)


class Autoencoder(nn.Module):
    """The discriminator's last stage, a linear code, and the generator."""

    g: nn.Module
    d: nn.Module
    latent_size: int

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Maps images [B, H, W, C] to their reconstructions."""
        d, g, labels = self.d, self.g, jnp.zeros(len(images), jnp.int32)
        outputs: Any = d(images, labels, train=train)
        decoded: Any = g(Dense(self.latent_size, name="code")(last_stage(outputs[1])), labels, train=train)
        return decoded


class Taught(nn.Module):
    """The discriminator's last stage and a logit a class; without classes, the answers of its head."""

    d: nn.Module
    num_classes: int

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Maps images [B, H, W, C] to logits [B, K]."""
        d: Any = self.d
        features = d(images, jnp.zeros(len(images), jnp.int32), train=train)[1]
        return Dense(self.num_classes, name="classes")(last_stage(features)) if self.num_classes else features["head"]


def last_stage(features: dict[str, Array]) -> Array:
    """The last stage of a discriminator as one vector an image, [B, F]."""
    last = features[f"stage_{sum(name.startswith('stage_') for name in features)}"]
    return last.reshape(len(last), -1)  # [B, h, w, C] -> [B, h * w * C]


def autoencoder(program: Program, images: np.ndarray, steps: int, seed: int) -> Gan:
    """A pair whose discriminator was the encoder of an autoencoder.

    Args:
        program: of the pair; its generator is the decoder.
        images: uint8 [N, H, W, C].
        steps: of 64 images.
        seed: of weights and order.
    """
    module = Autoencoder(program.g, program.d, program.config.model.latent_size)

    def ask(key: Array, batch: Batch) -> tuple[Array, Array]:
        seen = to_float(batch["image"])
        return seen, seen

    variables = _train(module, ask, lambda rebuilt, seen: jnp.mean(jnp.square(rebuilt - seen)), {"image": images},
                       steps, seed)  # fmt: skip
    return _with_trunk(untrained(program, seed), variables)


def task_alone(program: Program, images: np.ndarray, steps: int, seed: int) -> Gan:
    """A pair whose discriminator learnt its second task alone: there was no generator.

    Args:
        program: of the pair, with model.head rotation or views.
        images: uint8 [N, H, W, C].
        steps: of 64 images.
        seed: of weights, order and what is asked.
    """
    task = TASKS[program.config.model.head]
    temperature = program.config.loss.temperature

    def ask(key: Array, batch: Batch) -> tuple[Array, Array]:
        seen = to_float(batch["image"])
        return task.ask(key, seen, jnp.zeros(len(seen), jnp.int32), lambda array: array)

    def loss(head: Array, answers: Array) -> Array:
        return task.loss(head, answers, temperature)[0]

    variables = _train(Taught(program.d, 0), ask, loss, {"image": images}, steps, seed)
    return _with_trunk(untrained(program, seed), variables)


def supervised(
    program: Program, images: np.ndarray, labels: np.ndarray, num_classes: int, steps: int, seed: int
) -> tuple[Gan, Callable[[np.ndarray], np.ndarray]]:
    """A pair whose discriminator was taught with labels alone, and its predictor: uint8 images -> classes [N]."""
    module = Taught(program.d, num_classes)

    def ask(key: Array, batch: Batch) -> tuple[Array, Array]:
        return to_float(batch["image"]), batch["label"]

    def loss(logits: Array, answers: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits, answers).mean()

    variables = _train(module, ask, loss, {"image": images, "label": labels}, steps, seed)
    run = jax.jit(lambda variables, seen: module.apply(variables, to_float(seen), train=False))

    def predict(wanted: np.ndarray) -> np.ndarray:
        parts = np.array_split(wanted, max(1, -(-len(wanted) // 500)))
        return np.concatenate([np.asarray(run(variables, part)).argmax(1) for part in parts])

    return _with_trunk(untrained(program, seed), variables), predict


def transplanted(gan: Gan, other: Gan) -> Gan:
    """The pair with the discriminator's weights of another one, where both have some of one name and shape.

    Convolutions serve pictures of any size; what reads all places of a picture stays as it is, and so do stages that
    the other one lacks.
    """
    params, stats = _matching(gan.d.params, other.d.params), _matching(gan.d.stats, other.d.stats)
    return dataclasses.replace(gan, d=Net(params, stats, ()))


def _matching(tree: Any, others: Any) -> Any:
    if not hasattr(tree, "items"):
        return others if tree.shape == others.shape else tree
    return {name: _matching(part, others[name]) if name in others else part for name, part in tree.items()}


def _with_trunk(gan: Gan, variables: Any) -> Gan:
    """The pair with the trunk's weights of a module that holds it as `d`."""
    # What took no part in the training has no weights there; its first ones stay.
    params = _merged(gan.d.params, variables["params"]["d"])
    return dataclasses.replace(gan, d=Net(params, _merged(gan.d.stats, variables["batch_stats"].get("d", {})), ()))


def _merged(tree: Any, changes: Any) -> Any:
    return {**tree, **{name: _merged(tree[name], part) if hasattr(part, "items") else part
                       for name, part in changes.items()}}  # fmt: skip


def _train(module: nn.Module, ask: Ask, loss: Any, arrays: Batch, steps: int, seed: int) -> Any:
    """Parameters and statistics after AdamW steps with a cosine schedule on random batches, one device.

    Args:
        module: images, train -> output.
        ask: (key, batch) -> images for the module and what its output should be.
        loss: (output, that) -> [].
        arrays: examples, leading axis N.
        steps: of 64 examples.
        seed: of weights, order and keys.
    """
    optimizer = optax.adamw(optax.cosine_decay_schedule(_LEARNING_RATE, steps), weight_decay=_WEIGHT_DECAY)
    start = functools.partial(module.init, train=False)
    variables = jax.jit(start)(jax.random.key(seed), jnp.zeros((1, *arrays["image"].shape[1:])))
    root = jax.random.key(seed)

    @jax.jit
    def step(carry: Any, number: Array, batch: Batch) -> Any:
        params, stats, state = carry
        ask_key, noise_key = jax.random.split(jax.random.fold_in(root, number))
        images, answers = ask(ask_key, batch)

        def judged(params: Any) -> tuple[Array, Any]:
            found: Any = module.apply({"params": params, "batch_stats": stats}, images, train=True,
                                      rngs={"dropout": noise_key}, mutable=["batch_stats"])  # fmt: skip
            return loss(found[0], answers), found[1].get("batch_stats", {})

        gradient, stats = jax.grad(judged, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), stats, state

    carry = (variables["params"], variables.get("batch_stats", {}), optimizer.init(variables["params"]))
    for number, rows in enumerate(batches(len(arrays["image"]), _BATCH, steps, seed)):
        carry = step(carry, np.int32(number), {name: array[rows] for name, array in arrays.items()})
    return {"params": carry[0], "batch_stats": carry[1]}


def batches(count: int, size: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Rows [size] of every batch, epoch after epoch; fewer than `size` where there are fewer."""
    rng, rows = np.random.default_rng(seed), np.empty(0, np.int64)
    size = min(size, count)
    for _ in range(steps):
        if len(rows) < size:
            rows = np.concatenate([rows, rng.permutation(count)])
        yield rows[:size]
        rows = rows[size:]
