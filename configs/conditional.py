"""Fashion-MNIST by class: a class-conditional pair whose samples can train a classifier, see docs/augmentation.md.

    python -m gan_jax.main --config=configs/conditional.py --workdir=runs/conditional
    python -m gan_jax.augment --workdir=runs/conditional --out=generated

Any other labelled images: --config.data.source=... as in the other configs.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The data and the recipe of configs/fashion_mnist.py, with classes."""
    return load_sibling(__file__, "fashion_mnist").replace({"total_images": 600_000, "model.conditional": True})
