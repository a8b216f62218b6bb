"""Feature networks and extraction: one result for every batching and device count; what is stored is checked."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metrics_digits import devices, digits, trained
from sklearn.decomposition import PCA

from gan_jax.errors import InputError
from gan_jax.metrics import classifier, pca, storage
from gan_jax.metrics.classifier import load_classifier, save_classifier, train_classifier
from gan_jax.metrics.features import extract
from gan_jax.metrics.frechet import frechet_distance, moments_of
from gan_jax.metrics.modes import stacked_labels
from gan_jax.metrics.pca import fit_pca


def test_the_classifier_learns_the_digits() -> None:
    assert trained().accuracy > 0.95
    assert trained().network.num_classes == 10


def test_one_seed_gives_one_classifier() -> None:
    assert train_classifier(*(digits()[i % 2][:200] for i in range(4)), epochs=1).network.digest == (
        train_classifier(*(digits()[i % 2][:200] for i in range(4)), epochs=1).network.digest
    )


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("batch_size", [10, 256])
def test_features_do_not_depend_on_batches_devices_or_order(count: int, batch_size: int) -> None:
    images, network = digits()[0][:75], trained().network
    whole = extract(network, images)
    assert whole.features.shape == (75, network.size) and whole.features.dtype == np.float32
    found = extract(network, images, batch_size=batch_size, sharding=devices(count))
    np.testing.assert_allclose(found.features, whole.features, atol=1e-4)
    assert found.logits is not None and whole.logits is not None
    np.testing.assert_allclose(found.logits, whole.logits, atol=1e-4)
    backwards = moments_of(extract(network, images[::-1], batch_size=batch_size, sharding=devices(count)).features)
    moments = moments_of(whole.features)
    assert frechet_distance(moments, backwards) < 1e-4 * np.trace(moments.covariance)


def test_a_stream_of_uneven_batches_gives_the_same_and_compiles_once() -> None:
    images, network = digits()[0][:75], fit_pca(digits()[0][:300], 5)
    traces = []

    def counted(variables: object, batch: jax.Array) -> tuple[jax.Array, None]:
        traces.append(batch.shape)
        return pca.apply_pca(variables, batch)

    network = dataclasses.replace(network, apply=counted)
    stream = (jnp.asarray(part) for part in np.split(images, [3, 3, 40, 74]))
    np.testing.assert_allclose(
        extract(network, stream, batch_size=16).features, extract(network, images, batch_size=16).features, atol=1e-5
    )
    assert traces == [(16, 8, 8, 1)]


def test_bytes_and_floats_are_the_same_image() -> None:
    images, network = digits()[0][:20], trained().network
    floats = images.astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(extract(network, floats).features, extract(network, images).features, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 8, 8)), "images must be"),
        (np.zeros((3, 9, 8, 1), np.uint8), "made for images"),
        (np.zeros((3, 8, 8, 1), np.int64), "uint8, or floats"),
        (np.full((3, 8, 8, 1), 7.0), "outside"),
        (np.full((3, 8, 8, 1), np.nan), "NaN"),
        (np.zeros((0, 8, 8, 1), np.uint8), "no images"),
        ([np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 8, 8, 1), np.float32)], "different shape or type"),
    ],
)
def test_bad_images_are_refused(images: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        extract(trained().network, images)


def test_channels_of_a_stack_are_labelled_one_by_one() -> None:
    images, labels = digits()[0][1200:1290], digits()[1][1200:1290]
    stacks = np.concatenate([images[:30], images[30:60], images[60:]], axis=-1)
    found = stacked_labels(trained().network, stacks)
    assert found.shape == (30, 3)
    assert (found == labels.reshape(3, 30).T).mean() > 0.9
    with pytest.raises(InputError, match="no logits"):
        stacked_labels(fit_pca(images, 3), stacks)


def test_a_classifier_survives_a_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "judge.npz"
    digest = save_classifier(trained(), path)
    again = load_classifier(path, digest[:16])
    assert again.network.digest == digest and again.accuracy == trained().accuracy and again.facts == trained().facts
    images = digits()[0][:10]
    np.testing.assert_array_equal(extract(again.network, images).features, extract(trained().network, images).features)
    assert f'"sha256": "{digest}"' in path.with_suffix(".json").read_text()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other", "missing", "digest"])
def test_a_damaged_classifier_is_refused(tmp_path: pathlib.Path, damage: str) -> None:
    path = tmp_path / "judge.npz"
    save_classifier(trained(), path)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "empty":
        content.clear()
    path.write_bytes(content)
    if damage == "other":
        storage.save_arrays(path, {"a": np.zeros(3)}, {"kind": "else"})
    elif damage == "missing":
        path.unlink()
    with pytest.raises(InputError, match="judge.npz"):
        load_classifier(path, "0123" if damage == "digest" else None)


def test_a_changed_array_is_noticed_even_in_a_whole_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "arrays.npz"
    storage.save_arrays(path, {"a": np.arange(3)}, {})
    with np.load(path) as file:
        arrays = dict(file)
    arrays["a"] = arrays["a"] + 1
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="damaged"):
        storage.load_arrays(path)


def test_training_refuses_bad_sets() -> None:
    images, labels = digits()[0][:20], digits()[1][:20]
    with pytest.raises(InputError, match="uint8"):
        train_classifier(images / 255, labels, images, labels)
    with pytest.raises(InputError, match="20 whole numbers"):
        train_classifier(images, labels[:19], images, labels)
    with pytest.raises(InputError, match="2 classes"):
        train_classifier(images, labels * 0, images, labels * 0)
    with pytest.raises(InputError, match="differ"):
        train_classifier(images, labels, images[:, :7], labels)


def test_pca_finds_the_axes_of_scikit_learn() -> None:
    images = digits()[0]
    pixels = images.reshape(len(images), -1) / 127.5 - 1
    reference = PCA(10, svd_solver="full").fit(pixels)
    network = fit_pca(images, 10)
    found, expected = extract(network, images).features, reference.transform(pixels)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    assert network.digest == fit_pca(images, 10).digest != fit_pca(images[1:], 10).digest


def test_pca_of_large_images_agrees_with_the_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    images = digits()[0][:500]
    expected = extract(fit_pca(images, 12), images).features
    monkeypatch.setattr(pca, "_MOST_PIXELS", 10)
    np.testing.assert_allclose(extract(fit_pca(images, 12), images).features, expected, atol=1e-4)


def test_pca_takes_no_more_components_than_there_are() -> None:
    assert fit_pca(digits()[0][:6], 64).size == 5
    with pytest.raises(InputError, match="components=0"):
        fit_pca(digits()[0], 0)
    with pytest.raises(InputError, match="uint8"):
        fit_pca(digits()[0] / 255)


def test_the_small_network_strides_and_never_pools() -> None:
    program = jax.jit(classifier.SmallNetwork(10).init_with_output).lower(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    assert "reduce_window" not in program.as_text()
