"""A one-stage detector on a discriminator: every object is a peak of its class (CenterNet, Zhou et al. 2019).

Imports gan, models, program and this room.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from gan_jax.adversarial.step import to_float
from gan_jax.gan import Gan
from gan_jax.models.layers import Conv
from gan_jax.recognition.canvases import Canvas, Found, suppressed
from gan_jax.recognition.controls import batches

STRIDE = 4  # pixels between the places where an object's centre may be said to be
_SIDE = 20.0  # pixels; sizes are told as the logarithm of a multiple
_LEARNING_RATE, _BATCH, _BOXES = 2e-3, 16, 20
_MOVED = 0.25  # of its side, by which a canvas is moved to and fro at most while a detector learns
# For what must be measured anew when they change.
SETTINGS = {"learning_rate": _LEARNING_RATE, "batch": _BATCH, "norm": "layer", "moved": _MOVED}


class Detector(nn.Module):
    """A discriminator's second and third stages, and a head: for each place a logit a class, offsets and a size.

    Attributes:
        d: the discriminator; its stages halve the picture each time.
        classes: K.
        frozen: the trunk is not taught.
    """

    d: nn.Module
    classes: int
    frozen: bool = False

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> tuple[Array, Array]:
        """Maps [B, S, S, C] to class logits [B, S/4, S/4, K] and (row offset, column offset, log size) [.., 3]."""
        d: Any = self.d
        features = d(images, jnp.zeros(len(images), jnp.int32), train=train)[1]
        fine, coarse = (nn.LayerNorm(name=f"norm_{stage}")(features[f"stage_{stage}"]) for stage in (2, 3))
        coarse = jnp.repeat(jnp.repeat(coarse, 2, axis=1), 2, axis=2)  # [B, h, w, C] -> [B, 2h, 2w, C]
        x = jnp.concatenate([fine, coarse], axis=-1)
        if self.frozen:
            x = jax.lax.stop_gradient(x)
        for number in (1, 2):
            x = Conv(64, (3, 3), kernel_init=nn.initializers.he_normal(), name=f"detect_{number}")(x)
            x = nn.relu(nn.LayerNorm(name=f"detect_{number}_norm")(x))
        out = Conv(self.classes + 3, (1, 1), name="detect")(x)
        return out[..., : self.classes] - 4.0, out[..., self.classes :]  # at the start nothing is there


def targets(canvases: list[Canvas], classes: int) -> dict[str, np.ndarray]:
    """What a detector should say: heat [N, s, s, K] with 1 at centres, falling off around; where and shape of boxes."""
    side = canvases[0].image.shape[0] // STRIDE
    heat = np.zeros((len(canvases), side, side, classes), np.float32)
    shape = np.zeros((len(canvases), side, side, 3), np.float32)
    there = np.zeros((len(canvases), side, side), np.float32)
    rows, columns = np.mgrid[:side, :side]
    for number, canvas in enumerate(canvases):
        for box, label in zip(canvas.boxes, canvas.labels, strict=True):
            size = box[2] - box[0]
            y, x = (box[:2] + box[2:]) / 2 / STRIDE
            row, column = min(int(y), side - 1), min(int(x), side - 1)
            spread = max(size / STRIDE / 6, 0.5)
            bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2))
            heat[number, ..., label] = np.maximum(heat[number, ..., label], bump)
            shape[number, row, column] = y - row, x - column, np.log(size / _SIDE)
            there[number, row, column] = 1
    images = np.stack([canvas.image for canvas in canvases])
    return {"image": images, "heat": heat, "shape": shape, "there": there}


def moved(batch: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Canvases moved by whole places of the map, each its own way, and what a detector should say of them.

    Args:
        batch: of `targets`; "image" is uint8 [B, S, S, 1], all else [B, S/4, S/4, ...]. What comes in is empty.
        rng: of the moves.
    """
    count, side = batch["there"].shape[:2]
    farthest = round(_MOVED * side)
    corners = rng.integers(0, 2 * farthest + 1, (count, 2))
    found = {}
    for name, array in batch.items():
        scale = array.shape[1] // side
        edge, extent = farthest * scale, side * scale
        wide = np.pad(array, ((0, 0), (edge, edge), (edge, edge), *((0, 0),) * (array.ndim - 3)))
        parts = zip(wide, corners * scale, strict=True)
        found[name] = np.stack([part[y : y + extent, x : x + extent] for part, (y, x) in parts])
    return found


def focal_loss(logits: Array, heat: Array) -> Array:
    """Penalty-reduced focal loss (Law & Deng 2018, eq. 1; alpha 2, beta 4), by the number of centres."""
    log_yes, log_no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    centre = heat == 1
    value = jnp.where(centre, jnp.exp(2 * log_no) * log_yes, (1 - heat) ** 4 * jnp.exp(2 * log_yes) * log_no)
    return -jnp.sum(value) / jnp.maximum(jnp.sum(centre), 1)


def teach_detector(gan: Gan, canvases: list[Canvas], classes: int, steps: int, seed: int, frozen: bool = False) -> Any:
    """Trains a head, and unless it is frozen the trunk, from the pair's discriminator.

    Args:
        gan: a pair for pictures of the canvases' size.
        canvases: labelled.
        classes: K.
        steps: of 16 canvases, moved; AdamW with a cosine schedule.
        seed: of the head and the order.
        frozen: leaves the trunk as it is.

    Returns:
        A function from pictures uint8 [N, S, S, 1] to one `Found` each.
    """
    module = Detector(gan.program.d, classes, frozen)
    arrays = targets(canvases, classes)
    variables: Any = jax.jit(lambda key, x: module.init(key, x, train=False))(
        jax.random.key(seed), jnp.zeros((1, *canvases[0].image.shape))
    )
    params = {**variables["params"], "d": gan.d.params}
    stats = {"d": gan.d.stats} if gan.d.stats else {}
    optimizer = optax.adamw(optax.cosine_decay_schedule(_LEARNING_RATE, steps), weight_decay=1e-4)

    @jax.jit
    def step(carry: Any, batch: dict[str, Array]) -> Any:
        def loss(params: Any) -> tuple[Array, Any]:
            found: Any = module.apply({"params": params, "batch_stats": carry[1]}, to_float(batch["image"]),
                                      train=not frozen, rngs={"dropout": jax.random.key(0)},
                                      mutable=["batch_stats"])  # fmt: skip
            (logits, shape), changed = found
            wrong = jnp.sum(jnp.abs(shape - batch["shape"]), axis=-1) * batch["there"]
            total = focal_loss(logits, batch["heat"]) + jnp.sum(wrong) / jnp.maximum(jnp.sum(batch["there"]), 1)
            return total, changed.get("batch_stats", carry[1])

        gradient, stats = jax.grad(loss, has_aux=True)(carry[0])
        change, state = optimizer.update(gradient, carry[2], carry[0])
        if frozen:
            change = {**change, "d": jax.tree.map(jnp.zeros_like, change["d"])}
        return optax.apply_updates(carry[0], change), stats, state

    carry = (params, stats, optimizer.init(params))
    rng = np.random.default_rng(seed)
    for rows in batches(len(canvases), _BATCH, steps, seed):
        carry = step(carry, moved({name: array[rows] for name, array in arrays.items()}, rng))
    run = jax.jit(lambda x: module.apply({"params": carry[0], "batch_stats": carry[1]}, to_float(x), train=False))

    def detect(images: np.ndarray) -> list[Found]:
        found: list[Found] = []
        for part in np.array_split(images, -(-len(images) // 100)):
            logits, shapes = (np.asarray(array) for array in run(part))
            found += [decode(*pair) for pair in zip(logits, shapes, strict=True)]
        return found

    return detect


def decode(logits: np.ndarray, shapes: np.ndarray) -> Found:
    """The surest peaks of one picture's logits [s, s, K] with shapes [s, s, 3], overlapping ones suppressed."""
    padded = np.pad(logits, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    side = len(logits)
    around = np.max([padded[i : i + side, j : j + side] for i in range(3) for j in range(3)], axis=0)
    peaks = np.where(logits >= around, logits, -np.inf)
    order = np.argsort(-peaks, axis=None)[:_BOXES]
    rows, columns, labels = np.unravel_index(order, peaks.shape)
    shape = shapes[rows, columns]
    centres = (np.stack([rows, columns], 1) + shape[:, :2]) * STRIDE
    half = _SIDE * np.exp(shape[:, 2:].clip(-2, 2)) / 2
    scores = peaks[rows, columns, labels]
    boxes = np.concatenate([centres - half, centres + half], axis=1)
    real = np.isfinite(scores)
    return suppressed(Found(boxes[real], labels[real], scores[real]))
