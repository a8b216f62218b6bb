"""The metrics against pytorch-fid, torch-fidelity and prdc on the same features, images and weights."""

import hashlib
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from torch_parts import torch_libraries

from gan_jax.metrics.features import extract
from gan_jax.metrics.frechet import frechet_distance, moments_of
from gan_jax.metrics.inception import apply_inception, convert_inception, load_inception
from gan_jax.metrics.kernel import kernel_distance_subsets
from gan_jax.metrics.manifold import manifold_scores
from gan_jax.metrics.scores import classifier_score

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]  # their warnings are theirs


def features(count: int, size: int, seed: int) -> np.ndarray:
    """Like the features of a ReLU network: not negative, correlated, sparse."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(size, size)) / np.sqrt(size)
    return np.maximum(rng.normal(0.1 * seed, 1.0 + 0.1 * seed, (count, size)) @ mixing + 0.3, 0).astype(np.float32)


@pytest.mark.parametrize(("count", "size"), [(2000, 128), (300, 400)])  # the second is singular
def test_frechet_distance(count: int, size: int) -> None:
    torch_libraries()
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    torch = torch_libraries()
    real, fake = features(count, size, 0), features(count, size, 1)
    found = frechet_distance(moments_of(real), moments_of(fake))
    statistics = [(part.astype(float).mean(axis=0), np.cov(part.astype(float), rowvar=False)) for part in (real, fake)]
    assert found == pytest.approx(float(calculate_frechet_distance(*statistics[0], *statistics[1])), rel=1e-4)
    theirs = [fid_features_to_statistics(torch.from_numpy(part.astype(float))) for part in (real, fake)]
    assert found == pytest.approx(fid_statistics_to_metric(*theirs, verbose=False)[KEY_METRIC_FID], rel=1e-4)


@pytest.mark.parametrize("size", [64, 512])
def test_kernel_distance(size: int) -> None:
    torch = torch_libraries()
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, fake = features(1500, size, 0), features(1400, size, 1)
    found = kernel_distance_subsets(real, fake, subsets=20, subset_size=300)
    exact = [torch.from_numpy(part.astype(np.float64)) for part in (real, fake)]
    theirs = kid_features_to_metric(*exact, kid_subsets=20, kid_subset_size=300, rng_seed=2020, verbose=False)
    assert found.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    assert found.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-4)


def test_classifier_score() -> None:
    torch = torch_libraries()
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 3 * np.random.default_rng(0).normal(size=(1003, 10)).astype(np.float32)
    for splits in (1, 10):
        theirs = isc_features_to_metric(torch.from_numpy(logits), splits=splits, shuffle=False)
        found = classifier_score(logits, splits)
        assert found.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-4)
        assert found.std == pytest.approx(theirs["inception_score_std"], rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("size", "offset"), [(2, 0.0), (128, 0.0), (128, 100.0)])
def test_precision_recall_density_coverage(size: int, offset: float) -> None:
    from prdc import compute_prdc

    rng = np.random.default_rng(0)
    real = (offset + rng.normal(size=(1500, size))).astype(np.float32)
    fake = (offset + rng.normal(0.1, 0.9, (1300, size))).astype(np.float32)
    theirs = compute_prdc(real, fake, nearest_k=5)
    for name, value in manifold_scores(real, fake)._asdict().items():
        assert value == pytest.approx(theirs[name], rel=1e-4), name


def test_precision_and_recall_of_torch_fidelity() -> None:
    torch = torch_libraries()
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    real, fake = features(900, 16, 0), features(800, 16, 1)
    theirs = calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real), neighborhood=3)
    found = manifold_scores(real, fake, k=3)
    assert (found.precision, found.recall) == pytest.approx(theirs, rel=1e-4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A weights file like the public one, randomly filled so that activations keep their size through the layers."""
    torch = torch_libraries()
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    random = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for name, value in state.items():
        if value.ndim == 4:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=random)
        elif name.endswith(("bn.weight", "running_var")):
            value.uniform_(0.5, 1.5, generator=random)
        elif value.ndim:
            value.normal_(0, 0.1, generator=random)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def network(weights: pathlib.Path) -> Any:
    """Our InceptionV3 with those weights, through the converter."""
    torch_libraries()
    target = weights.with_suffix(".npz")
    convert_inception(weights, target, sha256=hashlib.sha256(weights.read_bytes()).hexdigest()[:8])
    return load_inception(target)


@pytest.mark.parametrize("shape", [(299, 299, 3), (32, 32, 3), (28, 28, 1), (320, 400, 3)])
def test_inception_features(
    shape: tuple[int, int, int], weights: pathlib.Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = torch_libraries()
    import pytorch_fid.inception

    monkeypatch.setattr(
        pytorch_fid.inception, "load_state_dict_from_url", lambda *_, **__: torch.load(weights, weights_only=True)
    )
    theirs = pytorch_fid.inception.InceptionV3().eval()
    images = np.random.default_rng(0).integers(256, size=(3, *shape), dtype=np.uint8)
    colours = np.repeat(images, 3, axis=-1) if shape[-1] == 1 else images
    with torch.no_grad():
        expected = theirs(torch.from_numpy(colours.transpose(0, 3, 1, 2) / 255).float())[0][:, :, 0, 0].numpy()
    found = extract(network, images, batch_size=2).features
    assert 0.1 < np.abs(expected).max() < 100
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_inception_logits(weights: pathlib.Path, network: Any) -> None:
    torch = torch_libraries()
    from torch_fidelity import FeatureExtractorInceptionV3

    theirs = FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )
    images = np.random.default_rng(1).integers(256, size=(2, 299, 299, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = [part.numpy() for part in theirs(torch.from_numpy(images.transpose(0, 3, 1, 2)))]
    # It scales bytes by (x - 128) / 128, as TensorFlow's graph did; FID's usual range is x / 127.5 - 1.
    found = jax.jit(apply_inception)(network.variables, (images.astype(np.float32) - 128) / 128)
    for mine, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, reference, atol=1e-4 * np.abs(reference).max())
