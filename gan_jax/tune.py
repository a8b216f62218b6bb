"""Searches for good settings: `python -m gan_jax.tune --config=configs/mnist.py --workdir=runs/tune --budget=30m`.

The same command goes on where it stopped; started several times, the processes share the work.
"""

import functools

from absl import flags

from gan_jax import cli
from gan_jax.config import load_config
from gan_jax.errors import InputError
from gan_jax.runtime.cores import split_cores

FLAGS = flags.FLAGS
flags.DEFINE_string("config", "", "the recipe to tune, e.g. --config=configs/digits.py; fields by --config.a.b=value")
flags.DEFINE_string("workdir", "", "folder of the search, e.g. --workdir=runs/tune; the same folder again goes on")
flags.DEFINE_string("method", "asha", "asha (successive halving), pbt (population-based training) or random")
flags.DEFINE_string("space", "", "a Python file whose get_space(config) says what to search; default: by recipe")
flags.DEFINE_string("budget", "", "work of all processes together, e.g. 30m (the default, without --trials) or 2h30m")
flags.DEFINE_integer("trials", None, "configurations to try", lower_bound=1)
flags.DEFINE_integer("images", None, "length of a training; default: the config's, or what the budget allows")
flags.DEFINE_string("storage", "", "URL of the database that processes share; default: SQLite in the workdir")
flags.DEFINE_string("study", "tune", "name of the search in the database")


def main() -> None:
    """Flags to one call."""
    if FLAGS.budget and FLAGS.trials:
        raise InputError("--budget and --trials both say when to stop: give one of them")
    config, workdir = load_config(cli.require("config"), cli.overrides()), cli.folder("workdir")
    cli.require_extra("tune", "optuna", "matplotlib")
    split_cores()
    from gan_jax.search import findings
    from gan_jax.search.tuning import Request, parse_budget, tune

    request = Request(
        config=config,
        workdir=workdir,
        method=FLAGS.method,
        space=FLAGS.space or None,
        trials=FLAGS.trials,
        budget=None if FLAGS.trials else parse_budget(FLAGS.budget or "30m"),
        images=FLAGS.images,
        storage=FLAGS.storage,
        study=FLAGS.study,
    )
    found = tune(request, functools.partial(print, flush=True))
    print(
        f"\n{findings.table(found)}\n\ntrain it: python -m gan_jax.main --config={workdir / findings.CONFIG} --workdir="
    )


if __name__ == "__main__":
    cli.run(main)
