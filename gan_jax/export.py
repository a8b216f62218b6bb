"""Writes a trained pair for use without this package: `python -m gan_jax.export --workdir=RUN --out=generator`."""

from pathlib import Path

from absl import flags

from gan_jax import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "folder of a trained run, e.g. --workdir=runs/digits")
flags.DEFINE_string("out", "", "folder for programs, weights and card.json, e.g. --out=generator")
flags.DEFINE_string("checkpoint", "newest", "newest, best, or a step number")
flags.DEFINE_list("platforms", ["cpu", "cuda", "tpu"], "that the programs shall run on, of cpu, cuda, rocm, tpu")


def main() -> None:
    """Flags to one call."""
    workdir, out = cli.folder("workdir"), Path(cli.require("out"))
    from gan_jax.exporting import export, summary

    print(summary(export(workdir, out, FLAGS.checkpoint, FLAGS.platforms), out))


if __name__ == "__main__":
    cli.run(main)
