"""What a config would cost, from the compiled program, without training. Imports program, data and config."""

import json

import jax
import numpy as np

from gan_jax.config import Config, to_dict
from gan_jax.data.sources import load_source
from gan_jax.program import build
from gan_jax.runtime.mesh import make_mesh


def describe(config: Config) -> str:
    """The dry run's text: resolved config, sizes, and XLA's own count of FLOPs and memory of one step.

    Raises:
        InputError: the config does not fit its data or the devices.
    """
    source = load_source(config.data, "train", config.seed)
    mesh = make_mesh()
    program = build(config, source.shape, source.num_classes, mesh)
    state = program.abstract_state
    count = jax.ShapeDtypeStruct((), np.int32)
    compiled = program.step.lower(state, program.abstract_batch, count).compile()
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    # A loop's cost is counted once, whatever its number of rounds.
    lines = [
        json.dumps(to_dict(config), indent=2),
        f"data              {len(source):,} examples of shape {source.shape}, {source.num_classes} classes",
        f"generator         {_count(state.g.params):,} parameters ({config.model.architecture})",
        f"discriminator     {_count(state.d.params):,} parameters",
        f"devices           {mesh.devices.size} x {mesh.devices.flat[0].device_kind}",
        f"steps             {config.total_steps:,} of {config.images_per_step} images, {program.per_dispatch} a call",
        f"FLOPs             {cost.get('flops', 0) / 1e9:.3g} G a step and device",
        f"state             {_bytes(state) / 1e6:.1f} MB on every device",
    ]
    if memory is not None:
        total = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        lines.append(f"memory            {total / 1e6:.1f} MB a device: arguments and temporaries of the step")
    return "\n".join(lines)


def _count(tree: object) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _bytes(tree: object) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
