"""Eight members in several ways, timed in a process of its own. Imports population, runtime and the room's rounds.

What counts as a device is settled when JAX starts, and cores are devices only for populations.
"""

import dataclasses
import multiprocessing
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor

import jax

from gan_jax.benchmark.rounds import alternate, ratio
from gan_jax.config import Config
from gan_jax.population.members import Population, make_population
from gan_jax.population.training import Feed
from gan_jax.runtime.cores import split_cores

MEMBERS = 8


def time_members(nets: Mapping[str, Config], seed: int, rounds: int, block_seconds: float) -> dict[str, float]:
    """Times every net in a new process.

    Args:
        nets: configs by name, of the ring or of digits.
        seed: members have the seeds from MEMBERS times this on.
        rounds: blocks a way, in turns.
        block_seconds: length of a block.

    Returns:
        For each net: `factor`, side by side over in a row, on one device of all cores; `speedup`, eight runs one after
        another over the library's way, a core a device; `together`, whether that is side by side; ms a member and step.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), split_cores) as pool:
        return pool.submit(_time_all, dict(nets), seed, rounds, block_seconds).result()


def _time_all(nets: Mapping[str, Config], seed: int, rounds: int, block_seconds: float) -> dict[str, float]:
    metrics: dict[str, float] = {"population_devices": len(jax.devices())}
    for name, net in nets.items():
        configs = [net.replace({"seed": MEMBERS * seed + number}) for number in range(MEMBERS)]
        shape = (2,) if net.data.source == "ring" else (*net.data.image_size, net.data.channels)
        taken, one = make_population(configs, shape, 0), jax.devices()[:1]
        row = make_population(configs, shape, 0, one, side_by_side=False)
        together = make_population(configs, shape, 0, one, side_by_side=True)
        calls = {"alone": _one_after_another(row)}
        calls |= {how: member_calls(way) for how, way in (("row", row), ("together", together), ("taken", taken))}
        seconds = alternate(calls, rounds, block_seconds)
        steps = MEMBERS * taken.program.per_dispatch
        metrics |= {
            f"population8_factor_{name}": ratio(seconds["together"], seconds["row"]),
            f"population8_speedup_{name}": ratio(seconds["alone"], seconds["taken"]),
            f"population8_together_{name}": float(taken.width > 1),
            f"ms_member_alone_{name}": 1e3 * statistics.median(seconds["alone"]) / steps,
            f"ms_member_{name}": 1e3 * statistics.median(seconds["taken"]) / steps,
        }
    return metrics


def member_calls(population: Population) -> Callable[[], object]:
    """A call that takes every member of a population one call of its step further."""
    steps = population.program.per_dispatch
    with Feed(population) as feed:
        batches = jax.block_until_ready(feed.batch(0, steps))
    states = population.init()

    def call() -> object:
        nonlocal states
        states, metrics = population.step(states, batches, steps)
        return jax.block_until_ready((states, metrics))[1]

    call()
    return call


def _one_after_another(row: Population) -> Callable[[], object]:
    """As eight commands would: a member's call is waited for before the next begins."""
    call = member_calls(dataclasses.replace(row, configs=row.configs[:1]))
    return lambda: [call() for _ in range(MEMBERS)]
