"""MNIST-1D: ten classes of noisy signals of 40 samples, made by the package `mnist1d`.

    pip install -e '.[audio]'
    python -m gan_jax.main --config=configs/mnist1d.py --workdir=runs/mnist1d

Some minutes on 2 CPU cores.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe, class-conditional; dense networks did better here in equal time than strided convolutions."""
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 640_000,
            "data.source": "mnist1d",
            "model.g_width": 256,
            "model.d_width": 256,
            "model.conditional": True,
            "penalty.r1": 0.05,  # these signals vary less than images do
            "penalty.r2": 0.05,
        }
    )
