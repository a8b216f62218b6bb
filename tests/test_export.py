"""An exported pair draws the same images, bit for bit, where the training code and its libraries are missing."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import ARCHITECTURES, tiny_program

import gan_jax
from gan_jax import exporting
from gan_jax.errors import InputError
from gan_jax.exported import flat
from gan_jax.gan import Gan, from_state

# What a machine without training code lacks: everything that gan_jax itself brings, but JAX and NumPy.
MISSING = ("flax", "optax", "orbax", "flatbuffers", "safetensors", "pydantic", "absl", "grain", "PIL", "tensorstore",
           "sklearn", "tqdm", "tensorboardX", "tensorflow_datasets", "platformdirs")  # fmt: skip
ALONE = """
    import sys

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {missing}:
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Missing())
    import gan_jax, jax, numpy as np

    pair = gan_jax.load_exported(sys.argv[1])
    key = jax.random.key(3)
    found = {{str(num): np.asarray(pair.sample(key, num)) for num in (1, 7, 64)}}
    found |= {{f"logits{{num}}": pair.features(found[str(num)])["logits"] for num in (1, 7, 64)}}
    np.savez(sys.argv[2], walk=np.asarray(pair.interpolate(key, 2, 4)), **found)
    assert not {missing} & {{name.split(".")[0] for name in sys.modules}}
"""


def pair_of(architecture: str) -> Gan:
    """A fresh pair whose averaged generator is not all zeros."""
    program = tiny_program(architecture)
    state = program.init(np.uint32(1))
    return from_state(program, state, [str(number) for number in range(program.num_classes)])


@pytest.fixture(scope="module")
def trained(small_run: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The small run, in workdir `run`, exported to `out` beside it."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "run").symlink_to(small_run)
    exporting.export(folder / "run", folder / "out")
    return folder


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_gives_the_same_images_and_features_at_any_batch(
    architecture: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gan = pair_of(architecture)
    monkeypatch.setattr(exporting, "load", lambda workdir, checkpoint: gan)
    exporting.export("nowhere", tmp_path)
    pair = gan_jax.load_exported(tmp_path)
    for num in (1, 7, 64):
        images = np.asarray(pair.sample(jax.random.key(num), num))
        np.testing.assert_array_equal(images, np.asarray(gan.sample(jax.random.key(num), num)))
        if num == 7:
            theirs, ours = pair.features(images), gan.features(images)
            assert theirs.keys() == ours.keys() and "pooled" in ours
            for name in ours:
                np.testing.assert_array_equal(theirs[name], ours[name], err_msg=name)


def run_alone(python: str, code: str, folder: pathlib.Path, out: pathlib.Path, package: pathlib.Path | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"JAX_PLATFORMS": "cpu"} | ({"PYTHONPATH": str(package)} if package else {})
    done = subprocess.run(
        [python, "-c", textwrap.dedent(code), str(folder), str(out)],
        capture_output=True, text=True, timeout=300, env=environment, cwd=out.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def check_alone(trained: pathlib.Path, out: pathlib.Path) -> None:
    gan, key = gan_jax.load(trained / "run"), jax.random.key(3)
    found = np.load(out)
    for num in (1, 7, 64):
        np.testing.assert_array_equal(found[str(num)], np.asarray(gan.sample(key, num)))
        np.testing.assert_array_equal(found[f"logits{num}"], gan.features(found[str(num)])["logits"])
    np.testing.assert_array_equal(found["walk"], np.asarray(gan.interpolate(key, 2, 4)))


def test_a_process_without_training_code_draws_the_same_images(
    trained: pathlib.Path, tmp_path: pathlib.Path, root: pathlib.Path
) -> None:
    code = ALONE.format(missing=set(MISSING))
    run_alone(sys.executable, code, trained / "out", tmp_path / "found.npz", root)
    check_alone(trained, tmp_path / "found.npz")


@pytest.mark.environment
def test_an_environment_with_only_jax_and_numpy_draws_the_same_images(
    trained: pathlib.Path, tmp_path: pathlib.Path, root: pathlib.Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, f"jax=={jax.__version__}", "numpy"], check=True, timeout=500)
    subprocess.run([*install, "--no-deps", root], check=True, timeout=300)  # as docs/look.md says
    code = ALONE.format(missing=set(MISSING))
    run_alone(python, code, trained / "out", tmp_path / "found.npz", None)
    check_alone(trained, tmp_path / "found.npz")


def test_the_folder_tells_what_it_holds(trained: pathlib.Path) -> None:
    gan, card = gan_jax.load(trained / "run"), json.loads((trained / "out" / "card.json").read_text())
    assert card["step"] == gan.step and card["shape"] == [8, 8, 1] and card["platforms"] == ["cpu", "cuda", "tpu"]
    assert card["generator_classes"] == 10 and len(card["class_names"]) == 10
    weights = load_file(trained / "out" / "generator.safetensors")  # by the library of that name
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(gan.ema.params)]
    of_params = [array for name, array in weights.items() if name.startswith("params/")]
    assert (
        sum(array.size for array in of_params) == sum(leaf.size for leaf in leaves) == card["parameters"]["generator"]
    )
    assert sorted(float(a.sum()) for a in of_params) == sorted(float(leaf.sum()) for leaf in leaves)


def test_labels_and_truncation_are_those_of_the_run(trained: pathlib.Path) -> None:
    gan, pair, key = gan_jax.load(trained / "run"), gan_jax.load_exported(trained / "out"), jax.random.key(0)
    ours = gan.sample(key, 5, labels=[2, 3], truncation=0.5)
    np.testing.assert_array_equal(np.asarray(pair.sample(key, 5, labels=[2, 3], truncation=0.5)), np.asarray(ours))
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.9"):
        pair.sample(key, 5, labels=[10])
    with pytest.raises(InputError, match=r"z must have shape \[N, 8\]"):
        pair.generate(np.zeros((2, 9)))
    with pytest.raises(InputError, match=r"images must have shape \[N, 8, 8, 1\]"):
        pair.features(np.zeros((2, 9, 9, 1)))


def test_a_discriminator_of_packs_is_left_out(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tiny_program("dcgan", changes={"model.pack": 2})
    gan = from_state(program, program.init(np.uint32(0)), [])
    monkeypatch.setattr(exporting, "load", lambda workdir, checkpoint: gan)
    exporting.export("nowhere", tmp_path, platforms=["cpu"])
    pair = gan_jax.load_exported(tmp_path)
    assert pair.sample(jax.random.key(0), 2).shape == (2, 8, 8, 1)
    with pytest.raises(InputError, match="no discriminator"):
        pair.features(np.zeros((2, 8, 8, 1)))


def test_damage_and_wrong_folders_are_one_clear_line(trained: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"card.json is missing: make the folder with gan_jax.export"):
        gan_jax.load_exported(tmp_path)
    for name in ("generator.jaxexport", "generator.safetensors", "discriminator.safetensors"):
        for path in (trained / "out").iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        content = bytearray((tmp_path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} is not the file that card.json names"):
            gan_jax.load_exported(tmp_path)
    card = json.loads((trained / "out" / "card.json").read_text())
    for changes, message in (
        ({"format": 99}, "newer than this gan_jax"),
        ({"platforms": ["tpu"]}, "exported for tpu, this machine is cpu"),
        ({"networks": ["mind"]}, "is damaged"),
    ):
        (tmp_path / "card.json").write_text(json.dumps({**card, **changes}))
        with pytest.raises(InputError, match=message):
            gan_jax.load_exported(tmp_path)
    (tmp_path / "card.json").write_text("[")
    with pytest.raises(InputError, match="is damaged"):
        gan_jax.load_exported(tmp_path)


def test_the_command_writes_and_refuses(trained: pathlib.Path, tmp_path: pathlib.Path) -> None:
    line = [sys.executable, "-m", "gan_jax.export", f"--workdir={trained / 'run'}", f"--out={tmp_path / 'out'}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0 and "load_exported" in done.stdout, done.stderr
    assert gan_jax.load_exported(tmp_path / "out").card["step"] == 12
    for flag, message in (("--platforms=abacus", "abacus: unknown"), ("--checkpoint=last", "must be newest, best")):
        bad = subprocess.run([*line, flag], capture_output=True, text=True, timeout=180)
        assert bad.returncode == 2 and message in bad.stderr and "Traceback" not in bad.stderr


def test_the_reader_of_flatbuffers_agrees_with_the_library(trained: pathlib.Path) -> None:
    import flatbuffers

    content = (trained / "out" / "discriminator.jaxexport").read_bytes()
    place = int(flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0))
    theirs, ours = flatbuffers.table.Table(content, place), flat._Table(content, place)
    vectors = 0
    for slot in range(4, 60, 2):
        assert ours.Offset(slot) == theirs.Offset(slot)
        offset = ours.Offset(slot)
        if slot in (10, 12, 22, 28):  # vectors: of tables, of offsets, of bytes, of numbers
            vectors += 1
            assert ours.VectorLen(offset) == theirs.VectorLen(offset) and ours.Vector(offset) == theirs.Vector(offset)
    assert vectors == 4
    assert ours.String(ours.Offset(6) + place) == theirs.String(theirs.Offset(6) + place)
    with pytest.raises(ValueError, match=r"buffer|offset"):
        flat._Table(b"\xff\xff\xff\x7f", 0).Offset(4)
