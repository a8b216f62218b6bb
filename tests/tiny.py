"""The smallest run of every architecture, for tests."""

from typing import Any

import jax
import numpy as np

from gan_jax.adversarial.state import State
from gan_jax.config import Config
from gan_jax.program import Program, build
from gan_jax.runtime.mesh import batch_sharding, make_mesh, replicated

SHAPES = {
    "mlp": (2,),
    "dcgan": (8, 8, 1),
    "resnet": (8, 8, 3),
    "r3gan": (8, 8, 1),
    "stylegan2": (8, 8, 3),
    "article": (28, 28, 1),
    "wavegan": (40, 1),
    "r3gan_1d": (64, 1),
    "sequence": (5, 27),
}
SOURCES = {"mlp": "ring", "wavegan": "mnist1d", "r3gan_1d": "wav", "sequence": "words"}  # the others: digits
ARCHITECTURES = list(SHAPES)


def tiny_config(architecture: str, changes: dict[str, Any] | None = None) -> Config:
    """Few channels, penalties on, every schedule moving."""
    shape = SHAPES[architecture]
    common = {
        "data.batch_size": 16,
        "data.source": SOURCES.get(architecture, "digits"),
        "total_images": 16 * 12,
        "model.architecture": architecture,
        "model.latent_size": 8,
        "loss.name": "relativistic",
        "penalty.r1": {"start": 0.2, "end": 0.1},
        "penalty.r2": 0.1,
        "optimizer.g_lr": {"start": 1e-3, "end": 1e-4},
        "ema_half_life": 100.0,
        "log.metrics_images": 16,
        "log.samples_images": 0,
        "log.checkpoint_images": 16 * 5,
        "log.keep": 20,
    }
    if len(shape) == 3:
        common |= {"data.image_size": shape[:2], "data.channels": shape[2]}
    elif len(shape) == 2:
        common |= {"data.length": shape[0]}
    narrow = {"model.g_width": 16, "model.d_width": 16}
    if architecture in ("mlp", "r3gan", "r3gan_1d", "sequence"):
        narrow["model.blocks"] = 1
    if architecture != "article":
        common |= narrow
    special = {
        "mlp": {"step.per_dispatch": 3},
        "wavegan": {"model.g_width": 8, "model.d_width": 8, "model.phase_shuffle": 2, "model.conditional": True},
        "r3gan_1d": {"model.frame": 8, "model.d_spectrogram": "beside"},
        "sequence": {
            "model.latent_size": 5 * 27 + 8,
            "model.temperature": {"start": 1.0, "end": 0.5},
            "penalty.likelihood": {"start": 1.0, "end": 0.1},
        },
        "resnet": {"model.d_norm": "spectral", "model.conditional": True},
        # With all that a state may carry; its penalty is the generator's, or it would compile for a minute.
        "stylegan2": {
            "model.g_width": 8,
            "model.d_width": 8,
            "model.blocks": 1,
            "model.minibatch_std": 2,
            "loss.name": "nonsaturating",
            "penalty.r1": 0.0,
            "penalty.r2": 0.0,
            "penalty.lecam": 0.1,
            "penalty.path_length": 1.0,
            "penalty.path_length_interval": 2,
            "augment.method": "ada",
            "augment.adaptive": True,
            "augment.transforms": "brightness",
            "augment.adaptive_images": 100,
        },
        "article": {
            "model.dropout": 0.3,
            "loss.name": "nonsaturating",
            "penalty.r1": 0.0,
            "penalty.r2": 0.0,
            "optimizer.g_lr": 1e-4,  # of configs/article.py
            "optimizer.d_lr": 1e-4,
            # Adam divides the rounding of gradients near zero by themselves. At eps 1e-8 that moves a few of this
            # net's 100,352 base weights by more than 1e-5 between 1 and 8 devices; see docs/architecture.md.
            "optimizer.eps": 1e-4,
        },
    }
    return Config().replace(common | special.get(architecture, {}) | (changes or {}))


def tiny_program(architecture: str, devices: int = 1, changes: dict[str, Any] | None = None) -> Program:
    """Its program on the first virtual devices."""
    config = tiny_config(architecture, changes)
    classes = 10 if config.model.conditional else 0
    return build(config, SHAPES[architecture], classes, make_mesh(jax.devices()[:devices]))


def fill(program: Program, seed: int = 0) -> dict[str, jax.Array]:
    """A batch of noise in the shape that one call of the step takes."""
    rng, batch = np.random.default_rng(seed), {}
    for name, leaf in program.abstract_batch.items():
        low, high = (0, 256) if leaf.dtype == np.uint8 else (0, max(program.num_classes, 1))
        whole = leaf.dtype != np.float32
        values = rng.integers(low, high, leaf.shape) if whole else rng.normal(size=leaf.shape)
        batch[name] = jax.device_put(values.astype(leaf.dtype), batch_sharding(program.mesh, axis=1))
    return batch


def run(program: Program, steps: int) -> tuple[State, dict[str, jax.Array]]:
    """A fresh state after some calls of the step, one step each."""
    place = replicated(program.mesh)
    state: State = program.init(jax.device_put(np.uint32(0), place))
    for index in range(steps):
        state, metrics = program.step(state, fill(program, index), jax.device_put(np.int32(1), place))
    return state, metrics
