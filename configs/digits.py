"""scikit-learn's 1,797 handwritten digits, 8x8 grey: real data that ships with a package.

    python -m gan_jax.main --config=configs/digits.py --workdir=runs/digits

About two minutes on 2 CPU cores.
"""

from gan_jax.config import Config


def get_config() -> Config:
    """Relativistic pairing with R1 and R2 on fully connected networks."""
    return Config().replace(
        {
            "total_images": 400_000,
            "data.source": "digits",
            "data.image_size": 8,
            "data.batch_size": 64,
            "model.architecture": "mlp",
            "model.g_width": 256,
            "model.d_width": 256,
            "loss.name": "relativistic",
            "penalty.r1": 0.5,
            "penalty.r2": 0.5,
            "optimizer.beta1": 0.0,
            "optimizer.beta2": 0.99,
            "optimizer.g_lr": {"start": 1e-3, "end": 1e-4},
            "optimizer.d_lr": {"start": 1e-3, "end": 1e-4},
            "ema_half_life": 10_000,
            "log.metrics_images": 10_000,
            "log.samples_images": 50_000,
            "log.checkpoint_images": 100_000,
        }
    )
