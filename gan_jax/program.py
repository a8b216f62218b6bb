"""A config made into compiled functions: modules, initial state, step. Imports adversarial, models, runtime.

Shared by training, the dry run, the benchmarks and the tests, so that all of them run the same program.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

from gan_jax import models
from gan_jax.adversarial.game import Game
from gan_jax.adversarial.losses import Loss
from gan_jax.adversarial.packing import packed_shape
from gan_jax.adversarial.running import initial
from gan_jax.adversarial.state import Average, Net, State, init_state
from gan_jax.adversarial.step import Batch, Metrics, batches_per_step, make_step, to_float
from gan_jax.adversarial.vitals import state_signs
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.models.conv import same_for_any_batch
from gan_jax.runtime.mesh import batch_sharding, replicated, shard_batch

# Steps a call for networks without convolutions, whose step is shorter than a call from Python.
# Convolutions in a loop body are ten times slower on CPU (jax-ml/jax#12868).
STEPS_PER_DISPATCH = {"mlp": 20, "improved_gan": 20}


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
    loss: Loss | None = dataclasses.field(default=None, kw_only=True)  # None = the config's

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
        return jax.jit(self.init_one, out_shardings=replicated(self.mesh))

    @property
    def init_one(self) -> Callable[[jax.Array], State]:
        """The pure function that `init` compiles."""
        config, seen = self.config, packed_shape(self.shape, self.config.model.pack)  # by the discriminator

        def fresh(seed: jax.Array) -> State:
            state = init_state(self.g, self.d, config.optimizer, seen, config.model.latent_size, seed)
            state = state.replace(running=initial(config))
            if config.d_ema_half_life:
                # A copy: donated buffers must not be shared with d.
                state = state.replace(d_ema=Average(*jax.tree.map(jnp.copy, (state.d.params, state.d.stats))))
            return state

        return fresh

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
        place, batch_place = replicated(self.mesh), batch_sharding(self.mesh, axis=1)
        shard = functools.partial(shard_batch, self.mesh)
        advance = self.advance(shard)

        def watched(state: State, batch: Batch, count: jax.Array) -> tuple[State, Metrics]:
            state, metrics = advance(state, batch, count)
            return state, metrics | state_signs(state, shard(to_float(batch["image"][0])))

        return jax.jit(
            watched if self.config.watchdog.enabled else advance,
            in_shardings=(place, batch_place, place),
            out_shardings=(place, place),
            donate_argnums=0,
        )

    def advance(self, shard: Callable[[jax.Array], jax.Array]) -> Callable[..., tuple[State, Metrics]]:
        """The pure function `(state, batch, count, numbers=None)` that `step` compiles.

        Args:
            shard: constrains the leading axis of arrays made inside to the mesh.
        """
        step = make_step(Game(self.g, self.d, self.config, shard, self.loss))

        def single(state: State, batch: Batch, count: jax.Array, numbers: Batch | None = None) -> tuple[State, Metrics]:
            return step(state, batch, numbers)

        def several(
            state: State, batch: Batch, count: jax.Array, numbers: Batch | None = None
        ) -> tuple[State, Metrics]:
            # One program for any count, so that where a run was interrupted changes no bit of it.
            def body(index: jax.Array, carry: tuple[State, Metrics]) -> tuple[State, Metrics]:
                part = {
                    name: jax.lax.dynamic_slice_in_dim(a, index * self.passes, self.passes) for name, a in batch.items()
                }
                return step(carry[0], part, numbers)

            first = {name: array[: self.passes] for name, array in batch.items()}
            shapes = jax.eval_shape(step, state, first, numbers)[1]
            empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            return jax.lax.fori_loop(0, count, body, (state, empty))

        return single if self.per_dispatch == 1 else several

    @functools.cached_property
    def generate(self) -> Any:
        """(Average, z [B, latent_size], labels int32 [B]) -> images float32 [B, *shape], on every device."""

        def run(average: Average, z: jax.Array, labels: jax.Array) -> jax.Array:
            variables = {"params": average.params, "batch_stats": average.stats}
            with same_for_any_batch():  # so that an exported program, whose batch is open, gives the same bits
                images: Any = self.g.apply(variables, self._share(z), self._known(labels), train=False)
            return images

        return jax.jit(run, out_shardings=replicated(self.mesh))

    @functools.cached_property
    def criticise(self) -> Any:
        """(Net, images float32 [B, *shape], labels int32 [B]) -> (logits [B], named features), on every device."""

        def run(net: Net, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            variables = {"params": net.params, "batch_stats": net.stats}
            with same_for_any_batch():
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
        shape: of one example, (height, width, channels), (length, channels) or (2,).
        num_classes: of the data, 0 if unlabelled.
        mesh: the devices.

    Raises:
        InputError: batch and devices, image size and network, or labels and conditioning do not fit.
    """
    devices, parts, pack = mesh.size, config.step.accumulate, config.model.pack
    group = max(1, config.model.minibatch_std)
    unit = devices * parts * pack * group  # every device holds whole packs and whole groups
    if config.data.batch_size % unit:
        nearest = max(1, round(config.data.batch_size / unit)) * unit
        together = (f" x packs of {pack}" if pack > 1 else "") + (f" x groups of {group}" if group > 1 else "")
        raise InputError(
            f"config.data.batch_size={config.data.batch_size} must be divisible by {devices} devices"
            f" x {parts} micro-batches{together}: try --config.data.batch_size={nearest}"
        )
    if len(shape) != 3:
        kind = "points" if len(shape) == 1 else "signals"  # signals can be moved and cut, along their one axis
        settings = {
            "augment.method": config.augment.method in (("diffaugment", "ada") if kind == "points" else ("ada",)),
            "penalty.bcr": config.penalty.bcr > 0 and kind == "points",
            f"model.head={config.model.head}": config.model.head in ("rotation", "views"),
        }
        for field in (name for name, on in settings.items() if on):
            raise InputError(f"config.{field} transforms images, but the data are {kind}: leave it off")
    g, d = models.build(config.model, shape, num_classes)
    return Program(config, mesh, g, d, shape, num_classes, steps_per_call(config))


def steps_per_call(config: Config) -> int:
    """Steps a call of the compiled step, at most: as configured, or by network."""
    return config.step.per_dispatch or STEPS_PER_DISPATCH.get(config.model.architecture, 1)
