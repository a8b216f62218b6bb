"""A web page on a trained run: `python -m gan_jax.playground --workdir=runs/digits` (extra `playground`)."""

from absl import flags

from gan_jax import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "folder of a trained run, e.g. --workdir=runs/digits")
flags.DEFINE_string("checkpoint", "newest", "newest, best, or a step number")
flags.DEFINE_string("host", "127.0.0.1", "address to listen on; 0.0.0.0 shows the page to the whole network")
flags.DEFINE_integer(
    "port", None, "to listen on; default: the first free one from 7860", lower_bound=1, upper_bound=65535
)


def main() -> None:
    """Flags to one call."""
    workdir = cli.folder("workdir")
    from gan_jax.studio.looking import open_studio
    from gan_jax.studio.page import serve

    serve(open_studio(workdir, FLAGS.checkpoint), f"gan_jax: {workdir.name}", FLAGS.host, FLAGS.port)


if __name__ == "__main__":
    cli.run(main)
