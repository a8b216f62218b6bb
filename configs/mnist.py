"""MNIST, 70,000 handwritten digits, 28x28 grey.

    python -m gan_jax.main --config=configs/mnist.py --workdir=runs/mnist

Reads the four idx files in --config.data.path if given, else TFDS's `mnist`. The recipe is
the project's default for small grey images, the same as configs/fashion_mnist.py. On a GPU
or TPU take convolutions: --config.model.architecture=dcgan --config.model.g_width=64 --config.model.d_width=64.
"""

from gan_jax.config import Config


def get_config() -> Config:
    """The default recipe: relativistic pairing with R1 and R2, no normalisation in D."""
    return Config().replace(
        {
            "total_images": 1_500_000,
            "data.source": "tfds:mnist",
            "data.image_size": 28,
            "data.batch_size": 64,
            "model.architecture": "mlp",  # on CPU several times the images a second of a convolutional pair
            "model.g_width": 512,
            "model.d_width": 512,
            "loss.name": "relativistic",
            "penalty.r1": 1.0,
            "penalty.r2": 1.0,
            "optimizer.beta1": 0.0,
            "optimizer.beta2": 0.99,
            "optimizer.g_lr": {"start": 1e-3, "end": 1e-4},
            "optimizer.d_lr": {"start": 1e-3, "end": 1e-4},
            "ema_half_life": 20_000,
        }
    )
