"""Eight Gaussians on a ring: does the generator find all modes? Protocol of PacGAN (Lin et al. 2018).

    python -m gan_jax.main --config=configs/ring.py --workdir=runs/ring

For 25 Gaussians on a grid: configs/grid.py.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe of configs/mnist.py on small dense networks, with learning rate and penalties that fade.

    A mode is 0.01 wide: penalties that stay would keep D from telling such small distances apart.
    """
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 320_000,
            "data.source": "ring",
            "data.batch_size": 64,
            "model.latent_size": 8,
            "model.g_width": 128,
            "model.d_width": 128,
            "model.blocks": 3,
            "penalty.r1": {"start": 1e-2, "end": 1e-5},
            "penalty.r2": {"start": 1e-2, "end": 1e-5},
            "optimizer.g_lr": {"start": 3e-3, "end": 1e-5},
            "optimizer.d_lr": {"start": 3e-3, "end": 1e-5},
            "ema_half_life": {"start": 500, "end": 20_000},
            "log.metrics_images": 10_000,
            "log.samples_images": 50_000,
            "log.checkpoint_images": 100_000,
        }
    )
