"""Trains a GAN: `python -m gan_jax.main --config=configs/digits.py --workdir=runs/digits`."""

from pathlib import Path

from absl import flags

from gan_jax import cli
from gan_jax.config import load_config

FLAGS = flags.FLAGS
flags.DEFINE_string("config", "", "a config file, or auto:FOLDER for a suggestion; fields by --config.a.b=value")
flags.DEFINE_string("workdir", "", "folder of the run, e.g. runs/digits; the same again resumes; auto: runs/NAME")
cli.define_processes()
flags.adopt_module_key_flags(cli)
flags.DEFINE_bool("dry_run", False, "print the resolved config, parameters, FLOPs and memory; train nothing")


def main() -> None:
    """Flags to one call."""
    if FLAGS.config.startswith("auto:"):
        cli.join()  # what is suggested depends on the devices of all processes
        from gan_jax.search.suggestions import auto_config, auto_workdir

        config = auto_config(FLAGS.config, cli.overrides())
        workdir = cli.folder("workdir") if FLAGS.workdir else auto_workdir(FLAGS.config)
    else:
        config = load_config(cli.require("config"), cli.overrides())
        workdir = Path() if FLAGS.dry_run else cli.folder("workdir")
        if not FLAGS.dry_run:
            cli.join()
    if FLAGS.dry_run:
        from gan_jax.inspection import describe

        print(describe(config))
        return
    from gan_jax.training import train

    train(config, workdir)


if __name__ == "__main__":
    cli.run(main)
