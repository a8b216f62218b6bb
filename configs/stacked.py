"""Three random grey images stacked as red, green and blue: 1,000 modes to cover (Metz et al. 2017).

    python -m gan_jax.main --config=configs/stacked.py --workdir=runs/stacked

On Fashion-MNIST; with MNIST's four idx files in a folder: --config.data.path=FOLDER; with TensorFlow Datasets:
--config.data.path=tfds:mnist.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe in three channels, a few minutes on 2 CPU cores."""
    return load_sibling(__file__, "fashion_mnist").replace(
        {"total_images": 300_000, "data.source": "stacked", "data.channels": 3}
    )
