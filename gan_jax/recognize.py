"""What a discriminator recognises: `python -m gan_jax.recognize --workdir=runs/recognition --task=probe`."""

from absl import flags

from gan_jax import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "folder of a run on labelled images, e.g. --workdir=runs/digits")
flags.DEFINE_string("task", "probe", "probe (and a classifier to keep), semi, anomaly or detect")
flags.DEFINE_string("predict", "", "an image file, e.g. --predict=shoe.png: its classes by the kept classifier")
flags.DEFINE_list("labels", None, "numbers of labels (detect: of canvases); default: by task")
flags.DEFINE_integer("label_seeds", 5, "probe: draws of up to 1,000 labels", lower_bound=1)
flags.DEFINE_integer("normal", 0, "anomaly: the class that others are told from", lower_bound=0)
flags.DEFINE_integer("steps", 3_000, "semi: of Improved-GAN and its controls", lower_bound=1)
flags.DEFINE_string("checkpoint", "newest", "newest, best, or a step number")


def main() -> None:
    """Flags to one call."""
    workdir = cli.folder("workdir")
    labels = cli.numbers("labels")
    from gan_jax.recognition import report

    if FLAGS.predict:
        for name, share in report.predict(workdir, FLAGS.predict):
            print(f"{name:20}{100 * share:8.2f} %")
        return
    if FLAGS.task in ("probe", "detect"):
        cli.require_extra("recognition", "skimage")  # histograms of gradients, which others are compared with
    part = report.recognize(
        workdir,
        FLAGS.task,
        labels=labels,
        label_seeds=FLAGS.label_seeds,
        normal=FLAGS.normal,
        steps=FLAGS.steps,
        checkpoint=FLAGS.checkpoint,
    )
    print(report.table(part))


if __name__ == "__main__":
    cli.run(main)
