"""Three random grey images stacked as red, green and blue: 1,000 modes to cover (Metz et al. 2017).

    python -m gan_jax.main --config=configs/stacked.py --workdir=runs/stacked

On Fashion-MNIST; with MNIST's four idx files in a folder: --config.data.path=FOLDER; with TensorFlow Datasets:
--config.data.path=tfds:mnist.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe in three channels, narrower and longer: shares of 1,000 modes take many images to settle."""
    return load_sibling(__file__, "fashion_mnist").replace(
        {
            "total_images": 1_000_000,
            "data.source": "stacked",
            "data.channels": 3,
            "model.g_width": 256,
            "model.d_width": 256,
            "optimizer.g_lr": {"start": 2e-3, "end": 2e-5},
            "optimizer.d_lr": {"start": 2e-3, "end": 2e-4},
            "ema_half_life": {"start": 1_000, "end": 20_000},
        }
    )
