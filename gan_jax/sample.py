"""Draws from a trained generator: `python -m gan_jax.sample --workdir=runs/mnist --num=64 --out=grid.png`."""

from pathlib import Path

from absl import flags

from gan_jax import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "folder of a trained run, e.g. --workdir=runs/digits")
flags.DEFINE_string(
    "out", "", "grid.png, .npz, .wav (sounds), .txt (words), or a folder for a file each, e.g. --out=grid.png"
)
flags.DEFINE_integer("num", 64, "how many images", lower_bound=1)
flags.DEFINE_integer("seed", 0, "of the noise; the same seed gives the same images", lower_bound=0)
flags.DEFINE_float("truncation", None, "redraw noise beyond this many standard deviations, e.g. 0.7")
flags.DEFINE_list("labels", None, "classes of a conditional generator, e.g. --labels=0,1,2; default: all in turn")
flags.DEFINE_bool("interpolate", False, "each row of the grid walks from one sample to another")
flags.DEFINE_string("checkpoint", "newest", "newest, best, or a step number")


def main() -> None:
    """Flags to one call."""
    workdir, out = cli.folder("workdir"), Path(cli.require("out"))
    from gan_jax.sampling import draw, sample_rate, write_samples

    images, labels = draw(
        workdir,
        num=FLAGS.num,
        seed=FLAGS.seed,
        truncation=FLAGS.truncation,
        labels=FLAGS.labels,
        interpolate=FLAGS.interpolate,
        checkpoint=FLAGS.checkpoint,
    )
    print(write_samples(images, labels, out, sample_rate(workdir)))


if __name__ == "__main__":
    cli.run(main)
