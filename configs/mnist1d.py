"""MNIST-1D: ten classes of noisy signals of 40 samples, made by the package `mnist1d`.

    pip install -e '.[audio]'
    python -m gan_jax.main --config=configs/mnist1d.py --workdir=runs/mnist1d

Some minutes on 2 CPU cores.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default game on R3GAN's blocks along one axis, class-conditional."""
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 400_000,
            "data.source": "mnist1d",
            "model.architecture": "r3gan_1d",
            "model.g_width": 32,
            "model.d_width": 32,
            "model.blocks": 1,
            "model.conditional": True,
            "optimizer.g_lr": {"start": 1e-3, "end": 1e-4},
            "optimizer.d_lr": {"start": 1e-3, "end": 1e-4},
        }
    )
