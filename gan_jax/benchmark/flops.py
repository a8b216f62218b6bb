"""FLOPs of a training step by the layer formula, padding included, however it is computed. Imports program, models.

A convolution counts 2 * N * H * W * kh * kw * Cin * Cout (of the smaller image if it is strided or transposed), a dense
layer 2 * N * Cin * Cout, everything else nothing. XLA counts taps inside the image alone, and a program that
computes the same function with fewer products would seem slow by its own count.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.models.layers import Conv, Dense, UpConv
from gan_jax.program import Program


def step_flops(program: Program) -> float:
    """FLOPs of one step of one D and one G update; WGAN-GP and DRAGAN are not counted.

    A backward pass costs the gradients of the weights and of the inputs, one forward pass each, and the first layer's
    input gradient is needed only where images have a gradient: by penalties and by G. A penalised pass of D
    (R1, R2) is forward, gradient of the images, its reverse (two passes), and the backward pass of the loss.
    """
    config, (g, d) = program.config, ([layer.flops for layer in net] for net in layers_of(program))
    step = config.step
    if step.critic_steps > 1 or config.penalty.wgan_gp or config.penalty.dragan or config.penalty.interval > 1:
        raise ValueError("FLOPs are counted for one D update without WGAN-GP, DRAGAN and lazy penalties")
    total = 3 * sum(g) - g[0] + (0 if step.shared_noise else sum(g))
    for penalty in (config.penalty.r1, config.penalty.r2):
        total += (6 if penalty.start else 3) * sum(d) - d[0]
    pairs = config.loss.name == "relativistic"
    total += (3 if pairs else 2) * sum(d)
    return total * config.data.batch_size


class Layer(NamedTuple):
    """A layer as it was called on one example."""

    name: str
    module: Conv | UpConv | Dense
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def flops(self) -> float:
        """Of a forward pass."""
        products = 2.0 * self.inputs[-1] * self.module.features
        if isinstance(self.module, Dense):
            return products * math.prod(self.inputs[:-1])
        places = math.prod((self.inputs if isinstance(self.module, UpConv) else self.outputs)[1:3])
        groups = self.module.groups if isinstance(self.module, Conv) else 1
        return products * places * math.prod(self.module.kernel_size) / groups


def layers_of(program: Program) -> tuple[list[Layer], list[Layer]]:
    """Convolutions and dense layers of G and of D, in the order of the forward pass."""
    noise = jnp.zeros((1, program.config.model.latent_size))
    return _layers(program.g, noise), _layers(program.d, jnp.zeros((1, *program.shape)))


def _layers(net: nn.Module, x: jax.Array) -> list[Layer]:
    found: list[Layer] = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        y = call(*args, **kwargs)
        if context.method_name == "__call__" and isinstance(context.module, (Conv, UpConv, Dense)):
            found.append(Layer("/".join(context.module.path), context.module.clone(), args[0].shape, y.shape))
        return y

    label = jnp.zeros((1,), jnp.int32)
    with nn.intercept_methods(note):
        jax.eval_shape(lambda: net.init(jax.random.key(0), x, label, train=False))
    return found
