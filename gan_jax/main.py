"""Trains a GAN: `python -m gan_jax.main --config=configs/digits.py --workdir=runs/digits`."""

from absl import flags

from gan_jax import cli
from gan_jax.config import load_config

FLAGS = flags.FLAGS
flags.DEFINE_string("config", "", "a config file, e.g. --config=configs/digits.py; fields by --config.a.b=value")
flags.DEFINE_string("workdir", "", "folder of the run, e.g. --workdir=runs/digits; the same folder again resumes")
cli.define_processes()
flags.adopt_module_key_flags(cli)
flags.DEFINE_bool("dry_run", False, "print the resolved config, parameters, FLOPs and memory; train nothing")


def main() -> None:
    """Flags to one call."""
    config = load_config(cli.require("config"), cli.overrides())
    if FLAGS.dry_run:
        from gan_jax.inspection import describe

        print(describe(config))
        return
    workdir = cli.folder("workdir")
    cli.join()
    from gan_jax.training import train

    train(config, workdir)


if __name__ == "__main__":
    cli.run(main)
