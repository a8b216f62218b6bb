"""scikit-learn's 1,797 handwritten digits, 8x8 grey: real data that ships with a package.

    python -m gan_jax.main --config=configs/digits.py --workdir=runs/digits

About a minute on 2 CPU cores.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe of configs/mnist.py, smaller, at the learning rates that searches find for small images."""
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 400_000,
            "data.source": "digits",
            "data.image_size": 8,
            "model.g_width": 256,
            "model.d_width": 256,
            "optimizer.g_lr": {"start": 3e-3, "end": 3e-4},
            "optimizer.d_lr": {"start": 3e-3, "end": 3e-4},
            "ema_half_life": 10_000,
            "log.metrics_images": 10_000,
            "log.checkpoint_images": 100_000,
        }
    )
