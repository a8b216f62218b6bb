"""Writes the page of a run: `python -m gan_jax.report --workdir=runs/digits`, then open runs/digits/report.html."""

from absl import flags

from gan_jax import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "folder of a run, e.g. --workdir=runs/digits")
flags.DEFINE_list("compare", [], "further workdirs to show beside it, e.g. --compare=runs/a,runs/b")
flags.DEFINE_string("out", "", "the HTML file; default: report.html in the workdir")
flags.DEFINE_string("checkpoint", "newest", "newest, best, or a step number")
flags.DEFINE_integer("seed", 0, "of the noise", lower_bound=0)


def main() -> None:
    """Flags to one call."""
    workdir = cli.folder("workdir")
    from gan_jax.reporting.page import write_report

    print(f"open {write_report(workdir, FLAGS.out or None, FLAGS.compare, FLAGS.checkpoint, FLAGS.seed).resolve()}")


if __name__ == "__main__":
    cli.run(main)
