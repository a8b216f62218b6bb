"""Fashion-MNIST, 70,000 pictures of clothes, 28x28 grey.

    apt-get install dataset-fashion-mnist        # Debian's package of the four idx files
    python -m gan_jax.main --config=configs/fashion_mnist.py --workdir=runs/fashion

Elsewhere put the four files into a folder and add --config.data.path=FOLDER.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe of configs/mnist.py on other data."""
    return load_sibling(__file__, "mnist").replace(
        {"data.source": "idx", "data.path": "/usr/share/datasets/fashion-mnist"}
    )
