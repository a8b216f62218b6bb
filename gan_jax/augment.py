"""A balanced set of generated images, and whether it helps: `python -m gan_jax.augment --workdir=runs/x --out=set`."""

from absl import flags

from gan_jax import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "folder of a run, e.g. --workdir=runs/digits; with --config it is trained first")
flags.DEFINE_string("config", "", "train this config in the workdir first, or go on with it")
flags.DEFINE_string("out", "", "where the set goes: a folder, or a file that ends in .npz")
flags.DEFINE_string("format", "", "folder, npz or array_record; default: by the ending of --out")
flags.DEFINE_integer("count", 10_000, "how many images, evenly over the classes", lower_bound=1)
flags.DEFINE_string("filter", "none", "e.g. confidence:0.8 or discriminator:0.5, or both with a comma")
flags.DEFINE_float("truncation", None, "redraw noise beyond this many standard deviations, e.g. 1.5")
flags.DEFINE_integer("seed", 0, "of the noise and of the trainings that score", lower_bound=0)
flags.DEFINE_string("checkpoint", "newest", "newest, best, or a step number")
flags.DEFINE_string("labelled", "", "folder or .npz of real labelled images to score with; default: the run's data")
flags.DEFINE_integer("steps", 1_000, "of each training that scores", lower_bound=1)
flags.DEFINE_float("share", 0.5, "of a batch that is generated, beside real images")
flags.DEFINE_bool("score", True, "train classifiers on real, generated and both")
flags.DEFINE_string("from", "", "a provenance.json: make that set again and check that it is the same bit for bit")


def main() -> None:
    """Flags to one call."""
    out = cli.require("out")
    from gan_jax.augmentation import report

    if FLAGS["from"].value:
        report.regenerate(FLAGS["from"].value, out, workdir=FLAGS.workdir, form=FLAGS.format)
        return
    workdir = cli.folder("workdir")
    if FLAGS.config:
        from gan_jax.config import load_config
        from gan_jax.training import train

        train(load_config(FLAGS.config, cli.overrides()), workdir)
    report.augment(
        workdir,
        out,
        form=FLAGS.format,
        count=FLAGS.count,
        chosen=FLAGS.filter,
        truncation=FLAGS.truncation,
        seed=FLAGS.seed,
        checkpoint=FLAGS.checkpoint,
        labelled=FLAGS.labelled,
        steps=FLAGS.steps,
        share=FLAGS.share,
        scored=FLAGS.score,
    )


if __name__ == "__main__":
    cli.run(main)
