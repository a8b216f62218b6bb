"""MNIST-1D: ten classes of noisy signals of 40 samples, made by the package `mnist1d`.

    pip install -e '.[audio]'
    python -m gan_jax.main --config=configs/mnist1d.py --workdir=runs/mnist1d

Some minutes on 2 CPU cores.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default game, class-conditional: a dense generator, and strided convolutions that know no place by heart."""
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 320_000,
            "data.source": "mnist1d",
            "model.architecture": "wavegan",
            "model.g_architecture": "mlp",
            "model.g_width": 256,
            "model.d_width": 16,
            "model.conditional": True,
            "penalty.r1": 0.05,  # these signals vary less than images do
            "penalty.r2": 0.05,
        }
    )
