"""Seeded comparisons: `python -m gan_jax.benchmark SUITE --seeds=3 --out=benchmarks`; `tables` for the page alone."""

from pathlib import Path

from absl import flags

from gan_jax import cli
from gan_jax.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_integer("seeds", 3, "seeds 0 to N - 1 are measured; those in the file already are kept", lower_bound=1)
flags.DEFINE_string("out", "benchmarks", "folder of SUITE.json, README.md and plots")
flags.DEFINE_list("arms", None, "some of the suite's arms, e.g. --arms=ours,dcgan; default: all")
flags.DEFINE_bool("check", False, "measure a cheap part again, compare with --out, exit code 1 if it differs")


def main(name: str) -> None:
    """Flags to one call."""
    if cli.overrides():
        raise InputError(f"--config.{cli.overrides()[0]}: a suite fixes its configs; edit configs/ to change them")
    from gan_jax.benchmark import runner
    from gan_jax.benchmark.plots import require_matplotlib
    from gan_jax.benchmark.suites import SUITES, find_suite
    from gan_jax.benchmark.tables import write_tables

    out = Path(FLAGS.out)
    if name == "tables":
        write_tables(out, SUITES)
        return
    suite = find_suite(name)
    if FLAGS.check:
        complaints = runner.check(suite, out, FLAGS.arms)
        print("\n".join(complaints or [f"{name}: reproduced"]))
        raise SystemExit(1 if complaints else 0)
    require_matplotlib()
    runner.run(suite, out, FLAGS.seeds, FLAGS.arms, SUITES)


if __name__ == "__main__":
    cli.run(main, "SUITE")
