"""Programs that go wrong once, to see what the watchdog makes of it. Imports program; dense networks only."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gan_jax.config import Config
from gan_jax.program import Program, build

# By name: what happens, and for how many steps.
FAULTS: dict[str, tuple[str, int]] = {
    "nan": ("one pixel of one batch is not a number", 1),
    "learning_rate": ("both learning rates are 100 times as high for 50 steps", 50),
    "generator": ("the generator is set to black, with no way back: all weights 0, the last bias -20", 1),
    "discriminator": ("the discriminator is set to a constant, with no way back: all weights 0", 1),
}


@dataclasses.dataclass(frozen=True)
class FaultyProgram(Program):
    """A program that does `fault` once, at step `at`; doing that step again, it works."""

    fault: str
    at: int

    @functools.cached_property
    def step(self) -> Any:
        """As `Program.step`."""
        usual, (_, left) = super().step, FAULTS[self.fault]
        begun = False
        hot = Program(**_fields(self) | {"config": _hotter(self.config)}).step

        def run(state: Any, batch: Any, count: jax.Array) -> Any:
            nonlocal left, begun
            with jax.transfer_guard("allow"):
                steps = int(count)
                early = int(state.step) + steps <= self.at
                left = 0 if begun and early else left  # the run went back: it is over
                if left <= 0 or early:
                    return usual(state, batch, count)
                left, begun = left - steps, True
                if self.fault == "learning_rate":
                    return hot(state, batch, count)
                return usual(*_SPOIL[self.fault](state, batch), count)

        return run


def faulty(fault: str, at: int) -> Callable[..., Program]:
    """`gan_jax.program.build` for a program that goes wrong, see `FAULTS`; for `gan_jax.train(make_program=...)`.

    Args:
        fault: a name of `FAULTS`.
        at: the step it begins with; the call of the program that holds this step is spoilt.
    """

    def make(*args: Any) -> Program:
        program = build(*args)
        return FaultyProgram(**_fields(program), fault=fault, at=at)

    return make


def _fields(program: Program) -> dict[str, Any]:
    return {field.name: getattr(program, field.name) for field in dataclasses.fields(Program)}


def _hotter(config: Config) -> Config:
    changes = {}
    for name in ("g_lr", "d_lr"):
        schedule = getattr(config.optimizer, name)
        end = None if schedule.end is None else 100 * schedule.end
        changes[f"optimizer.{name}"] = {"start": 100 * schedule.start, "end": end, "shape": schedule.shape}
    return config.replace(changes)


def _nan(state: Any, batch: Any) -> tuple[Any, Any]:
    images = batch["image"]
    numbers = images / 127.5 - 1 if images.dtype == jnp.uint8 else images  # bytes have no NaN
    spoilt = numbers.at[len(images) // 2].set(jnp.nan)
    return state, {**batch, "image": jax.device_put(spoilt, images.sharding)}


def _black(state: Any, batch: Any) -> tuple[Any, Any]:
    net = jax.tree.map(jnp.zeros_like, state.g)
    out = net.params["out"]
    params = {**net.params, "out": {**out, "bias": out["bias"] - 20}}  # tanh has no slope there
    return state.replace(g=net.replace(params=params)), batch


def _constant(state: Any, batch: Any) -> tuple[Any, Any]:
    return state.replace(d=jax.tree.map(jnp.zeros_like, state.d)), batch


_SPOIL = {"nan": _nan, "generator": _black, "discriminator": _constant}
