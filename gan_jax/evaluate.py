"""Scores a run: `python -m gan_jax.evaluate --workdir=runs/fashion --metrics=fid,kid,prdc`."""

import json
from pathlib import Path

from absl import flags

from gan_jax import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "folder of a run, e.g. --workdir=runs/digits; its real data is compared with")
flags.DEFINE_string("images", "", "folder or .npz of images to score in place of the run's own samples")
flags.DEFINE_list("metrics", None, "of fid, kid, prdc, score, classes, memorisation (points: modes); default: all")
flags.DEFINE_integer("num", None, "samples; default: the config's evaluation.count", lower_bound=100)
flags.DEFINE_integer("seed", 0, "of the noise", lower_bound=0)
flags.DEFINE_string("checkpoint", "newest", "newest, best, or a step number")
flags.DEFINE_string("out", "", "file for the scores as JSON; default: scores.json in the workdir")
cli.define_processes()
flags.adopt_module_key_flags(cli)


def main() -> None:
    """Flags to one call."""
    workdir = cli.folder("workdir")
    cli.join(preemptible=False)
    from gan_jax.evaluation.scoring import evaluate, table
    from gan_jax.runtime.agreement import on_first
    from gan_jax.runtime.files import write_atomically

    result = evaluate(
        workdir,
        images=FLAGS.images or None,
        metrics=FLAGS.metrics,
        num=FLAGS.num,
        seed=FLAGS.seed,
        checkpoint=FLAGS.checkpoint,
    )
    text = json.dumps(result, indent=2).encode()
    on_first(lambda: write_atomically(Path(FLAGS.out or workdir / "scores.json"), text))
    on_first(lambda: print(table(result)))


if __name__ == "__main__":
    cli.run(main)
