"""The nets whose speed is compared, and our side of the comparison. Imports models, program and runtime."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gan_jax.adversarial.state import State
from gan_jax.benchmark import examples_dcgan
from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.rivals import COMMON, RIVALS
from gan_jax.config import Config
from gan_jax.program import Program, build
from gan_jax.runtime.mesh import make_mesh, replicated

_EXAMPLES = {  # of the PyTorch examples' dcgan/main.py
    "data.image_size": 64,
    "data.channels": 3,
    "data.batch_size": 16,
    "model.latent_size": 100,
    "optimizer.g_lr": 2e-4,
    "optimizer.d_lr": 2e-4,
    "optimizer.beta1": 0.5,
}


@dataclasses.dataclass(frozen=True)
class Contest:
    """A network and game to be timed on both sides.

    Attributes:
        text: what it is, for the page.
        config: makes the config.
        shape: of one example.
        examples: whether the networks are those of the PyTorch examples, which no config can name.
    """

    text: str
    config: Callable[[], Config]
    shape: tuple[int, ...]
    examples: bool = False

    def program(self, changes: dict[str, Any] | None = None) -> Program:
        """On one device, as PyTorch; of a CPU it uses all cores."""
        # The watchdog's look at the state belongs to a call, not to a step, and PyTorch's side has none.
        config = self.config().replace({"watchdog.enabled": False} | (changes or {}))
        mesh = make_mesh(jax.devices()[:1])
        if not self.examples:
            return build(config, self.shape, 0, mesh)
        nets = examples_dcgan.Generator(config.model.latent_size), examples_dcgan.Discriminator()
        return Program(config, mesh, *nets, self.shape, 0, 1)


def _rival(name: str, **changes: Any) -> Config:
    own = {key.replace("__", "."): value for key, value in changes.items()}
    return Config().replace(COMMON | RIVALS[name][1] | own)


CONTESTS = {
    "dcgan28": Contest(
        "the article's DCGAN at 28x28, TensorFlow's tutorial networks, dropout 0.3, batch 64.",
        functools.partial(_rival, "dcgan"),
        (28, 28, 1),
    ),
    "dcgan64": Contest(
        "the 64x64 DCGAN of the PyTorch examples, batch normalisation on both sides, batch 16.",
        lambda: Config().replace(_EXAMPLES),
        (64, 64, 3),
        examples=True,
    ),
    "sngan32": Contest(
        "SNGAN's residual networks at 32x32, width 64, spectral norm, one D update, batch 16.",
        functools.partial(
            _rival, "sngan", model__g_width=64, model__d_width=64, step__critic_steps=1, data__batch_size=16
        ),
        (32, 32, 3),
    ),
    "r3gan": Contest(
        "R3GAN's networks at 32x32, width 32, R1 and R2 at every step, fresh noise for G, batch 16.",
        functools.partial(_rival, "r3gan", data__batch_size=16),
        (32, 32, 3),
    ),
    "ring": Contest(
        "`configs/ring.py` on PacGAN's dense networks of 400 (G) and 200 (D), batch 100; many steps a call.",
        lambda: pacgan_ring(),  # defined below
        (2,),
    ),
}


# ---------------------------------------------------------------- our side


def examples_of(program: Program, seed: int) -> np.ndarray:
    """Random images or points [K P, B, ...] for one call of the step; speed does not depend on what they show."""
    rng = np.random.default_rng(seed)
    shape = program.abstract_batch["image"].shape
    if len(program.shape) == 3:
        return rng.integers(0, 256, shape, np.uint8)
    return rng.normal(size=shape).astype(np.float32)


def fresh(program: Program, seed: int) -> State:
    """A new state on the devices."""
    state: State = jax.block_until_ready(program.init(jax.device_put(np.uint32(seed), replicated(program.mesh))))
    return state


def our_step(program: Program, seed: int, examples: np.ndarray) -> Callable[[], object]:
    """A call of the compiled step on a state of its own; the first call has been made."""
    place = program.abstract_batch["image"].sharding
    batch = {"image": jax.device_put(examples, place)}
    count = jax.device_put(np.int32(program.per_dispatch), replicated(program.mesh))
    state = fresh(program, seed)

    def call() -> object:
        nonlocal state
        state, metrics = jax.block_until_ready(program.step(state, batch, count))
        return metrics

    call()
    return call


def peak_megabytes(program: Program) -> float:
    """Memory of the step's arguments, results and temporaries by XLA's own account, on one device."""
    count = jax.ShapeDtypeStruct((), np.int32, sharding=replicated(program.mesh))
    memory = program.step.lower(program.abstract_state, program.abstract_batch, count).compile().memory_analysis()
    if memory is None:
        return math.nan
    return float(memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20


def noises_of(config: Config, seed: int) -> list[np.ndarray]:
    """The noise that step 0 of a state of this seed draws, [B, Z] for D's update and for G's."""
    root = jax.random.fold_in(jax.random.key(np.uint32(seed)), 0)
    keys = jax.random.split(root, (2, 1, 3))[:, 0, 0]
    size = (config.data.batch_size, config.model.latent_size)
    return [np.asarray(jax.random.normal(key, size)) for key in keys]


def pacgan_ring() -> Config:
    """Points on networks and batch of PacGAN's size (Lin et al. 2018, section 4.1), losses as `configs/ring.py`."""
    sizes = {"model.g_width": 400, "model.d_width": 200, "model.blocks": 2, "model.latent_size": 2}
    plain = {"model.latent_signs": 0, "model.latent_direct": 0, "model.d_octaves": 0}
    # Speed does not depend on these numbers, so they stay as they are when the ring's recipe gets better.
    faded = {"penalty.r1": {"start": 1e-2, "end": 1e-5}, "penalty.r2": {"start": 1e-2, "end": 1e-5}}
    faded |= {f"optimizer.{net}_lr": {"start": 3e-3, "end": 1e-5} for net in ("g", "d")}
    numbers = {"optimizer.beta2": 0.99, "ema_half_life": {"start": 500, "end": 20_000}}
    return checkout_config("ring").replace({**sizes, **plain, **faded, **numbers, "data.batch_size": 100})
