"""The article's pair, as listed there: an up-convolving generator against a dense discriminator, 28x28 grey.

    python -m gan_jax.main --config=configs/article.py --workdir=runs/article

On Fashion-MNIST; for MNIST add --config.data.source=tfds:mnist --config.data.path=. The
losses are those that make this pair a GAN; the listing's squared errors, which do not, are
--config.loss.name=article_squared_error (see gan_jax/adversarial/losses.py).
"""

from gan_jax.config import Config, load_sibling


def get_config() -> Config:
    """Dense 7*7*256 and up-convolutions; Dense 256 on the flattened image; Adam 1e-4."""
    data = load_sibling(__file__, "fashion_mnist").data  # of the default recipe nothing but its data
    return Config().replace(
        {
            "total_images": 300_000,
            "data.source": data.source,
            "data.path": data.path,
            "data.image_size": data.image_size,
            "model.architecture": "article",
            "model.latent_size": 100,
            "model.dropout": 0.3,
            "loss.name": "nonsaturating",
            "optimizer.beta1": 0.9,
            "optimizer.g_lr": 1e-4,
            "ema_half_life": 0,  # the article averages nothing
            "optimizer.d_lr": 1e-4,
        }
    )
