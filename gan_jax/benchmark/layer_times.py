"""Where the time of a step goes: its convolutions one by one, in XLA's form and by transforms.

Imports models and program.
"""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gan_jax.benchmark.flops import Layer, layers_of
from gan_jax.benchmark.rounds import alternate, matrix_product, product_gflop
from gan_jax.models import transformed
from gan_jax.models.layers import Dense, UpConv
from gan_jax.program import Program

MAPS = ("forward", "input_gradient", "weight_gradient")  # an up-convolution is the input gradient of its adjoint


def time_layers(program: Program, rounds: int, block_seconds: float) -> dict[str, float]:
    """Milliseconds of the three maps of every convolution with a window, at the batch that the step gives it.

    G's layers see a batch, those of D the real and the generated one together.

    Returns:
        NET_LAYER_MAP_ms_xla, and _ms_transformed for the cheapest plan, whether or not it is taken; NET_LAYER_estimate:
        what `transformed.cheapest_plan` holds its cost to be, as a share of XLA's; NET_LAYER_gflop: of one map.
    """
    found: dict[str, float] = {}
    calls: dict[str, Callable[[], object]] = {"matmul": matrix_product()}
    for net, layers, batch in zip("gd", layers_of(program), (1, 2), strict=True):
        for layer in layers:
            if isinstance(layer.module, Dense) or layer.module.kernel_size == (1, 1):
                continue
            name = f"{net}_{layer.name.replace('/', '_')}"
            examples = batch * program.config.data.batch_size
            own, estimate = _calls(layer, examples)
            calls |= {f"{name}_{kind}": call for kind, call in own.items()}
            found |= {f"{name}_estimate": estimate, f"{name}_gflop": layer.flops * examples / 1e9}
    seconds = {name: statistics.median(values) for name, values in alternate(calls, rounds, block_seconds).items()}
    found["gflops_matmul"] = product_gflop() / seconds.pop("matmul")
    return found | {name: 1e3 * value for name, value in seconds.items()}


def _calls(layer: Layer, batch: int) -> tuple[dict[str, Callable[[], object]], float]:
    """The maps of the convolution behind a layer, compiled, by name; and the estimate of the cheapest plan."""
    module: Any = layer.module
    up = isinstance(module, UpConv)
    image, result = (layer.outputs, layer.inputs) if up else (layer.inputs, layer.outputs)
    stride, groups = module.strides, 1 if up else module.groups
    pads = lax.padtype_to_pads(image[1:3], module.kernel_size, (stride, stride), "SAME" if up else module.padding)
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    x, g = draw(batch, *image[1:]), draw(batch, *result[1:])
    kernel = draw(*module.kernel_size, image[3] // groups, result[3])

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
        )

    maps: dict[str, tuple[Callable[..., Any], tuple[jax.Array, ...]]] = {
        "forward_ms_xla": (convolve, (x, kernel)),
        "input_gradient_ms_xla": (lambda g, k: jax.linear_transpose(lambda x: convolve(x, k), x)(g)[0], (g, kernel)),
        "weight_gradient_ms_xla": (lambda x, g: jax.linear_transpose(lambda k: convolve(x, k), kernel)(g)[0], (x, g)),
    }
    estimate = float("nan")
    square = image[1] == image[2] and module.kernel_size[0] == module.kernel_size[1]
    if square and groups == 1 and stride <= 2:
        shape = transformed.Shape(image[1], result[1], module.kernel_size[0], stride, pads[0][0])
        plan, estimate = transformed.cheapest_plan(shape, batch, image[3], result[3])
        if plan is not None:
            forms = (transformed.forward, transformed.input_gradient, transformed.weight_gradient)
            for name, form, inputs in zip(MAPS, forms, ((x, kernel), (g, kernel), (x, g)), strict=True):
                maps[f"{name}_ms_transformed"] = (lambda a, b, form=form, plan=plan: form(a, b, plan), inputs)
    return {name: _compiled(function, inputs) for name, (function, inputs) in maps.items()}, estimate


def _compiled(function: Callable[..., Any], inputs: tuple[jax.Array, ...]) -> Callable[[], object]:
    run = jax.jit(function)
    jax.block_until_ready(run(*inputs))
    return lambda: jax.block_until_ready(run(*inputs))
