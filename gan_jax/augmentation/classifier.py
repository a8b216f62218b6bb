"""The small network that generated images are to make better, and that filters them: same recipe whatever it is fed.

Imports adversarial, errors, metrics, models and recognition.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from gan_jax.adversarial.ada import augment
from gan_jax.adversarial.step import to_float
from gan_jax.errors import InputError
from gan_jax.metrics.storage import digest, flatten, load_arrays, save_arrays, unflatten
from gan_jax.models.layers import Conv, Dense, Dropout
from gan_jax.recognition.controls import batches

BATCH = 64
# Of ADA, each applied to an image with this probability: the best of a few choices on validation images of
# Fashion-MNIST, so that the control is no straw man. All its shoes point left: flips do not serve.
CLASSIC, CLASSIC_SHARE = ("translate", "cutout"), 0.5
_LEARNING_RATE, _WEIGHT_DECAY, _DROPOUT = 2e-3, 1e-3, 0.3
_PART = 1_000  # images classified at a time
_KIND = "augmentation classifier"


class Cnn(nn.Module):
    """Two strided 5x5 convolutions, a dense layer of 128 units, dropout before it and behind, a logit a class."""

    num_classes: int
    width: int = 16

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Maps images [B, H, W, C] in [-1, 1] to logits [B, K]."""
        x = nn.relu(Conv(self.width, (5, 5), strides=2, name="conv_1")(images))
        x = nn.relu(Conv(2 * self.width, (5, 5), strides=2, name="conv_2")(x))
        x = Dropout(_DROPOUT)(x.reshape(len(x), -1), train=train)  # [B, h, w, C] -> [B, h * w * C]
        x = Dropout(_DROPOUT)(nn.relu(Dense(128, name="hidden")(x)), train=train)
        return Dense(self.num_classes, name="logits")(x)


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Labelled images.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: int32 [N].
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: np.ndarray) -> "Images":
        """Those at rows int [M]."""
        return Images(self.images[rows], self.labels[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network.

    Attributes:
        module: its layers.
        params: its weights.
        shape: (H, W, C) of the images.
    """

    module: Cnn
    params: Any
    shape: tuple[int, ...]

    @property
    def digest(self) -> str:
        """sha256 of the weights: 64 hex digits."""
        return digest(flatten(self.params))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probability of each class, float32 [N, K], for uint8 [N, H, W, C]."""
        run = _applied(self.module)
        parts = [images[start : start + _PART] for start in range(0, len(images), _PART)]
        # Filled up, so that one program serves.
        padded = [np.concatenate([part, np.zeros((_PART - len(part), *self.shape), np.uint8)]) for part in parts]
        return np.concatenate([np.asarray(run(self.params, part)) for part in padded])[: len(images)]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The likeliest class of each image, int [N]."""
        return self.probabilities(images).argmax(axis=1)

    def accuracies(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Share of images it gets right, and that of each class [K], in percent."""
        right = self.predict(images) == labels
        by_class = [100 * float(right[labels == number].mean()) for number in np.unique(labels)]
        return 100 * float(right.mean()), np.array(by_class)


def train_classifier(
    parts: Sequence[tuple[Images, float]],
    num_classes: int,
    steps: int,
    seed: int,
    *,
    classic: bool = False,
    transforms: Sequence[str] = CLASSIC,
    width: int = 16,
) -> Classifier:
    """AdamW with a cosine schedule, 64 images a step, on one device; the same seed gives the same weights.

    Args:
        parts: sets, and the share of every batch that each fills; the shares add up to 1.
        num_classes: K.
        steps: of the training, the same for whatever is compared.
        seed: of weights, order, dropout and augmentation.
        classic: whether images are changed at random, by `transforms`.
        transforms: of ADA.
        width: channels of the first convolution.
    """
    module = Cnn(num_classes, width)
    shape = parts[0][0].images.shape[1:]
    start, step = _compiled(module, shape, steps, tuple(transforms) if classic else ())
    images = jnp.asarray(np.concatenate([part.images for part, _ in parts]))
    labels = jnp.asarray(np.concatenate([part.labels for part, _ in parts]).astype(np.int32))
    key = jax.random.key(seed)
    carry = start(key)
    for number, rows in enumerate(mixed_rows([len(part) for part, _ in parts], [s for _, s in parts], steps, seed)):
        carry = step(carry, jax.random.fold_in(key, number + 1), images, labels, rows)
    return Classifier(module, jax.device_get(carry[0]), shape)


def mixed_rows(counts: Sequence[int], shares: Sequence[float], steps: int, seed: int) -> Iterator[np.ndarray]:
    """Rows int32 [64] of every batch out of sets that lie one behind the other, each in epochs of its own.

    Args:
        counts: of the sets.
        shares: of a batch that each fills; they add up to 1.
        steps: batches.
        seed: of the orders.
    """
    ends = np.round(BATCH * np.cumsum(shares)).astype(int)
    sizes = np.diff(ends, prepend=0)
    if abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
        raise ValueError(f"shares {list(shares)} do not add up to 1")
    offsets = np.cumsum(counts) - np.asarray(counts)
    # A set smaller than its place in a batch comes several times in it.
    orders = [
        _endless(count, size, steps, seed + number)
        for number, (count, size) in enumerate(zip(counts, sizes, strict=True))
    ]
    for rows in zip(*orders, strict=True):
        yield np.concatenate([part + offset for part, offset in zip(rows, offsets, strict=True)]).astype(np.int32)


def _endless(count: int, size: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    if size == 0:
        return iter([np.empty(0, np.int64)] * steps)
    times = -(-size // count)
    return (rows % count for rows in batches(count * times, size, steps, seed))


def save_classifier(classifier: Classifier, path: Path, facts: dict[str, Any]) -> None:
    """Writes weights and facts to an .npz file."""
    shapes = {"classes": classifier.module.num_classes, "width": classifier.module.width, "shape": classifier.shape}
    save_arrays(path, flatten(classifier.params), {**facts, **shapes, "kind": _KIND})


def load_classifier(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """What `save_classifier` wrote, and its facts.

    Raises:
        InputError: it is missing, damaged, or another file.
    """
    arrays, facts = load_arrays(path)
    if facts.pop("kind", None) != _KIND:
        raise InputError(f"{path} is no classifier of gan_jax.augment: remove it, and it is trained again")
    module = Cnn(facts.pop("classes"), facts.pop("width"))
    return Classifier(module, unflatten(arrays), tuple(facts.pop("shape"))), facts


@functools.cache
def _applied(module: Cnn) -> Any:
    def run(params: Any, images: Array) -> Array:
        logits: Any = module.apply({"params": params}, to_float(images), train=False)
        return jax.nn.softmax(logits)

    return jax.jit(run)


@functools.cache  # one program for all sets that are compared
def _compiled(module: Cnn, shape: tuple[int, ...], steps: int, transforms: tuple[str, ...]) -> tuple[Any, Any]:
    """Key -> first carry; (carry, key, images, labels, rows) -> the next one."""
    optimizer = optax.adamw(optax.cosine_decay_schedule(_LEARNING_RATE, steps), weight_decay=_WEIGHT_DECAY)

    @jax.jit
    def start(key: Array) -> Any:
        params = module.init(key, jnp.zeros((1, *shape)), train=False)["params"]
        return params, optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry: Any, key: Array, images: Array, labels: Array, rows: Array) -> Any:
        params, state = carry
        move_key, drop_key = jax.random.split(key)
        seen = to_float(images[rows])
        if transforms:
            seen = augment(move_key, seen, jnp.float32(CLASSIC_SHARE), transforms, lambda array: array)

        def loss(params: Any) -> Array:
            logits: Any = module.apply({"params": params}, seen, train=True, rngs={"dropout": drop_key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    return start, step
