"""Eight Gaussians on a ring: does the generator find all modes? Protocol of PacGAN (Lin et al. 2018).

    python -m gan_jax.main --config=configs/ring.py --workdir=runs/ring

For 25 Gaussians on a grid add --config.data.source=grid.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe of configs/mnist.py on dense networks of PacGAN's size."""
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 2_000_000,
            "data.source": "ring",
            "data.batch_size": 100,
            "model.latent_size": 2,
            "model.g_width": 400,
            "model.d_width": 200,
            "penalty.r1": 0.1,
            "penalty.r2": 0.1,
            "optimizer.g_lr": {"start": 5e-4, "end": 5e-5},
            "optimizer.d_lr": {"start": 5e-4, "end": 5e-5},
            "ema_half_life": 10_000,
            "log.metrics_images": 50_000,
            "log.samples_images": 200_000,
            "log.checkpoint_images": 500_000,
        }
    )
