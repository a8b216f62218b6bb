"""A small classifier, trained from a seed on a data set's own labels, whose features score images and signals.

It strides instead of pooling: the gradient of max-pooling is slow on CPU. Imports errors, storage, features, spectra.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.errors import InputError
from gan_jax.metrics import storage
from gan_jax.metrics.features import FeatureNetwork, extract, to_float
from gan_jax.metrics.spectra import LONG, as_picture, moved

FEATURES = 128
_LEARNING_RATE, _WEIGHT_DECAY = 2e-3, 0.05


class SmallNetwork(nn.Module):
    """Two strided 5x5 convolutions, a dense layer of features, a dense layer of logits.

    Signals are seen as `spectra.as_picture` draws them; short ones, which are one column wide, by three convolutions.
    """

    num_classes: int

    @nn.compact
    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Images float32 [B, H, W, C] or signals [B, L, C] in [-1, 1] -> features [B, 128] and logits [B, K].

        Features are those after the ReLU. A key moves the spectrograms of long signals at random, for training.
        """
        x = as_picture(images) if images.ndim == 3 else images
        if key is not None and images.ndim == 3 and images.shape[1] >= LONG:
            x = moved(key, x)
        window = (5, min(5, x.shape[2]))
        layer = functools.partial(nn.Conv, kernel_size=window, strides=2, precision=jax.lax.Precision.HIGHEST)
        for width in (32, 64) if window[1] > 1 else (32, 64, 64):
            x = nn.relu(layer(width)(x))
        x = x.reshape(len(x), -1)  # [B, H/4, W/4, 64] -> [B, H/4 * W/4 * 64]
        dense = functools.partial(nn.Dense, precision=jax.lax.Precision.HIGHEST)
        features = nn.relu(dense(FEATURES)(x))
        return features, dense(self.num_classes, name="logits")(features)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier.

    Attributes:
        network: its features and logits.
        accuracy: share of the test images that it gets right, 0 to 1.
        facts: seed, epochs, counts and library versions of the training.
    """

    network: FeatureNetwork
    accuracy: float
    facts: dict[str, Any]


def apply_classifier(variables: Any, images: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Features and logits; the number of classes is read off the weights."""
    outputs: Any = SmallNetwork(variables["params"]["logits"]["bias"].shape[0]).apply(variables, images, key)
    return outputs


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    *,
    seed: int = 0,
    epochs: int = 5,
    batch_size: int = 128,
) -> Classifier:
    """Trains on one device with AdamW and a cosine schedule; the same seed gives the same weights on one machine.

    Args:
        images: uint8 [N, H, W, C], or signals float [N, L, C] in [-1, 1].
        labels: int [N], 0 to K - 1.
        test_images: the same, not trained on.
        test_labels: int [M].
        seed: of the parameters and the order of the images.
        epochs: passes over the images.
        batch_size: images a step.

    Raises:
        InputError: shapes, types or counts do not fit.
    """
    images, labels = _checked(images, labels, "images")
    test_images, test_labels = _checked(test_images, test_labels, "test_images")
    if images.shape[1:] != test_images.shape[1:]:
        raise InputError(f"train_classifier: images {images.shape[1:]} and test_images {test_images.shape[1:]} differ")
    num_classes = int(max(labels.max(), test_labels.max())) + 1
    if num_classes < 2 or epochs < 1 or batch_size < 1:
        raise InputError(
            f"train_classifier: needs 2 classes, 1 epoch and batch_size 1, not {num_classes}, {epochs}, {batch_size}"
        )
    batch_size = min(batch_size, len(images))
    params = SmallNetwork(num_classes).init(jax.random.key(seed), jnp.zeros((1, *images.shape[1:])))["params"]
    params = _fit(params, images, labels, seed=seed, epochs=epochs, batch_size=batch_size)
    facts = {
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "train_count": len(images),
        "test_count": len(test_images),
        "platform": jax.default_backend(),
        "versions": {name: version(name) for name in ("jax", "flax", "optax", "numpy")},
    }
    network = _network({"params": jax.device_get(params)}, images.shape[1:], num_classes)
    logits = extract(network, test_images).logits
    assert logits is not None
    return Classifier(network, float((logits.argmax(axis=1) == test_labels).mean()), facts)


def signal_epochs(signals: np.ndarray, batch_size: int = 128) -> int:
    """Passes over signals [N, L, C] that make about as many steps whatever their number.

    Short signals, which are looked at as they are, take 2,000 steps; spectrograms are learned in 800.
    """
    steps = 800 if signals.shape[1] >= LONG else 2_000
    return max(1, round(steps / max(1, len(signals) // batch_size)))


def save_classifier(classifier: Classifier, path: str | Path) -> str:
    """Writes weights and facts to path (.npz), and the facts for readers to a .json beside it; returns the digest."""
    path = Path(path)
    network = classifier.network
    facts = {
        "kind": "classifier",
        "accuracy": classifier.accuracy,
        "image_shape": list(network.image_shape or ()),
        "num_classes": network.num_classes,
        **classifier.facts,
    }
    digest = storage.save_arrays(path, storage.flatten(network.variables), facts)
    text = json.dumps({**facts, "sha256": digest}, indent=2, sort_keys=True)
    storage.write_bytes(path.with_suffix(".json"), (text + "\n").encode())
    return digest


def load_classifier(path: str | Path, digest: str | None = None) -> Classifier:
    """Reads what `save_classifier` wrote.

    Args:
        path: the .npz file.
        digest: sha256 of the weights that are expected, or how it begins; None takes any.

    Raises:
        InputError: the file is missing, damaged, of another kind, or has another digest.
    """
    arrays, facts = storage.load_arrays(Path(path))
    if facts.pop("kind", None) != "classifier":
        raise InputError(f"{path}: not a classifier file: train one with train_classifier")
    found = facts.pop("digest")
    if digest is not None and not found.startswith(digest):
        raise InputError(f"{path}: weights have the digest {found[:12]}, not {digest[:12]}: scores would not compare")
    shape, num_classes = tuple(facts.pop("image_shape")), facts.pop("num_classes")
    return Classifier(_network(storage.unflatten(arrays), shape, num_classes), facts.pop("accuracy"), facts)


def _network(variables: dict[str, Any], image_shape: tuple[int, ...], num_classes: int) -> FeatureNetwork:
    return FeatureNetwork(
        name="classifier",
        digest=storage.digest(storage.flatten(variables)),
        size=FEATURES,
        num_classes=num_classes,
        image_shape=image_shape,
        variables=variables,
        apply=apply_classifier,
    )


def _fit(params: Any, images: np.ndarray, labels: np.ndarray, *, seed: int, epochs: int, batch_size: int) -> Any:
    steps = len(images) // batch_size  # an epoch leaves out what does not fill a batch
    optimizer = optax.adamw(optax.cosine_decay_schedule(_LEARNING_RATE, steps * epochs), weight_decay=_WEIGHT_DECAY)
    step = _step(optimizer)
    state = optimizer.init(params)
    all_images, all_labels = jnp.asarray(images), jnp.asarray(labels)
    root = jax.random.key(seed)
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(images)).astype(np.int32)
        for number in range(steps):
            batch = order[number * batch_size : (number + 1) * batch_size]
            key = jax.random.fold_in(root, epoch * steps + number)
            params, state = step(params, state, all_images, all_labels, batch, key)
    return params


def _step(optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    def loss(params: Any, images: jax.Array, labels: jax.Array, key: jax.Array) -> jax.Array:
        _, logits = apply_classifier({"params": params}, to_float(images), key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(
        params: Any, state: Any, images: jax.Array, labels: jax.Array, batch: jax.Array, key: jax.Array
    ) -> tuple[Any, Any]:
        gradient = jax.grad(loss)(params, images[batch], labels[batch], key)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    return step


def _checked(images: np.ndarray, labels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = np.asarray(images), np.asarray(labels)
    fits = images.dtype == np.uint8 if images.ndim == 4 else images.dtype == np.float32 and images.ndim == 3
    if not fits or not len(images):
        raise InputError(
            f"train_classifier: {name} must be uint8 [N, H, W, C] or float32 [N, L, C],"
            f" not {images.dtype} {list(images.shape)}"
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise InputError(f"train_classifier: labels of {name} must be {len(images)} whole numbers from 0 up")
    return images, labels.astype(np.int32)
