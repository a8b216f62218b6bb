"""Makes a feature network: `python -m gan_jax.features --config=configs/fashion_mnist.py --out=classifier.npz`.

Or turns the public Inception weights into our file:
`--inception=pt_inception-2015-12-05-6726825d.pth --out=inception.npz`.
"""

from pathlib import Path

from absl import flags

from gan_jax import cli
from gan_jax.config import load_config

FLAGS = flags.FLAGS
flags.DEFINE_string("config", "", "a config file whose data, with its labels, trains a classifier")
flags.DEFINE_string("inception", "", "the public PyTorch FID weights file, to be converted (needs torch, once)")
flags.DEFINE_string("out", "", "the .npz to write, e.g. --out=classifier.npz")
flags.DEFINE_integer("seed", 0, "of the classifier", lower_bound=0)
flags.DEFINE_integer("epochs", 5, "passes over the training images", lower_bound=1)


def main() -> None:
    """Flags to one call."""
    out = Path(cli.require("out"))
    if FLAGS.inception:
        from gan_jax.metrics.inception import convert_inception

        print(f"{out}: sha256 {convert_inception(FLAGS.inception, out)}")
        return
    config = load_config(cli.require("config"), cli.overrides())
    from gan_jax.evaluation.making import train_on_labels

    print(train_on_labels(config.data, out, seed=FLAGS.seed, epochs=FLAGS.epochs))


if __name__ == "__main__":
    cli.run(main)
