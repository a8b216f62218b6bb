"""Twenty-five Gaussians on a grid: does the generator find all modes? Protocol of PacGAN (Lin et al. 2018).

    python -m gan_jax.main --config=configs/grid.py --workdir=runs/grid

The ring with 8 is configs/ring.py.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The recipe of configs/ring.py at the grid's scale.

    Penalties weigh squared gradients, so they count in squared lengths: a mode here is five times as wide. The
    shares of 25 modes take longer to settle than those of 8, and cannot be corrected once the modes are apart, so the
    penalties fade less than there, learning rates are higher, and pieces are fewer.
    """
    penalty = {"start": 2.0, "end": 0.05, "shape": "geometric"}
    return load_sibling(__file__, "ring").replace(
        {
            "total_images": 3_840_000,
            "data.source": "grid",
            "model.latent_size": 12,
            "model.latent_signs": 10,
            "model.latent_direct": 2,
            "model.d_octaves": 5,
            "penalty.r1": penalty,
            "penalty.r2": penalty,
            "optimizer.g_lr": {"start": 4e-3, "end": 1e-5},
            "optimizer.d_lr": {"start": 4e-3, "end": 4e-4},
            "optimizer.beta2": 0.99,
            "ema_half_life": {"start": 500, "end": 40_000},
        }
    )
