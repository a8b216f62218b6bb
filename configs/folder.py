"""Your own images: a folder of PNG, JPEG or WebP files, flat or in one sub-folder a class.

    python -m gan_jax.main --config=configs/folder.py --config.data.path=photos --workdir=runs/photos

Any sizes; they are resized and centre-cropped to --config.data.image_size (height,width).
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default recipe's game on convolutional networks, at 64x64 in colour."""
    return load_sibling(__file__, "mnist").replace(
        {
            "data.source": "folder",
            "data.path": "",
            "data.image_size": 64,
            "data.channels": 3,
            "model.architecture": "dcgan",
            "model.g_width": 64,
            "model.d_width": 64,
            "optimizer.g_lr": {"start": 2e-4, "end": 5e-5},
            "optimizer.d_lr": {"start": 2e-4, "end": 5e-5},
        }
    )
