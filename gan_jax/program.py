"""A config made into compiled functions: modules, initial state, step. Imports adversarial, models, runtime.

Shared by training, the dry run, the benchmarks and the tests, so that all of them run the same program.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

from gan_jax import models
from gan_jax.adversarial.game import Game
from gan_jax.adversarial.state import Average, Net, State, init_state
from gan_jax.adversarial.step import Batch, Metrics, batches_per_step, make_step
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.runtime.mesh import batch_sharding, replicated, shard_batch

# Steps a call for networks without convolutions, whose step is shorter than a call from Python.
# Convolutions in a loop body are ten times slower on CPU (jax-ml/jax#12868).
STEPS_PER_DISPATCH = {"mlp": 20}


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled side of a run; nothing is compiled until it is called or lowered."""

    config: Config
    mesh: Mesh | AbstractMesh
    g: nn.Module
    d: nn.Module
    shape: tuple[int, ...]  # of one example
    num_classes: int  # 0 = unlabelled data
    per_dispatch: int  # steps a call of `step`, at most

    @property
    def passes(self) -> int:
        """Micro-batches a step consumes."""
        return batches_per_step(self.config) * self.config.step.accumulate

    @property
    def micro_batch(self) -> int:
        """Examples a micro-batch, over all devices."""
        return self.config.data.batch_size // self.config.step.accumulate

    @functools.cached_property
    def init(self) -> Any:
        """seed (uint32 []) -> State, replicated over the mesh."""
        make = functools.partial(
            init_state, self.g, self.d, self.config.optimizer, self.shape, self.config.model.latent_size
        )
        return jax.jit(make, out_shardings=replicated(self.mesh))

    @functools.cached_property
    def abstract_state(self) -> State:
        """Shapes, dtypes and shardings of the state: the restore target."""
        shapes = jax.eval_shape(self.init, jax.ShapeDtypeStruct((), jnp.uint32))
        place = replicated(self.mesh)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes)

    @property
    def abstract_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes, dtypes and shardings of the batch of one call of `step`."""
        place = batch_sharding(self.mesh, axis=1)
        lead = (self.per_dispatch * self.passes, self.micro_batch)
        dtype = jnp.uint8 if len(self.shape) == 3 else jnp.float32
        batch = {"image": jax.ShapeDtypeStruct((*lead, *self.shape), dtype, sharding=place)}
        if self.num_classes:
            batch["label"] = jax.ShapeDtypeStruct(lead, jnp.int32, sharding=place)
        return batch

    @functools.cached_property
    def step(self) -> Any:
        """(state, batch, count int32 []) -> (state, metrics of the last of `count` steps); the state is donated."""
        one = make_step(Game(self.g, self.d, self.config, functools.partial(shard_batch, self.mesh)))

        def single(state: State, batch: Batch, count: jax.Array) -> tuple[State, Metrics]:
            return one(state, batch)

        def several(state: State, batch: Batch, count: jax.Array) -> tuple[State, Metrics]:
            # One program for any count, so that where a run was interrupted changes no bit of it.
            def body(index: jax.Array, carry: tuple[State, Metrics]) -> tuple[State, Metrics]:
                part = {
                    name: jax.lax.dynamic_slice_in_dim(a, index * self.passes, self.passes) for name, a in batch.items()
                }
                return one(carry[0], part)

            first = {name: array[: self.passes] for name, array in batch.items()}
            empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(one, state, first)[1])
            return jax.lax.fori_loop(0, count, body, (state, empty))

        place, batch_place = replicated(self.mesh), batch_sharding(self.mesh, axis=1)
        return jax.jit(
            single if self.per_dispatch == 1 else several,
            in_shardings=(place, batch_place, place),
            out_shardings=(place, place),
            donate_argnums=0,
        )

    @functools.cached_property
    def generate(self) -> Any:
        """(Average, z [B, latent_size], labels int32 [B]) -> images float32 [B, *shape], on every device."""

        def run(average: Average, z: jax.Array, labels: jax.Array) -> jax.Array:
            variables = {"params": average.params, "batch_stats": average.stats}
            images: Any = self.g.apply(variables, self._share(z), self._known(labels), train=False)
            return images

        return jax.jit(run, out_shardings=replicated(self.mesh))

    @functools.cached_property
    def criticise(self) -> Any:
        """(Net, images float32 [B, *shape], labels int32 [B]) -> (logits [B], named features), on every device."""

        def run(net: Net, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            variables = {"params": net.params, "batch_stats": net.stats}
            outputs: Any = self.d.apply(variables, self._share(images), self._known(labels), train=False)
            return outputs

        return jax.jit(run, out_shardings=replicated(self.mesh))

    def on_mesh(self, mesh: Mesh | AbstractMesh) -> "Program":
        """The same program for other devices, also for devices that this machine does not have."""
        return dataclasses.replace(self, mesh=mesh)

    def _share(self, array: jax.Array) -> jax.Array:
        return array if len(array) % self.mesh.size else shard_batch(self.mesh, array)

    def _known(self, labels: jax.Array) -> jax.Array | None:
        return labels if self.config.model.conditional else None


def build(config: Config, shape: tuple[int, ...], num_classes: int, mesh: Mesh) -> Program:
    """Checks a config against its data and its devices and builds the program.

    Args:
        config: the run.
        shape: of one example, (height, width, channels) or (2,).
        num_classes: of the data, 0 if unlabelled.
        mesh: the devices.

    Raises:
        InputError: batch and devices, image size and network, or labels and conditioning do not fit.
    """
    devices, parts = mesh.size, config.step.accumulate
    if config.data.batch_size % (devices * parts):
        nearest = max(1, round(config.data.batch_size / (devices * parts))) * devices * parts
        raise InputError(
            f"config.data.batch_size={config.data.batch_size} must be divisible by {devices} devices"
            f" x {parts} micro-batches: try --config.data.batch_size={nearest}"
        )
    g, d = models.build(config.model, shape, num_classes)
    return Program(config, mesh, g, d, shape, num_classes, steps_per_call(config))


def steps_per_call(config: Config) -> int:
    """Steps a call of the compiled step, at most: as configured, or by network."""
    return config.step.per_dispatch or STEPS_PER_DISPATCH.get(config.model.architecture, 1)
