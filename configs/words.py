"""English words of 3 to 10 letters, letter by letter: Debian's list, or any file of one word a line.

apt-get install wamerican     # or --config.data.path=FILE
python -m gan_jax.main --config=configs/words.py --workdir=runs/words
python -m gan_jax.sample --workdir=runs/words --out=words.txt
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """The default game on the pair for words, and the likelihood of real letters beside it.

    The game alone is far from the statistics of four letters in a row; see docs/domains.md.
    """
    return load_sibling(__file__, "mnist").replace(
        {
            "total_images": 640_000,
            "data.source": "words",
            "data.length": 10,
            "model.architecture": "sequence",
            "model.latent_size": 10 * 27 + 64,
            "model.g_width": 128,
            "model.d_width": 32,
            "model.temperature": {"start": 1.0, "end": 0.5},
            "penalty.r1": 0.3,
            "penalty.r2": 0.3,
            "penalty.likelihood": 0.3,
        }
    )
