"""Suite `throughput`: how long a step takes, against PyTorch on the same work and against the machine's limit."""

import dataclasses
import functools
import importlib.util
import math
import statistics
import time
from typing import Any

from gan_jax.benchmark import running
from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.contests import (
    CONTESTS,
    Contest,
    examples_of,
    fresh,
    noises_of,
    our_step,
    pacgan_ring,
    peak_megabytes,
)
from gan_jax.benchmark.flops import step_flops
from gan_jax.benchmark.layer_times import time_layers
from gan_jax.benchmark.population_times import time_members
from gan_jax.benchmark.rounds import alternate, matrix_product, product_gflop, ratio
from gan_jax.benchmark.step_profile import operation_shares, publish
from gan_jax.benchmark.suite import Arm, Outcome, Range, Suite, config_recipe
from gan_jax.config import Config
from gan_jax.errors import InputError

_SAME_LOSS, _SAME_ARRAYS = 1e-4, 2e-3  # disagreement with the twin that rounding explains
_BY_KINKS = 3.0  # or this many times what a rounding of the weights makes of our own step
_TRIES = 6  # seeds


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How long to measure.

    Attributes:
        rounds: blocks a side, in turns.
        block_seconds: length of a block, at least one step.
        contests: the nets.
        penalised: the contest whose penalties are weighed.
        config: of the start-up and pipeline arms, by name.
        images: PNG files that the pipeline arm streams.
        starts: warm starts.
        layers: contests whose convolutions are timed one by one.
        profiles: contests whose steps are split into operations.
    """

    rounds: int = 5
    block_seconds: float = 2.0
    contests: dict[str, Contest] = dataclasses.field(default_factory=lambda: dict(CONTESTS))
    penalised: str = "dcgan28"
    config: str = "fashion_mnist"
    images: int = 2_000
    starts: int = 5
    layers: tuple[str, ...] = ("dcgan28", "dcgan64", "sngan32")
    profiles: tuple[str, ...] = ("dcgan28", "sngan32", "r3gan")

    def members(self) -> dict[str, Config]:
        """Configs of dense and convolutional nets for the population arm, the suite's ring first."""
        ring = pacgan_ring()
        small = {"model.g_width": 64, "model.d_width": 64, "data.batch_size": 64}
        narrow = {"model.g_width": 32, "model.d_width": 32}
        images = {"data.source": "digits", "data.image_size": 8, "data.batch_size": 16, "ema_half_life": 10_000}
        dcgan = Config().replace(images | {"model.architecture": "dcgan"} | narrow)
        return {
            "ring400": ring,
            "ring64": ring.replace(small),
            "dcgan8": dcgan,
            "dcgan28": dcgan.replace({"data.image_size": 28, "data.batch_size": 64}),
        }

    def facts(self) -> dict[str, Any]:
        """For the file."""
        return {"rounds": self.rounds, "block_seconds": self.block_seconds, "matmul": "2048 x 2048 x 2048, float32"}


# ---------------------------------------------------------------- the arms


def require_torch() -> None:
    """Raises InputError if the other side is missing."""
    if importlib.util.find_spec("torch") is None:
        raise InputError("suite throughput compares with PyTorch: pip install 'gan-jax[peers]'")


def compare(protocol: Protocol, name: str, seed: int) -> Outcome:
    """One net on both sides, in turns, and the matrix product between them."""
    require_torch()
    from gan_jax.benchmark.torch_twins import fastest_twins

    start, contest = time.perf_counter(), protocol.contests[name]
    same = agree(contest, seed)
    program = contest.program()
    examples = examples_of(program, seed)
    sides = {"ours": our_step(program, seed, examples), "matmul": matrix_product()}
    sides |= fastest_twins(program, fresh(program, seed), examples)
    seconds = alternate(sides, protocol.rounds, protocol.block_seconds)
    ours = [value / program.per_dispatch for value in seconds["ours"]]
    torch_sides = {side: values for side, values in seconds.items() if side.startswith("torch")}
    better = min(torch_sides.values(), key=statistics.median)
    gflops = step_flops(program) / statistics.median(ours) / 1e9
    limit = product_gflop() / statistics.median(seconds["matmul"])
    metrics = {
        "speedup": ratio(better, ours),
        "ms_ours": 1e3 * statistics.median(ours),
        "ms_torch_eager": 1e3 * statistics.median(seconds["torch_eager"]),
        "ms_torch_compile": 1e3 * statistics.median(seconds.get("torch_compile", [math.nan])),
        "gflop_step": step_flops(program) / 1e9,
        "gflops_ours": gflops,
        "gflops_matmul": limit,
        "matmul_share": 100 * gflops / limit,
        "images_per_s_ours": program.config.images_per_step / statistics.median(ours),
        "memory_mb_ours": peak_megabytes(program),
        "difference_losses": same["losses"],
        "difference_gradients": same["gradients"],
        "difference_weights": same["weights"],
        "rounding_gradients": same["own_gradients"],
        "rounding_weights": same["own_weights"],
    }
    return Outcome(metrics, time.perf_counter() - start, 0)


def agree(contest: Contest, seed: int, by_kinks: float = _BY_KINKS) -> dict[str, float]:
    """How far the two sides are apart after a step on copied weights, at the batch that is timed.

    Where an activation falls on the kink of a ReLU to within rounding, the two sides may take different slopes, and
    the gradients below it differ by percents. So up to `_TRIES` seeds are tried, and large nets, which have such an
    activation on every seed, are held to what our own step does when its weights move by a rounding
    (`torch_agreement.sensitivity`). Sides that do different work agree on no seed.

    Args:
        contest: the net.
        seed: the first to be tried.
        by_kinks: how many times its own sensitivity a net is allowed; 0 = none.

    Raises:
        RuntimeError: further than rounding explains, so they do not do the same work.
    """
    from gan_jax.benchmark.torch_agreement import disagreement, sensitivity

    # Dropout masks cannot be shared. Adam with a small eps divides a gradient that is nearly 0 by itself, and so makes
    # its rounding as large as the step.
    changes: dict[str, Any] = {"optimizer.eps": 1e-3, "step.per_dispatch": 1}
    if contest.config().model.dropout:
        changes["model.dropout"] = 0.0
    program, found = contest.program(changes), []
    for number in range(seed, seed + _TRIES):
        images, noises = examples_of(program, number), noises_of(program.config, number)
        found.append(disagreement(program, fresh(program, number), images, noises))
        own = sensitivity(program, (fresh(program, number), fresh(program, number)), images, number)
        limits = {name: max(_SAME_ARRAYS, by_kinks * own[name]) for name in ("gradients", "weights")}
        if found[-1]["losses"] < _SAME_LOSS and all(found[-1][name] < limits[name] for name in limits):
            return found[-1] | {f"own_{name}": value for name, value in own.items()}
    raise RuntimeError(f"our step and PyTorch's differ by more than rounding: {found}")


def weigh_penalties(protocol: Protocol, seed: int) -> Outcome:
    """A step with each penalty against one without."""
    start, contest = time.perf_counter(), protocol.contests[protocol.penalised]
    plain = {"model.dropout": 0.0}
    kinds: dict[str, dict[str, Any]] = {
        "none": {},
        "r1": {"penalty.r1": 1.0},
        "r1r2": {"penalty.r1": 1.0, "penalty.r2": 1.0},
        "wgan_gp": {"penalty.wgan_gp": 10.0},
    }
    programs = {kind: contest.program(plain | changes) for kind, changes in kinds.items()}
    examples = examples_of(programs["none"], seed)
    calls = {kind: our_step(program, seed, examples) for kind, program in programs.items()}
    seconds = alternate(calls, protocol.rounds, protocol.block_seconds)
    metrics = {f"{kind}_factor": ratio(seconds[kind], seconds["none"]) for kind in kinds if kind != "none"}
    metrics |= {f"ms_{kind}": 1e3 * statistics.median(values) for kind, values in seconds.items()}
    return Outcome(metrics, time.perf_counter() - start, 0)


def weigh_layers(protocol: Protocol, name: str, seed: int) -> Outcome:
    """The convolutions of a contest one by one; the seed changes nothing."""
    start = time.perf_counter()
    metrics = time_layers(protocol.contests[name].program(), protocol.rounds, protocol.block_seconds / 10)
    return Outcome(metrics, time.perf_counter() - start, 0)


def weigh_operations(protocol: Protocol, name: str, seed: int) -> Outcome:
    """Where the time of a contest's step goes."""
    start = time.perf_counter()
    return Outcome(operation_shares(protocol.contests[name].program(), seed), time.perf_counter() - start, 0)


def weigh_populations(protocol: Protocol, seed: int) -> Outcome:
    """Eight members in one call, in a row, and as the library takes them, for several sizes of net."""
    start, nets = time.perf_counter(), protocol.members()
    metrics = time_members(nets, seed, protocol.rounds, protocol.block_seconds / 4)
    metrics["population8_factor"] = metrics[f"population8_factor_{next(iter(nets))}"]
    return Outcome(metrics, time.perf_counter() - start, 0)


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take one with small nets and short blocks."""
    arms = {
        name: Arm(
            contest.text,
            functools.partial(compare, protocol, name),
            functools.partial(_recipe, contest),
        )
        for name, contest in protocol.contests.items()
    }
    arms["penalties"] = Arm(
        f"our step of {protocol.penalised}, dropout off, with a penalty over without: R1, R1 and R2, WGAN-GP.",
        functools.partial(weigh_penalties, protocol),
    )
    for name in protocol.layers:
        arms[f"layers_{name}"] = Arm(
            f"the convolutions of {name} one by one, ms: XLA's form and the cheapest by transforms, taken or not.",
            functools.partial(weigh_layers, protocol, name),
        )
    for name in protocol.profiles:
        arms[f"profile_{name}"] = Arm(
            f"where a step of {name} spends its time, by XLA's profiler: percent by network and layer.",
            functools.partial(weigh_operations, protocol, name),
        )
    arms["population"] = Arm(
        "eight members, for the arm ring, the same at width 64 and batch 64, and a DCGAN of width 32 on the digits, at"
        " 8x8 and batch 16 and enlarged to 28x28 at batch 64;"
        " population8_factor: in one call by jax.vmap over in a row, on one device of all cores; population8_speedup:"
        " eight lone runs one after another over the library's way, a device a core; together: whether that is by"
        " jax.vmap on each device (1) or in a row (0); ms_member: of a member and step, the library's way and alone.",
        functools.partial(weigh_populations, protocol),
    )
    arms["startup"] = Arm(
        f"`python -m gan_jax.main --config=configs/{protocol.config}.py`: seconds from the command to the first line of"
        " metrics.jsonl, with an empty compile cache (cold) and with a filled one (warm, median).",
        lambda seed: running.start_up(protocol.config, protocol.starts),
    )
    arms["pipeline"] = Arm(
        f"images a second that the data path delivers: the set of configs/{protocol.config}.py living on the device,"
        " and 64x64 colour PNG files decoded while streaming; images_per_s_step: data path and step of that config"
        " together; resident_over_step: how many times as many the data path delivers alone.",
        lambda seed: running.pipelines(
            checkout_config(protocol.config), protocol.images, protocol.block_seconds, protocol.rounds
        ),
    )
    return Suite(
        name="throughput",
        description=_describe(protocol),
        arms=arms,
        protocol=protocol.facts,
        checks={"ring": {"speedup": Range(1.0), "matmul_share": Range(10.0)}} if "ring" in arms else {},
        plots=publish,
        headline=("speedup", "ms_ours", "ms_torch_eager", "ms_torch_compile", "matmul_share"),
    )


def _recipe(contest: Contest) -> dict[str, Any]:
    return config_recipe(contest.config(), ["total_images"]) | {"shape": list(contest.shape)}


def _describe(protocol: Protocol) -> str:
    return (
        "One training step, D and G with Adam and the averaged generator, ours against the same step in PyTorch, in"
        f" turns within one process: {protocol.rounds} rounds of blocks of {protocol.block_seconds:g} s or one step, of"
        " which the first does not count, medians over rounds. PyTorch has the same layers, weights, batch and"
        " float32, and all cores; contiguous and channels_last, fused and foreach Adam are tried first and the fastest"
        " counts, for eager mode and for torch.compile. speedup: the better of the two over ours, median over rounds."
        " Before, one step of both from copied weights on the same images and noise, dropout off: difference_losses"
        " is the largest relative difference of the losses; difference_gradients and difference_weights the largest"
        " over all arrays of weights of |ours - PyTorch's| over |ours|, for gradients (Adam's first moments) and for"
        " the change of the weights; rounding_gradients and rounding_weights: the same for our own step when its"
        " weights move by 1.2e-7 of themselves. The sides must agree within 0.002 or three times that: near the kink"
        " of a ReLU either slope is right, and 64x64 images have such an activation on every seed. gflop_step counts"
        " every convolution as 2 N H W K K Cin Cout with"
        " padding, so a form that needs fewer products can pass 100 percent; gflops_matmul: a float32 product of two"
        " 2048 x 2048 matrices, in the same turns; matmul_share: ours of that, percent. memory_mb_ours: arguments and"
        " temporaries of our step by XLA's account."
    )


SUITE = make_suite(Protocol())
