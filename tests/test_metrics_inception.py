"""InceptionV3's names, shapes and files; its numbers are held against pytorch-fid's in tests/peers."""

import functools
import hashlib
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics import inception, storage


@functools.cache
def inception_state() -> dict[str, np.ndarray]:
    """A state dict of the right names and shapes, filled at random."""
    wanted = jax.eval_shape(inception.InceptionV3().init, jax.random.key(0), jnp.zeros((1, 299, 299, 3)))
    rng = np.random.default_rng(0)
    names = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var", "kernel": "weight"}
    state: dict[str, np.ndarray] = {"fc.bias": np.zeros(1008, np.float32)}
    for name, leaf in storage_leaves(wanted).items():
        *path, last = name.split("/")[1:]
        shape = leaf[::-1] if len(leaf) == 2 else (leaf[3], leaf[2], leaf[0], leaf[1]) if len(leaf) == 4 else leaf
        state[".".join([*path, names[last]])] = rng.random(shape, np.float32)
        if last == "var":
            state[".".join([*path, "num_batches_tracked"])] = np.array(1)
    return state


def storage_leaves(tree: object) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(part.key for part in path): leaf.shape for path, leaf in leaves}


def test_inception_has_the_shape_of_the_public_network() -> None:
    # torchvision's inception_v3 has 23,834,568 parameters without its auxiliary head, 2,049,000 of them in fc.
    convolutions = {name: array for name, array in inception_state().items() if not name.startswith("fc.")}
    learned = sum(a.size for name, a in convolutions.items() if name.endswith((".weight", ".bias")))
    assert learned == 23_834_568 - 2_049_000
    features, logits = jax.eval_shape(
        inception.apply_inception,
        storage.unflatten(inception.inception_arrays(inception_state())),
        jnp.zeros((2, 32, 32, 1)),
    )
    assert features.shape == (2, 2048) and logits.shape == (2, 1008)


def test_inception_weights_survive_a_file_and_are_checked(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "inception.npz"
    arrays = inception.inception_arrays(inception_state())
    digest = storage.save_arrays(path, arrays, {"kind": "inception"})
    network = inception.load_inception(path)
    assert network.digest == digest and network.size == 2048
    kernel = network.variables["params"]["Mixed_7c"]["branch3x3_2a"]["conv"]["kernel"]
    assert kernel.shape == (1, 3, 384, 384)
    np.testing.assert_array_equal(kernel[0, 1], inception_state()["Mixed_7c.branch3x3_2a.conv.weight"][:, :, 0, 1].T)
    storage.save_arrays(path, {"a": np.zeros(3)}, {"kind": "inception"})
    with pytest.raises(InputError, match="missing, unknown or misshapen"):
        inception.load_inception(path)


@pytest.mark.parametrize("change", ["missing", "unknown", "misshapen"])
def test_other_weights_are_refused(change: str) -> None:
    state = dict(inception_state())
    if change == "missing":
        del state["fc.weight"]
    elif change == "unknown":
        state["AuxLogits.conv0.conv.weight"] = np.zeros((1, 1, 1, 1))
    else:
        state["fc.weight"] = state["fc.weight"][:1000]
    with pytest.raises(InputError, match="1 arrays are missing, unknown or misshapen"):
        inception.inception_arrays(state)


def test_the_converter_wants_the_public_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "weights.pth"
    with pytest.raises(InputError, match="no such file"):
        inception.convert_inception(source, tmp_path / "out.npz")
    source.write_bytes(b"weights")
    found = hashlib.sha256(b"weights").hexdigest()[:8]
    with pytest.raises(InputError, match=f"begins {found}, not 6726825d"):
        inception.convert_inception(source, tmp_path / "out.npz")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="pip install torch"):
        inception.convert_inception(source, tmp_path / "out.npz", sha256=found)
    assert not (tmp_path / "out.npz").exists()
