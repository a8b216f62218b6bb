"""Losses with the settings they were published with, as changes of our default config. Imports nothing of ours."""

import dataclasses
from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A loss, the settings it is published with, and the field that `gamma` weighs."""

    text: str
    changes: Settings  # of the common config: loss and published settings
    gamma: tuple[str, ...] = ()  # penalty fields


def _published(loss: str, lr: float, betas: tuple[float, float], more: Settings | None = None) -> Settings:
    rates = {"optimizer.g_lr": lr, "optimizer.d_lr": lr, "optimizer.beta1": betas[0], "optimizer.beta2": betas[1]}
    return {"loss.name": loss, "penalty.r1": 0.0, "penalty.r2": 0.0, **rates, **(more or {})}


RECIPES = {
    "nonsaturating": Recipe(
        "non-saturating loss without penalty; untouched: Adam 2e-4 (0.5, 0.999) of DCGAN (Radford et al. 2016).",
        _published("nonsaturating", 2e-4, (0.5, 0.999)),
    ),
    "nonsaturating_r1": Recipe(
        "non-saturating loss, R1 of weight gamma; untouched: gamma 10, Adam 1e-4 (0, 0.99) (Mescheder et al. 2018).",
        _published("nonsaturating", 1e-4, (0.0, 0.99), {"penalty.r1": 10.0}),
        ("penalty.r1",),
    ),
    "wasserstein": Recipe(
        "Wasserstein loss, WGAN-GP's penalty of weight gamma; untouched: 10, 5 critic updates, Adam 1e-4 (0, 0.9)"
        " (Gulrajani et al. 2017).",
        _published("wasserstein", 1e-4, (0.0, 0.9), {"penalty.wgan_gp": 10.0, "step.critic_steps": 5}),
        ("penalty.wgan_gp",),
    ),
    "hinge": Recipe(
        "hinge loss without penalty; untouched: spectral norm, 5 D updates, Adam 2e-4 (0, 0.9) (Miyato et al. 2018).",
        _published("hinge", 2e-4, (0.0, 0.9), {"model.d_norm": "spectral", "step.critic_steps": 5}),
    ),
    "relativistic": Recipe(
        "relativistic pairing without penalty; untouched: Adam 2e-4 (0.5, 0.999) (Jolicoeur-Martineau 2019).",
        _published("relativistic", 2e-4, (0.5, 0.999)),
    ),
    "ours": Recipe(
        "the default: relativistic pairing, R1 and R2 of weight gamma, learning rates that fall to a tenth; untouched:"
        " as in the config.",
        {},
        ("penalty.r1", "penalty.r2"),
    ),
}
