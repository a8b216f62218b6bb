"""Real digits, a classifier trained on them, and shardings, for tests of the metrics."""

import functools

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from sklearn.datasets import load_digits

from gan_jax.metrics.classifier import Classifier, train_classifier


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 real grey 8x8 images, shuffled, and their labels."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return (data.images[order] / 16 * 255).round().astype(np.uint8)[..., None], data.target[order]


@functools.cache
def trained() -> Classifier:
    """Trained on the first 1,200 digits, tested on the rest."""
    images, labels = digits()
    return train_classifier(images[:1200], labels[:1200], images[1200:], labels[1200:], epochs=4, batch_size=32)


def devices(count: int) -> NamedSharding:
    """Rows split over the first devices."""
    mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])
    return NamedSharding(mesh, PartitionSpec("data"))
