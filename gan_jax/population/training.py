"""Every member's data, and whole runs of a population. Imports data, runtime and the room's members."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gan_jax.adversarial.state import State
from gan_jax.adversarial.step import Batch, Metrics
from gan_jax.config import DataConfig
from gan_jax.data.arrays import Source
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.population.members import Population, Rounds
from gan_jax.runtime.mesh import batch_sharding, make_mesh

OnCall = Callable[[int, Rounds[State], Rounds[Metrics]], None]
Load = Callable[[DataConfig, str, int], Source]
DRAWN = ("ring", "grid", "stacked")  # sources whose examples are drawn from the run's seed


class Feed:
    """Every member's own batches in its own order, as its lone run would see them, on its own device."""

    def __init__(self, population: Population, load: Load = load_source) -> None:
        """Opens the data.

        Args:
            population: the members.
            load: opens a split of a set; for callers that have it open already.

        Raises:
            InputError: the data cannot be had.
        """
        self._population, self._pipelines = population, []
        sources: dict[int | None, Source] = {}
        twins: dict[tuple[int | None, jax.Device], Pipeline] = {}
        program = population.program
        for number in range(population.rounds):
            for place, member in enumerate(population.slots(number)):
                config = population.configs[member]
                drawn = config.data.source in DRAWN
                key = config.seed if drawn else None
                if key not in sources:
                    sources[key] = load(config.data, "train", config.seed)
                device = population.mesh.devices[place // population.width]
                pipeline = Pipeline(
                    sources[key],
                    config.data,
                    config.seed,
                    program.passes,
                    program.micro_batch,
                    batch_sharding(make_mesh([device]), axis=1),
                    twins.get((key, device)),
                )
                twins.setdefault((key, device), pipeline)
                self._pipelines.append(pipeline)
        self._spread = batch_sharding(population.mesh)

    def batch(self, step: int, steps: int) -> Rounds[Batch]:
        """Micro-batches of steps in a row: "image" [members, steps P, b, ...] and "label", a round each."""
        found = [pipeline.batch(step, steps) for pipeline in self._pipelines]
        size = self._population.capacity
        return [self._round(found[first : first + size]) for first in range(0, len(found), size)]

    def close(self) -> None:
        """Ends the threads and lets the devices' memory go."""
        for pipeline in self._pipelines:
            pipeline.close()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _round(self, batches: list[dict[str, jax.Array]]) -> dict[str, jax.Array]:
        """Batches of the members of a round, joined where they lie."""
        width = self._population.width
        joined: dict[str, jax.Array] = {}
        for name, example in batches[0].items():
            parts = [
                jnp.stack([batch[name] for batch in batches[first : first + width]])
                for first in range(0, len(batches), width)
            ]
            shape = (len(batches), *example.shape)
            local = [part.addressable_data(0) for part in parts]
            joined[name] = jax.make_array_from_single_device_arrays(shape, self._spread, local)
        return joined


def train_population(population: Population, on_call: OnCall | None = None) -> Rounds[State]:
    """Trains every member to the end of its run, with nothing logged or saved.

    Args:
        population: the members.
        on_call: called after each call of the step with (steps done, states, metrics); both are valid until it
            returns.

    Raises:
        InputError: the data cannot be had.
    """
    program = population.program
    step, total = 0, program.config.total_steps
    with Feed(population) as feed:
        states = population.init()
        while step < total:
            count = min(program.per_dispatch, total - step)
            states, metrics = population.step(states, feed.batch(step, program.per_dispatch), count)
            step += count
            if on_call is not None:
                on_call(step, states, metrics)
        return jax.block_until_ready(states)
