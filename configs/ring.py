"""Eight Gaussians on a ring: does the generator find all modes? Protocol of PacGAN (Lin et al. 2018).

    python -m gan_jax.main --config=configs/ring.py --workdir=runs/ring

For 25 Gaussians on a grid: configs/grid.py.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """Relativistic pairing with R1 and R2 on small dense networks, with learning rates and penalties that fade.

    Modes are first found, under penalties strong enough to guide G from one to another, then narrowed: a mode is 0.01
    wide, and penalties that stay would hide that from D. D's learning rate stays above G's, or modes shrink to points,
    but fades too, or their widths wander.
    """
    penalty = {"start": 0.1, "end": 1e-6, "shape": "geometric"}
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 800_000,
            "data.source": "ring",
            "data.batch_size": 64,
            "model.latent_size": 16,
            "model.latent_signs": 12,  # 4,096 pieces, so that nothing need lie between two modes,
            "model.latent_direct": 4,  # and one Gaussian around each, whose width all modes share
            "model.g_width": 64,
            "model.d_width": 64,
            "model.d_octaves": 7,
            "model.blocks": 3,
            "penalty.r1": penalty,
            "penalty.r2": penalty,
            "optimizer.g_lr": {"start": 3e-3, "end": 5e-5, "shape": "geometric"},
            "optimizer.d_lr": {"start": 3e-3, "end": 3e-4},
            "optimizer.beta2": 0.999,
            "ema_half_life": {"start": 500, "end": 20_000},
            "log.metrics_images": 10_000,
            "log.samples_images": 100_000,
            "log.checkpoint_images": 200_000,
        }
    )
