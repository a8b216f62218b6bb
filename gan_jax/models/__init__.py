"""The networks: one architecture a file, a generator and a discriminator in each. Imports config and errors only."""

from types import ModuleType
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.config import ModelConfig, Schedule
from gan_jax.errors import InputError
from gan_jax.models import (
    article,
    dcgan,
    improved_gan,
    mlp,
    r3gan,
    r3gan_1d,
    resnet,
    sequence,
    stylegan2,
    wavegan,
)
from gan_jax.models.heads import with_head
from gan_jax.models.layers import check_image_size
from gan_jax.models.signals import check_length

ARCHITECTURES: dict[str, ModuleType] = {
    "mlp": mlp,
    "dcgan": dcgan,
    "resnet": resnet,
    "r3gan": r3gan,
    "stylegan2": stylegan2,
    "article": article,
    "improved_gan": improved_gan,
    "wavegan": wavegan,
    "r3gan_1d": r3gan_1d,
    "sequence": sequence,
}
SIGNALS = ("wavegan", "r3gan_1d", "sequence")  # those for examples [L, C]


def build(config: ModelConfig, shape: tuple[int, ...], num_classes: int) -> tuple[nn.Module, nn.Module]:
    """Makes the two networks of a config.

    Args:
        config: the networks' settings.
        shape: of one example, (height, width, channels), (length, channels) or (2,).
        num_classes: of the data, 0 if unlabelled.

    Returns:
        Generator and discriminator; they know of classes only if the config is conditional.

    Raises:
        InputError: the settings do not fit the data or one another.
    """
    module, g_module = ARCHITECTURES[config.architecture], ARCHITECTURES[config.g_architecture or config.architecture]
    for name in {config.architecture, config.g_architecture or config.architecture}:
        _check_data(name, config, shape, num_classes)
    common = {"num_classes": num_classes if config.conditional else 0, "dtype": jnp.dtype(config.dtype)}
    g = {"shape": shape, "latent_size": config.latent_size, "width": config.g_width, "blocks": config.blocks}
    g |= {"signs": config.latent_signs, "direct": config.latent_direct, "frame": config.frame}
    d: dict[str, Any] = {
        "width": config.d_width,
        "extra_stages": config.d_extra_stages,
        "blocks": config.blocks,
        "norm": config.d_norm,
        "dropout": config.dropout,
    }
    d |= {"minibatch_std": config.minibatch_std, "octaves": config.d_octaves}
    d |= {"frame": config.frame, "d_spectrogram": config.d_spectrogram, "phase_shuffle": config.phase_shuffle}
    if config.head == "classes":
        if num_classes < 2:
            raise InputError(
                "config.model.head=classes needs labels: choose labelled data, or --config.model.head=none"
            )
        d["classes"] = num_classes
    _check_used(config)
    d |= common
    if config.head == "auxiliary":
        d["num_classes"] = 0  # the head knows of classes, D's logit does not
    critic = with_head(_make(module.Discriminator, d), config, num_classes)
    return _make(g_module.Generator, g | common), critic


def _make(network: type[nn.Module], settings: dict[str, Any]) -> nn.Module:
    """An instance with those of the settings that this network has."""
    return network(**{name: value for name, value in settings.items() if name in _fields(network)})


def _fields(network: type[nn.Module]) -> set[str]:
    return set(network.__dataclass_fields__) | ({"tempered"} if hasattr(network, "tempered") else set())


def _check_data(architecture: str, config: ModelConfig, shape: tuple[int, ...], num_classes: int) -> None:
    if config.conditional and num_classes < 1:
        raise InputError(
            "config.model.conditional=true needs labels: choose labelled data, or --config.model.conditional=false"
        )
    if architecture in ("mlp", "improved_gan"):
        return
    kind = {1: "points", 2: "signals", 3: "images"}[len(shape)]
    needed = "signals" if architecture in SIGNALS else "images"
    if kind != needed:
        fitting = ", ".join(["mlp", *SIGNALS[:2]]) if kind == "signals" else "dcgan" if kind == "images" else "mlp"
        raise InputError(f"config.model.architecture={architecture} needs {needed}, the data are {kind}: use {fitting}")
    if architecture == "sequence":
        if config.latent_size <= shape[0] * shape[1]:
            raise InputError(
                f"config.model.latent_size={config.latent_size} must be above {shape[0]} letters x {shape[1]}, since"
                f" each has its own noise: try --config.model.latent_size={shape[0] * shape[1] + 64}"
            )
        return
    if architecture in SIGNALS:
        check_length(shape[0], config.frame if architecture == "r3gan_1d" else 1)
        return
    if architecture == "article" and shape[:2] != article.SIZE:
        raise InputError(
            f"config.data.image_size={shape[0]},{shape[1]} does not fit config.model.architecture=article,"
            " which makes 28x28: choose dcgan"
        )
    check_image_size(*shape[:2])


def _check_used(config: ModelConfig) -> None:
    """A setting that the architecture would ignore must be left alone."""
    module, g_module = ARCHITECTURES[config.architecture], ARCHITECTURES[config.g_architecture or config.architecture]
    if config.d_norm not in module.D_NORMS:
        raise InputError(
            f"config.model.d_norm={config.d_norm} is not known to config.model.architecture={config.architecture}:"
            f" choose from {', '.join(module.D_NORMS)}"
        )
    default = ModelConfig()
    for name, network, field in (
        ("g_width", g_module.Generator, "width"),
        ("d_width", module.Discriminator, "width"),
        ("d_extra_stages", module.Discriminator, "extra_stages"),
        ("blocks", g_module.Generator if "blocks" in _fields(g_module.Generator) else module.Discriminator, "blocks"),
        ("latent_signs", g_module.Generator, "signs"),
        ("latent_direct", g_module.Generator, "direct"),
        ("d_octaves", module.Discriminator, "octaves"),
        ("dropout", module.Discriminator, "dropout"),
        ("minibatch_std", module.Discriminator, "minibatch_std"),
        ("frame", g_module.Generator if "frame" in _fields(g_module.Generator) else module.Discriminator, "frame"),
        ("d_spectrogram", module.Discriminator, "d_spectrogram"),
        ("phase_shuffle", module.Discriminator, "phase_shuffle"),
        ("temperature", g_module.Generator, "tempered"),
    ):
        value, unset = getattr(config, name), getattr(default, name)
        if field not in _fields(network) and value != unset:
            if isinstance(value, Schedule):
                value, unset = value.start, unset.start
            raise InputError(
                f"config.model.{name}={value} has no effect on config.model.architecture={config.architecture}:"
                f" leave it at {unset}"
            )
