"""Suite `pace`: how long a step takes on an idle machine, for each arm that `quality` trains. Imports the room.

`quality` compares recipes at equal wall-clock. It takes the clock from here and trains by number of steps, so its
figures come out the same on a busy machine, and again on another one.
"""

import functools
import statistics
from pathlib import Path
from typing import Any

from gan_jax.benchmark.clock import step_seconds
from gan_jax.benchmark.results import read_result
from gan_jax.benchmark.rivals import arm_config, arm_texts
from gan_jax.benchmark.suite import Arm, Outcome, Suite, config_recipe
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.program import build
from gan_jax.runtime.mesh import batch_sharding, make_mesh

NAME = "pace"
SECONDS, CALLS = 10.0, 5  # a round measures for at least so long, and so many calls


def recipe(name: str, arm: str) -> dict[str, Any]:
    """What the pace of an arm depends on: its config, but for its length."""
    return config_recipe(arm_config(name, arm), ["total_images"])


def measure(name: str, arm: str, seconds: float, seed: int) -> Outcome:
    """One round: the mean time of a step after compilation, on a state that is thrown away."""
    config, mesh = arm_config(name, arm).replace({"seed": seed}), make_mesh()
    source = load_source(config.data, "train", seed)
    program = build(config, source.shape, source.num_classes, mesh)
    lead = program.passes, program.micro_batch
    with Pipeline(source, config.data, seed, *lead, batch_sharding(mesh, axis=1)) as pipeline:
        step = step_seconds(program, pipeline, seconds, CALLS)
    return Outcome({"ms_per_step": 1000 * step, "images_per_second": config.images_per_step / step}, seconds, 0)


def median_step_seconds(path: Path, name: str, arm: str) -> float:
    """The committed pace of an arm: median of the rounds.

    Args:
        path: the suite's JSON file.
        name: of the recommended config.
        arm: one of the arms that train.

    Raises:
        InputError: the file holds no pace of the arm as it is now.
    """
    again = f"python -m gan_jax.benchmark {NAME} --seeds=3 --out={path.parent.name} on an idle machine"
    if not path.is_file():
        raise InputError(f"{path} is missing: run {again}")
    result = read_result(path)
    rounds = [record["metrics"]["ms_per_step"] for record in result["records"] if record["arm"] == arm]
    if not rounds or dict(result["recipes"][arm]) != recipe(name, arm):
        raise InputError(f"{path} holds no pace of arm {arm} as it is now: remove its records and run {again}")
    return statistics.median(rounds) / 1000


def make_suite(name: str = "fashion_mnist", seconds: float = SECONDS) -> Suite:
    """The suite for a recommended config; tests take one with little data and short rounds."""
    return Suite(
        name=NAME,
        description=(
            "Milliseconds a step of each arm of suite quality, measured on an idle machine after compilation; a seed"
            f" is a round, the arms take turns, and a round lasts {SECONDS:.0f} s and {CALLS} calls at least. Suite"
            " quality trains each arm for as many steps as the median of its rounds allows in its time."
        ),
        arms={
            arm: Arm(text, functools.partial(measure, name, arm, seconds), functools.partial(recipe, name, arm))
            for arm, text in arm_texts(name).items()
        },
    )


SUITE = make_suite()
