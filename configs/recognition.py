"""Fashion-MNIST for its discriminator: three convolutions and a second task, from which D learns to see.

    python -m gan_jax.main --config=configs/recognition.py --workdir=runs/recognition
    python -m gan_jax.recognize --workdir=runs/recognition --task=probe

Any other images: --config.data.source=... as in the other configs.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The data of configs/fashion_mnist.py."""
    return load_sibling(__file__, "fashion_mnist").replace(
        {
            "total_images": 600_000,
            "data.batch_size": 128,
            "model.architecture": "dcgan",
            "model.g_architecture": "mlp",  # a third of the time a step; the generator is not what this is for
            "model.g_width": 256,
            "model.d_width": 32,
            "model.d_extra_stages": 1,  # 28x28 halves evenly only twice, and two layers see too little
            "model.d_norm": "spectral",
            "model.head": "views",
            "loss.name": "hinge",
            "penalty.r1": 0.0,
            "penalty.r2": 0.0,
            "optimizer.beta1": 0.5,
            "optimizer.beta2": 0.999,
            "optimizer.g_lr": 2e-4,
            "optimizer.d_lr": 1.4e-3,
        }
    )
