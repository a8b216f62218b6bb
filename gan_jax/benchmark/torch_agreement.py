"""Whether a PyTorch twin takes the same step as ours, to within rounding. Imports PyTorch, program and the twins."""

from typing import NamedTuple

import jax
import numpy as np
import optax
import torch

from gan_jax.adversarial.state import Net, State
from gan_jax.benchmark.torch_twins import Twin, images_for
from gan_jax.benchmark.torch_weights import Weights, flat, weights_of
from gan_jax.program import Program

_ROUNDING = 1.2e-7  # of float32, relative


class Taken(NamedTuple):
    """What one step came to."""

    losses: tuple[float, ...]  # of D and of G
    moments: Weights  # Adam's first, of the gradients
    weights: Weights


def disagreement(program: Program, state: State, images: np.ndarray, noises: list[np.ndarray]) -> dict[str, float]:
    """How far one step of the twin is from one of ours, taken from the same state on the same batch and noise.

    Args:
        program: without dropout, whose masks would differ, and one step a call.
        state: where to start; it is donated.
        images: [P, B, ...], the batch.
        noises: what our step draws, [B, Z] each.

    Returns:
        "losses": largest difference of the two losses, relative; "gradients": largest over all arrays of weights of
        |ours - the twin's| / |ours| of Adam's first moments, as Euclidean norms; "weights": the same of the changed
        weights, relative to their change. Arrays that are nearly 0 by cancelling, or hardly change, are held to 1e-4 of
        the whole gradient and of the weights themselves: float32 has no more digits.
    """
    before = _weights(state)
    twin = Twin(program, state)
    losses = twin.step([images_for(part) for part in images], [torch.from_numpy(z.copy()) for z in noises])
    ours = _our_step(program, state, images)
    theirs = Taken(
        tuple(float(loss) for loss in losses),
        {
            **_named("g", weights_of(twin.g, lambda weight: twin.g_adam.state[weight]["exp_avg"])),
            **_named("d", weights_of(twin.d, lambda weight: twin.d_adam.state[weight]["exp_avg"])),
        },
        {**_named("g", weights_of(twin.g)), **_named("d", weights_of(twin.d))},
    )
    return _apart(program, before, ours, theirs)


def sensitivity(program: Program, states: tuple[State, State], images: np.ndarray, seed: int) -> dict[str, float]:
    """How far one step of ours moves, by the measures of `disagreement`, if the weights move by a rounding.

    Where an activation lies within rounding of the kink of a ReLU, either slope is right, and the gradients of all
    layers below it change by parts in a hundred. No other implementation can be held to less.

    Args:
        program: as above.
        states: twice the same; both are donated.
        images: [P, B, ...], the batch.
        seed: of the nudge, of 1.2e-7 of each weight.
    """
    first, second = states
    before = _weights(first)
    rng = np.random.default_rng(seed)

    def nudge(array: jax.Array) -> jax.Array:
        change = np.float32(1) + np.float32(_ROUNDING) * rng.standard_normal(array.shape, np.float32)
        return jax.device_put(array * change, array.sharding)

    nets = {name: getattr(second, name) for name in ("g", "d")}
    moved = {name: net.replace(params=jax.tree.map(nudge, net.params)) for name, net in nets.items()}
    after = _our_step(program, second.replace(**moved), images)
    return _apart(program, before, _our_step(program, first, images), after)


def _our_step(program: Program, state: State, images: np.ndarray) -> Taken:
    after, metrics = program.step(state, {"image": images} | _labels(program, images), np.int32(1))
    moments = {**_named("g", _moments(after.g)), **_named("d", _moments(after.d))}
    return Taken((float(metrics["d_loss"]), float(metrics["g_loss"])), moments, _weights(after))


def _apart(program: Program, before: Weights, ours: Taken, theirs: Taken) -> dict[str, float]:
    moments, weights = ours.moments, ours.weights
    whole = sum(_norm(moment) ** 2 for moment in moments.values()) ** 0.5
    floor = 1e-2 * program.config.optimizer.d_lr.start  # of a step of the learning rate
    scale = {
        name: max(_norm(array - before[name]), 1e-4 * _norm(array), floor * array.size**0.5)
        for name, array in weights.items()
    }
    return {
        "losses": max(abs(one - other) / abs(one) for one, other in zip(ours.losses, theirs.losses, strict=True)),
        "gradients": max(
            _norm(array - theirs.moments[name]) / max(_norm(array), 1e-4 * whole) for name, array in moments.items()
        ),
        "weights": max(_norm(array - theirs.weights[name]) / scale[name] for name, array in weights.items()),
    }


def _weights(state: State) -> Weights:
    return {**_named("g", flat(state.g.params)), **_named("d", flat(state.d.params))}


def _norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(array))


def _moments(net: Net) -> Weights:
    return flat(optax.tree_utils.tree_get(net.opt_state, "mu"))


def _named(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}.{name}": array for name, array in weights.items()}


def _labels(program: Program, images: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": np.zeros(images.shape[:2], np.int32)} if program.num_classes else {}
