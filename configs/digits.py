"""scikit-learn's 1,797 handwritten digits, 8x8 grey: real data that ships with a package.

    python -m gan_jax.main --config=configs/digits.py --workdir=runs/digits

About a minute on 2 CPU cores.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe of configs/mnist.py, smaller."""
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 400_000,
            "data.source": "digits",
            "data.image_size": 8,
            "model.g_width": 256,
            "model.d_width": 256,
            "penalty.r1": 0.5,
            "penalty.r2": 0.5,
            "ema_half_life": 10_000,
            "log.metrics_images": 10_000,
            "log.checkpoint_images": 100_000,
        }
    )
