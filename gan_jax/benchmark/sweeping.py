"""Short runs with many settings, one compiled program a structure. Imports data, gan and population."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from gan_jax.config import Config
from gan_jax.data.sources import load_source
from gan_jax.gan import Gan, from_state
from gan_jax.population.likeness import structure
from gan_jax.population.members import make_population
from gan_jax.population.training import train_population

Score = Callable[[Gan, int], float]  # (trained pair, seed) -> its distance from real images


def distances(configs: Iterable[Config], score: Score) -> dict[Config, float]:
    """Trains each config once, without watchdog, those of one structure as a population, and scores it.

    Args:
        configs: of the runs, all on the same data; those that are equal are one run.
        score: of a trained pair and its config's seed.

    Returns:
        What `score` says, by config.
    """
    groups: dict[Config, list[Config]] = {}
    for config in dict.fromkeys(configs):
        groups.setdefault(structure(config), []).append(config)
    found: dict[Config, float] = {}
    for members in groups.values():
        source = load_source(members[0].data, "train", members[0].seed)
        alone = [config.replace({"watchdog.enabled": False}) for config in members]
        population = make_population(alone, source.shape, source.num_classes)
        states = train_population(population)
        for index, config in enumerate(members):
            pair = from_state(population.program, population.member(states, index), ())
            found[config] = score(pair, config.seed)
        values = ", ".join(f"{found[config]:.4g}" for config in members)
        print(f"  {len(members)} runs of one structure: fid {values}", flush=True)
    return found


def expected_best(values: Sequence[float]) -> dict[int, float]:
    """Expected least of k draws with replacement, for k = 1, 2, 5, 10, ...: the bootstrap's mean in closed form.

    With x_1 <= ... <= x_n the least of k draws is x_i or more with probability ((n - i + 1) / n)^k.
    """
    ordered, n = np.sort(values), len(values)
    ks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= n]
    return {k: float(sum(x * (((n - i) / n) ** k - ((n - i - 1) / n) ** k) for i, x in enumerate(ordered))) for k in ks}
