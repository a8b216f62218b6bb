"""Twenty-five Gaussians on a grid: does the generator find all modes? Protocol of PacGAN (Lin et al. 2018).

    python -m gan_jax.main --config=configs/grid.py --workdir=runs/grid

The ring with 8 is configs/ring.py.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The recipe of configs/ring.py at the grid's scale.

    Its modes are five times as wide. Penalties weigh squared gradients, so they count in squared lengths: 25 times.
    """
    return load_sibling(__file__, "ring").replace(
        {
            "data.source": "grid",
            "penalty.r1": {"start": 25e-2, "end": 25e-5},
            "penalty.r2": {"start": 25e-2, "end": 25e-5},
        }
    )
