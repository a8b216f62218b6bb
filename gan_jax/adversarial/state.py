"""The training state: one flat struct of arrays, which is checkpointed and donated. Imports JAX, flax, optax."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from gan_jax.config import OptimizerConfig

Tree = Any


class Net(struct.PyTreeNode):
    """A network in training."""

    params: Tree  # weights, float32
    stats: Tree  # collection "batch_stats": running statistics, spectral-norm vectors; may be empty
    opt_state: Tree  # of optax.adam


class Average(struct.PyTreeNode):
    """Exponential moving average of a network."""

    params: Tree
    stats: Tree


class State(struct.PyTreeNode):
    """All that a run carries from one step to the next. No functions, no keys: noise is derived."""

    step: jax.Array  # int32 [], steps done; the only cursor of noise, data and schedules
    seed: jax.Array  # uint32 [], root of all randomness of the step
    rollbacks: jax.Array  # int32 [], returns to an older state; fresh noise and learning rates follow from it
    g: Net
    d: Net
    ema: Average
    d_ema: Average | None = None  # of the discriminator, if config.d_ema_half_life is set
    running: dict[str, jax.Array] = struct.field(default_factory=dict)  # what regularisers remember, see running.py


def adam(
    config: OptimizerConfig, lr: jax.Array | float, beta2: jax.Array | float, beta1: jax.Array | float | None = None
) -> optax.GradientTransformation:
    """Adam whose learning rate and decays may be traced numbers; beta1 None = the config's."""
    return optax.adam(lr, b1=config.beta1 if beta1 is None else beta1, b2=beta2, eps=config.eps)


def renewed(seed: jax.Array, rollbacks: jax.Array) -> jax.Array:
    """Seed, uint32 [], of noise and data order after some rollbacks, int32 []; the seed itself when there were none."""
    # Weyl's sequence (the golden ratio): it visits every uint32 once before it repeats.
    return seed.astype(jnp.uint32) + rollbacks.astype(jnp.uint32) * jnp.uint32(0x9E3779B9)


def init_state(
    g: nn.Module, d: nn.Module, optimizer: OptimizerConfig, shape: tuple[int, ...], latent_size: int, seed: jax.Array
) -> State:
    """Fresh state for seed (uint32 []). Pure, to be called under `jax.jit` or `jax.eval_shape`.

    `shape` is what the discriminator sees, so of a whole pack; `running` is left empty.
    """
    g_key, d_key = jax.random.split(jax.random.key(seed))
    labels = jnp.zeros((1,), jnp.int32)
    g_variables = g.init(g_key, jnp.zeros((1, latent_size)), labels, train=False)
    d_variables = d.init(d_key, jnp.zeros((1, *shape)), labels, train=False)
    make = adam(optimizer, 0.0, 0.0).init
    nets = [
        Net(variables["params"], variables.get("batch_stats", {}), make(variables["params"]))
        for variables in (g_variables, d_variables)
    ]
    # A copy: donated buffers must not be shared with g.
    average = Average(*jax.tree.map(jnp.copy, (nets[0].params, nets[0].stats)))
    cursor = {"step": jnp.int32(0), "seed": seed.astype(jnp.uint32), "rollbacks": jnp.int32(0)}
    return State(**cursor, g=nets[0], d=nets[1], ema=average)
