"""Spoken digits, one second at 8 kHz, by many voices of Debian's speech synthesiser espeak-ng.

    apt-get install espeak-ng && pip install -e '.[audio]'
    python -m gan_jax.main --config=configs/spoken_digits.py --workdir=runs/spoken
    python -m gan_jax.sample --workdir=runs/spoken --num=10 --out=digits.wav

Recordings of your own: --config.data.source=wav --config.data.path=FOLDER, one sub-folder a class, or none with
--config.model.conditional=false.
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default game on R3GAN's blocks along one axis, 128 frames of 64 samples a second."""
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 240_000,
            "data.source": "spoken",
            "data.length": 8192,
            "data.sample_rate": 8000,
            "data.batch_size": 32,
            "model.architecture": "r3gan_1d",
            "model.frame": 64,
            "model.d_spectrogram": "alone",
            "model.g_width": 64,
            "model.d_width": 64,
            "model.blocks": 1,
            "model.conditional": True,
            "penalty.r1": 0.2,  # quiet signals vary less than images do
            "penalty.r2": 0.2,
            "optimizer.g_lr": {"start": 1.5e-3, "end": 1.5e-4},
            "optimizer.d_lr": {"start": 1.5e-3, "end": 1.5e-4},
        }
    )
