"""StyleGAN2 on your own few images, with adaptive augmentation; for a GPU or TPU.

    python -m gan_jax.main --config=configs/stylegan2.py --config.data.path=photos --workdir=runs/photos

The recipe for small sets of Karras et al. (2020): non-saturating loss, lazy R1 and path length, ADA. Where
left and right do not matter, add the flip:
--config.augment.transforms=flip,translate,scale,stretch,shift,brightness,contrast,hue,saturation
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """64x64 in colour."""
    return load_sibling(__file__, "folder").replace(
        {
            "total_images": 5_000_000,
            "model.architecture": "stylegan2",
            "model.latent_size": 128,
            "model.g_width": 64,
            "model.d_width": 64,
            "model.minibatch_std": 4,
            "model.dtype": "bfloat16",
            "loss.name": "nonsaturating",
            "penalty.r1": 0.1,
            "penalty.r2": 0.0,
            "penalty.interval": 16,
            "penalty.path_length": 2.0,
            "optimizer.g_lr": 2.5e-3,
            "optimizer.d_lr": 2.5e-3,
            "augment.method": "ada",
            "augment.adaptive": True,
            "ema_half_life": 20_000,
            "log.samples_images": 250_000,
            "log.checkpoint_images": 250_000,
        }
    )
