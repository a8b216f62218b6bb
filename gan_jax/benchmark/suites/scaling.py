"""Suite `scaling`: what the compiled step asks of each chip of a TPU slice that this machine does not have.

libtpu compiles for a described slice without the hardware: the program, its collectives and its memory are those
that a pod would run. Times are estimates. Imports the room and program.
"""

import functools
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh

from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.suite import Arm, Outcome, Suite, Tolerance, config_recipe
from gan_jax.benchmark.theory_page import fill
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.program import Program, build
from gan_jax.runtime.files import write_atomically

BATCH = 2_048  # over all chips
SMALLER = {"r3gan": 512}  # batches of networks whose step at BATCH does not fit into one v5e's memory
SLICES = {1: "1x1", 2: "1x2", 4: "2x2", 8: "2x4", 16: "4x4", 64: "8x8", 256: "16x16"}  # chips of a v5e: rows x columns
REACHED = 0.4  # assumed share of the peak FLOPs and of the memory bandwidth that a program of small layers reaches
HOP_SECONDS = 1e-6  # assumed time of one hop of a collective, whatever its size
# XLA's search for the best fusions and tiles takes ten times as long and changes neither FLOPs nor collectives.
EFFORT = -1.0


class Chip(NamedTuple):
    """Published figures of one chip."""

    flops: float  # bfloat16 operations a second
    memory: float  # bytes a second
    link: float  # bytes a second that one chip sends to others
    torus: int  # dimensions of the network; 0 = switched


# v5e and v5p: docs.cloud.google.com/tpu/docs/v5e and /v5p (bidirectional bandwidth, halved here). H100 SXM: NVIDIA's
# data sheet, dense; NVLink joins 8, beyond them 400 Gb/s InfiniBand a GPU (DGX H100 data sheet).
CHIPS = {
    "v5e": Chip(197e12, 819e9, 200e9, 2),
    "v5p": Chip(459e12, 2765e9, 600e9, 3),
    "h100": Chip(989e12, 3350e9, 450e9, 0),
}
_H100_ISLAND, _H100_OUTSIDE = 8, 50e9

_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"  # of collectives, in HLO

# Config and changes that make a step of each architecture, the kind of picture it is for, and its classes.
PROGRAMS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], int]] = {
    "mlp": ("mnist", {}, (28, 28, 1), 10),
    "dcgan": ("folder", {}, (64, 64, 3), 0),
    "resnet": (
        "cifar10",
        {"model.architecture": "resnet", "model.g_width": 256, "model.d_width": 128, "model.d_norm": "spectral"},
        (32, 32, 3),
        10,
    ),
    "r3gan": ("cifar10", {}, (32, 32, 3), 10),
    "article": ("article", {}, (28, 28, 1), 10),
}


class Asks(NamedTuple):
    """What the compiled program asks of one chip, a step."""

    flops: float
    bytes_accessed: float
    collectives: int  # operations that wait for other chips
    statistics: int  # of these, sums of batch normalisation
    collective_bytes: float
    peak_bytes: float


def program_config(architecture: str) -> Config:
    """The config whose step is compiled: one step a call, the suite's batch."""
    name, changes, _, _ = PROGRAMS[architecture]
    batch = SMALLER.get(architecture, BATCH)
    return checkout_config(name).replace(changes | {"data.batch_size": batch, "step.per_dispatch": 1})


@functools.cache
def compiled_asks(architecture: str, chips: int) -> Asks:
    """Compiles the train step for a v5e slice.

    Raises:
        InputError: libtpu is not installed.
    """
    config, (_, _, shape, classes) = program_config(architecture), PROGRAMS[architecture]
    compiled = compile_step(build(config, shape, classes, slice_mesh(chips)))
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    assert memory is not None  # libtpu always tells
    text = compiled.as_text() or ""
    number, size = count_collectives(text)
    # XLA's figure on other platforms is the sum of these.
    peak = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak += memory.temp_size_in_bytes
    traffic = cost.get("bytes accessed", math.nan)
    return Asks(cost.get("flops", math.nan), traffic, number, count_statistics(text), size, peak)


def compile_step(program: Program) -> jax.stages.Compiled:
    """The train step of a program on a described slice, compiled."""
    count = jax.ShapeDtypeStruct((), jnp.int32)
    step = program.step.lower(program.abstract_state, program.abstract_batch, count)
    # What is compiled for absent chips cannot be read back from JAX's cache, which asks once whether it is wanted.
    before = bool(jax.config.values["jax_enable_compilation_cache"])
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        return step.compile({"exec_time_optimization_effort": EFFORT})
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def slice_mesh(chips: int) -> Mesh:
    """A mesh over the chips of a v5e slice, described, not present.

    Raises:
        InputError: libtpu is not installed.
    """
    from jax.experimental import topologies

    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # or libtpu asks the network what machine this is
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # or one process alone may load it, as if it held a TPU
    rows, columns = (int(side) for side in SLICES[chips].split("x"))
    host = {"chips_per_host_bounds": (rows, columns, 1)} if chips < 4 else {}
    try:
        described = topologies.get_topology_desc(f"v5e:{SLICES[chips]}", platform="tpu", **host)
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise InputError(
            f"suite scaling compiles with libtpu: pip install 'libtpu' as '.[tpu]' pins it ({line})"
        ) from None
    return Mesh(np.array(described.devices), ("data",))


def count_collectives(text: str) -> tuple[int, int]:
    """Collective operations of a compiled program, and the bytes one chip hands to them.

    Args:
        text: the program as HLO.
    """
    found = re.findall(rf"= (.*?) (?:{_KINDS})(?:-start)?\(", text)
    return len(found), sum(_shape_bytes(shapes) for shapes in found)


def count_statistics(text: str) -> int:
    """Those that sum statistics of batch normalisation, forward or backward, by the layer's name in the program."""
    return len(re.findall(rf'^.*? (?:{_KINDS})(?:-start)?\(.*op_name="[^"]*norm/reduce_sum"', text, re.MULTILINE))


def _shape_bytes(text: str) -> int:
    """Bytes of all arrays in an HLO type such as (f32[64,512], bf16[])."""
    total = 0
    for kind, sizes in re.findall(r"\b(pred|[sufb]+\d+)\[([\d,]*)\]", text):
        bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
        total += math.prod(int(size) for size in sizes.split(",") if size) * bits // 8
    return total


def estimate(chip: Chip, asks: Asks, chips: int) -> dict[str, float]:
    """Seconds of a step by the roofline: the slower of arithmetic and memory, then the collectives.

    All-reduce of b bytes on n chips sends 2 (n - 1) / n b from each (Patarasuk and Yuan 2009); nothing is assumed to
    overlap.
    """
    arithmetic = asks.flops / (REACHED * chip.flops)
    memory = asks.bytes_accessed / (REACHED * chip.memory)
    if chip.torus:
        hops, link = chip.torus * (chips ** (1 / chip.torus) - 1), chip.link
    else:
        hops, link = math.ceil(math.log2(chips)), chip.link if chips <= _H100_ISLAND else _H100_OUTSIDE
    waiting = 2 * (chips - 1) / chips * asks.collective_bytes / link + 2 * hops * HOP_SECONDS * asks.collectives
    return {"arithmetic": arithmetic, "memory": memory, "collectives": waiting}


def _seconds(parts: Mapping[str, float]) -> float:
    return max(parts["arithmetic"], parts["memory"]) + parts["collectives"]


def measure(architecture: str, chips: int, seed: int) -> Outcome:
    """Figures of one slice; the seed changes nothing."""
    asks, alone = compiled_asks(architecture, chips), compiled_asks(architecture, 1)
    batch = SMALLER.get(architecture, BATCH)
    metrics: dict[str, float] = {
        "gflops_per_device": asks.flops / 1e9,
        "flops_per_device_share": asks.flops / alone.flops,
        "gbytes_per_device": asks.bytes_accessed / 1e9,
        "collectives": asks.collectives,
        "statistics_collectives": asks.statistics,
        "gradient_collectives": asks.collectives - asks.statistics,
        "collective_bytes": asks.collective_bytes,
        "peak_bytes": asks.peak_bytes,
    }
    for name, chip in CHIPS.items():
        parts, work = estimate(chip, asks, chips), _seconds(estimate(chip, alone, 1))
        efficiency = work / (chips * _seconds(parts))
        metrics |= {f"{name}_images_per_s": batch / _seconds(parts), f"{name}_efficiency": efficiency}
        # A chip that keeps its whole batch has the work of one alone, and then waits for the others.
        metrics[f"{name}_weak_efficiency"] = work / (work + parts["collectives"])
        if name == "v5e":
            metrics["efficiency_estimate"] = efficiency
            metrics |= {f"{name}_{part}_us": 1e6 * seconds for part, seconds in parts.items()}
    return Outcome(metrics, 0.0, 0)


def publish(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes the table of docs/performance.md, if that page lies beside the folder; draws nothing."""
    page = folder.absolute().parent / "docs" / "performance.md"
    if page.is_file():
        found = {record["arm"]: record["metrics"] for record in result["records"]}
        write_atomically(page, fill(page.read_text(), {"pods": pod_table(found)}, "scaling").encode())
    return []


def pod_table(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What 8 chips are asked for, and the estimate for 256 with what bounds it, an architecture a line.

    Args:
        found: metrics by arm; architectures that lack one of the two are left out.
    """
    columns = ["network", "batch", "FLOPs a chip, of 8", "all-reduces, of 8", "batch over 256 chips"]
    columns += ["bottleneck on v5e", "batch on each of 256"]
    rows = [columns, ["---"] * len(columns)]
    for name in PROGRAMS:
        if f"{name}_8" in found and f"{name}_256" in found:
            few, many = found[f"{name}_8"], found[f"{name}_256"]
            share = f"{few['flops_per_device_share']:.4f}"
            reduces = f"{few['gradient_collectives']:.0f} + {few['statistics_collectives']:.0f}"
            strong, weak = (
                ", ".join(f"{chip} {100 * many[f'{chip}_{kind}']:.3g} %" for chip in CHIPS)
                for kind in ("efficiency", "weak_efficiency")
            )
            parts = {part: many[f"v5e_{part}_us"] for part in ("arithmetic", "memory", "collectives")}
            limit = max(parts, key=lambda part: parts[part])
            batch = f"{SMALLER.get(name, BATCH):,}"
            rows.append([name, batch, share, reduces, strong, f"{limit}, {parts[limit]:.0f} us", weak])
    return [f"| {' | '.join(row)} |" for row in rows]


def _recipe(architecture: str) -> dict[str, Any]:
    return config_recipe(program_config(architecture), ["total_images"])


def _text(architecture: str, chips: int) -> str:
    name, changes, shape, _ = PROGRAMS[architecture]
    size = "x".join(str(side) for side in shape)
    more = "" if not changes else ", as SNGAN's networks"
    return f"`configs/{name}.py`{more}, {size}, on {chips} chip{'s' if chips > 1 else ''}."


SUITE = Suite(
    name="scaling",
    description=(
        f"The train step at a batch of {BATCH:,} over all chips (r3gan: {SMALLER['r3gan']}), compiled by libtpu for"
        " slices of TPU v5e that are described but not present (`pip install -e '.[tpu,benchmark]'`; needs no TPU)."
        " From the compiled program, a step and chip: gflops_per_device, flops_per_device_share (1 = all of one chip's"
        " work), gbytes_per_device, collectives and collective_bytes, peak_bytes; statistics_collectives are sums of"
        " batch normalisation, gradient_collectives all others: one a network and update is the least. XLA compiles at"
        " its lowest effort, which leaves FLOPs and collectives as they are and counts other memory traffic. The rest"
        f" is an estimate, not a measurement: the slower of arithmetic and memory traffic at {100 * REACHED:.0f} % of"
        " the published peaks, then the collectives, nothing overlapped, at the published link speed and"
        f" {1e6 * HOP_SECONDS:.0f} us a hop. v5e: 197 TFLOP/s bfloat16, 819 GB/s, 200 GB/s sent; v5p: 459, 2,765, 600"
        " (docs.cloud.google.com/tpu/docs/v5e, v5p); H100 SXM: 989, 3,350, 450 among 8 and 50 beyond (NVIDIA's data"
        " sheets). v5p and H100 are estimated from the v5e's program. *_efficiency: speed on n chips over n times"
        " that of one; v5e_*_us: parts of the step, of which the largest is the bottleneck. The batch is the same on"
        " every number of chips, so at 256 each chip sees 8 images (r3gan: 2). *_weak_efficiency: with the"
        " whole batch on every chip, where each has the work of one alone and then the collectives of n."
    ),
    arms={
        f"{architecture}_{chips}": Arm(
            _text(architecture, chips),
            functools.partial(measure, architecture, chips),
            functools.partial(_recipe, architecture),
        )
        for architecture in PROGRAMS
        for chips in SLICES
    },
    plots=publish,
    checks={"mlp_8": {"flops_per_device_share": Tolerance(relative=0.02), "collectives": Tolerance(absolute=1)}},
)
