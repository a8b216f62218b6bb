"""CIFAR-10, 60,000 colour pictures of ten things, 32x32, class-conditional; for a GPU or TPU.

    python -m gan_jax.main --config=configs/cifar10.py --workdir=runs/cifar10

The recipe of R3GAN (Huang et al. 2024) at a quarter of its width. TFDS prepares the set
(pip install gan-jax[prepare]); a folder of images: --config.data.source=folder --config.data.path=FOLDER.
"""

from gan_jax.config import Config


def get_config() -> Config:
    """R3GAN: relativistic pairing, R1 and R2 at every step, cosine schedules."""
    return Config().replace(
        {
            "total_images": 20_000_000,
            "data.source": "tfds:cifar10",
            "data.image_size": 32,
            "data.channels": 3,
            "data.batch_size": 512,
            "model.architecture": "r3gan",
            "model.g_width": 192,
            "model.d_width": 192,
            "model.conditional": True,
            "model.dtype": "bfloat16",
            "loss.name": "relativistic",
            "penalty.r1": {"start": 0.05, "end": 0.005},
            "penalty.r2": {"start": 0.05, "end": 0.005},
            "optimizer.beta1": 0.0,
            "optimizer.beta2": {"start": 0.9, "end": 0.99},
            "optimizer.g_lr": {"start": 2e-4, "end": 5e-5},
            "optimizer.d_lr": {"start": 2e-4, "end": 5e-5},
            "step.shared_noise": False,
            "ema_half_life": {"start": 0, "end": 5_000_000},
            "log.metrics_images": 50_000,
            "log.samples_images": 500_000,
            "log.checkpoint_images": 1_000_000,
        }
    )
