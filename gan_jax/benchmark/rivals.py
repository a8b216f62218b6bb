"""Published recipes for small grey images, as changes of the default config, that the default has to beat.

By name: a line of text, and the changes. Imports the config and the checkout.
"""

from typing import Any

from gan_jax.benchmark.checkout import checkout_config
from gan_jax.config import Config

# Of all rivals. Their averaged generator starts with no memory, or early scores would be those of the initial weights.
COMMON: dict[str, Any] = {"data.batch_size": 64, "ema_half_life": {"start": 0, "end": 5_000}}
_DCGAN: dict[str, Any] = {"model.architecture": "dcgan", "model.g_width": 64, "model.d_width": 64}
RIVALS: dict[str, tuple[str, dict[str, Any]]] = {
    "article": (
        "the article's pair: the tutorial's generator against one hidden layer of 256, Adam 1e-4.",
        {
            "model.architecture": "article",
            "model.latent_size": 100,
            "model.dropout": 0.3,
            "optimizer.beta1": 0.9,
            "optimizer.g_lr": 1e-4,
            "optimizer.d_lr": 1e-4,
        },
    ),
    "dcgan": (
        "TensorFlow's DCGAN tutorial: its 28x28 networks, non-saturating loss, dropout 0.3, Adam 1e-4 (0.9, 0.999);"
        " batch 64 in place of 256, which gives it four times as many updates in the time.",
        _DCGAN
        | {
            "model.latent_size": 100,
            "model.dropout": 0.3,
            "optimizer.beta1": 0.9,
            "optimizer.g_lr": 1e-4,
            "optimizer.d_lr": 1e-4,
        },
    ),
    "wgan_gp": (
        "WGAN-GP (Gulrajani et al. 2017): the tutorial's networks without normalisation in D, penalty 10, 5 critic"
        " updates, Adam 1e-4 (0, 0.9).",
        _DCGAN
        | {
            "model.latent_size": 128,
            "loss.name": "wasserstein",
            "penalty.wgan_gp": 10.0,
            "step.critic_steps": 5,
            "optimizer.beta1": 0.0,
            "optimizer.beta2": 0.9,
            "optimizer.g_lr": 1e-4,
            "optimizer.d_lr": 1e-4,
        },
    ),
    "sngan": (
        "SNGAN (Miyato et al. 2018) as in mimicry: residual networks, hinge loss, spectral norm, 5 critic updates,"
        " Adam 2e-4 (0, 0.9) falling linearly to 0. Width 16 in place of 256 (G) and 128 (D): so on a CPU its generator"
        " is updated about as often as the DCGAN's; at width 64 it would be twenty times as rare.",
        {
            "model.architecture": "resnet",
            "model.latent_size": 128,
            "model.g_width": 16,
            "model.d_width": 16,
            "model.d_norm": "spectral",
            "loss.name": "hinge",
            "step.critic_steps": 5,
            "optimizer.beta1": 0.0,
            "optimizer.beta2": 0.9,
            "optimizer.g_lr": {"start": 2e-4, "end": 0.0, "shape": "linear"},
            "optimizer.d_lr": {"start": 2e-4, "end": 0.0, "shape": "linear"},
        },
    ),
    "r3gan": (
        "R3GAN (Huang et al. 2024), its CIFAR-10 preset made small: 3 resolutions of width 32 in place of 4 of 768,"
        " 2 blocks each, batch 64 in place of 512, no augmentation; relativistic loss, R1 and R2 at every step, cosine"
        " schedules, fresh noise for G. At width 64 a CPU would take seconds a step.",
        {
            "model.architecture": "r3gan",
            "model.latent_size": 64,
            "model.g_width": 32,
            "model.d_width": 32,
            "model.blocks": 2,
            "loss.name": "relativistic",
            "penalty.r1": {"start": 0.05, "end": 0.005},
            "penalty.r2": {"start": 0.05, "end": 0.005},
            "step.shared_noise": False,
            "optimizer.beta1": 0.0,
            "optimizer.beta2": {"start": 0.9, "end": 0.99},
            "optimizer.g_lr": {"start": 2e-4, "end": 5e-5},
            "optimizer.d_lr": {"start": 2e-4, "end": 5e-5},
        },
    ),
}


def arm_texts(name: str) -> dict[str, str]:
    """The arms that train, `ours` first, and a line of text on each.

    Args:
        name: of the recommended config.
    """
    return {"ours": f"`configs/{name}.py` as it is."} | {arm: text for arm, (text, _) in RIVALS.items()}


def arm_config(name: str, arm: str) -> Config:
    """The config of an arm that trains, on the data of the recommended config; its length is the suite's to set.

    Args:
        name: of the recommended config, which is arm `ours`.
        arm: one of `arm_texts`.

    Raises:
        InputError: the package is not run from a checkout.
    """
    ours = checkout_config(name)
    if arm == "ours":
        return ours
    data = {f"data.{field}": getattr(ours.data, field) for field in ("source", "path", "image_size", "channels")}
    return Config().replace(data | COMMON | RIVALS[arm][1])
