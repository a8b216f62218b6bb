"""Labels for images that have none: `python -m gan_jax.label --config=configs/digits.py --labels=100 --out=all.npz`."""

from absl import flags

from gan_jax import cli
from gan_jax.config import load_config

FLAGS = flags.FLAGS
flags.DEFINE_string("config", "", "whose data are the labelled images, e.g. --config=configs/folder.py")
flags.DEFINE_string("unlabelled", "", "a folder or .npz of images without labels")
flags.DEFINE_integer("labels", 0, "keep so many labels, evenly drawn; the others are inferred; 0 = all", lower_bound=0)
flags.DEFINE_string("out", "", "the .npz to write, e.g. --out=labelled.npz")
flags.DEFINE_string("method", "curriculum", "curriculum, gan, fixmatch, or classifier (sees the labelled images alone)")
flags.DEFINE_integer("steps", 0, "of the training; 0 = the method's own number", lower_bound=0)
flags.DEFINE_float("confidence", 0.0, "leave out images whose inferred label is less sure, e.g. 0.9")
flags.DEFINE_integer("seed", 0, "of the draw and the training", lower_bound=0)


def main() -> None:
    """Flags to one call."""
    config, out = load_config(cli.require("config"), cli.overrides()), cli.require("out")
    from gan_jax.augmentation.labelling import label_file

    found = label_file(
        config,
        out,
        labels=FLAGS.labels,
        unlabelled=FLAGS.unlabelled,
        method=FLAGS.method,
        steps=FLAGS.steps,
        seed=FLAGS.seed,
        confidence=FLAGS.confidence,
    )
    right = f", {found['right']:.2f} % of them right" if "right" in found else ""
    left = f", {found['left_out']:,.0f} left out" if found["left_out"] else ""
    print(f"{out}: {found['known']:,.0f} labels given, {found['inferred']:,.0f} inferred{right}{left}; train with")
    print(f"  --config.data.source=npz --config.data.path={out} --config.model.conditional=true")


if __name__ == "__main__":
    cli.run(main)
