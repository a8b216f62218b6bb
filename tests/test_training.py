"""The page: a run that is interrupted, resumed, watched and refused, through the real commands."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from tiny import ARCHITECTURES, SHAPES, tiny_config

import gan_jax
from gan_jax.config import to_dict
from gan_jax.errors import InputError
from gan_jax.program import Program, build
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.journal import Journal
from gan_jax.runtime.mesh import make_mesh
from gan_jax.training import AHEAD

# Trains every config named on the command line in one process, as a user's script would.
SCRIPT = """
import json, sys, gan_jax
from gan_jax.config import from_dict
for line in sys.stdin:
    workdir, tree = json.loads(line)
    gan_jax.train(from_dict(tree), workdir)
"""


def train_in_new_process(runs: dict[pathlib.Path, gan_jax.Config]) -> None:
    lines = "\n".join(json.dumps([str(workdir), to_dict(config)]) for workdir, config in runs.items())
    done = subprocess.run([sys.executable, "-c", SCRIPT], input=lines, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr


def state_at(workdir: pathlib.Path, config: gan_jax.Config, shape: tuple[int, ...], step: int):
    facts = json.loads((workdir / "dataset.json").read_text())
    program = build(config, shape, facts["num_classes"], make_mesh(jax.devices()[:1]))
    with Checkpoints(workdir / "checkpoints", keep=99) as checkpoints:
        return jax.device_get(checkpoints.restore(step, program.abstract_state)[0])


def test_resume_is_bitwise_for_every_architecture(tmp_path: pathlib.Path) -> None:
    """N steps == k steps + a new process + N - k steps, on toy, in-memory and streaming data."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(40):
        noise = np.random.default_rng(index).integers(0, 256, (9, 11, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"{index}.png")
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for index in range(40):
        noise = np.random.default_rng(index).integers(-9999, 9999, 64, dtype=np.int16)
        wavfile.write(sounds / f"{index}.wav", 8000, noise)
    words = tmp_path / "words.txt"
    words.write_text("\n".join(a + b + c for a in "abcd" for b in "aeiou" for c in "klmn"))
    own = {
        "r3gan": {"data.source": "folder", "data.path": str(photos), "data.residency": "stream"},
        "r3gan_1d": {"data.path": str(sounds), "data.residency": "stream"},
        "sequence": {"data.path": str(words)},
    }
    configs = {name: tiny_config(name, own.get(name)) for name in ARCHITECTURES}
    whole = {tmp_path / f"{name}_whole": config for name, config in configs.items()}
    train_in_new_process(whole)
    for name in ARCHITECTURES:
        shutil.copytree(tmp_path / f"{name}_whole", tmp_path / f"{name}_cut")
        kept = tmp_path / f"{name}_cut" / "checkpoints"
        steps = sorted(int(path.name) for path in kept.iterdir() if path.name.isdigit())
        assert 0 < steps[0] < 12 == steps[-1]
        for step in steps[1:]:
            shutil.rmtree(kept / str(step))
    train_in_new_process({tmp_path / f"{name}_cut": config for name, config in configs.items()})
    for name, config in configs.items():
        states = [state_at(tmp_path / f"{name}_{end}", config, SHAPES[name], 12) for end in ("whole", "cut")]
        assert int(states[0].step) == 12
        jax.tree.map(np.testing.assert_array_equal, *states)
        lines = [(tmp_path / f"{name}_{end}" / "metrics.jsonl").read_text().splitlines() for end in ("whole", "cut")]
        losses = [[json.loads(line).get("d_loss") for line in part if "d_loss" in line] for part in lines]
        assert losses[0] == losses[1] and len(losses[0]) >= 1


def command(root: pathlib.Path, workdir: pathlib.Path, *flags: str) -> list[str]:
    config = f"--config={root / 'configs' / 'digits.py'}"
    small = ["--config.model.g_width=16", "--config.model.d_width=16", "--config.data.batch_size=16"]
    return [sys.executable, "-m", "gan_jax.main", config, f"--workdir={workdir}", *small, *flags]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_same_line_resumes(
    tmp_path: pathlib.Path, root: pathlib.Path, number: int, code: int
) -> None:
    line = command(root, tmp_path / "run", "--config.log.metrics_images=160", "--config.total_images=16000000")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not (metrics.exists() and "d_loss" in metrics.read_text()):
        time.sleep(0.2)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert "Traceback" not in output and "resumes" in output
    (step,) = [int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit()]
    enough = f"--config.total_images={(step + 3) * 16}"
    again = subprocess.run([*line, enough], capture_output=True, text=True, timeout=180)
    assert again.returncode == 0, again.stderr
    assert gan_jax.load(tmp_path / "run").step == step + 3


def test_api_trains_loads_and_samples(tmp_path: pathlib.Path) -> None:
    config = tiny_config("dcgan", {"log.samples_images": 96, "model.conditional": True})
    gan = gan_jax.train(config, tmp_path / "run", devices=jax.devices()[:2])
    assert gan.step == 12
    pictures = sorted(path.name for path in (tmp_path / "run" / "samples").glob("*.png"))
    assert pictures == ["step_00000000.png", "step_00000006.png", "step_00000012.png"]
    again = gan_jax.load(tmp_path / "run")
    key = jax.random.key(5)
    images = np.asarray(again.sample(key, 11))
    assert images.shape == (11, 8, 8, 1) and np.abs(images).max() <= 1
    np.testing.assert_allclose(images, gan.sample(key, 11), atol=1e-5)
    threes = again.sample(key, 11, labels=[3])
    assert not np.allclose(threes, images)
    np.testing.assert_allclose(threes[3], images[3], atol=1e-6)  # image 3 of all classes in turn is a three
    features = again.features(images)
    assert features["logits"].shape == (11,) and features["pooled"].shape[0] == 11
    assert np.abs(np.asarray(again.latents(key, 500, truncation=0.7))).max() <= 0.7
    walk = np.asarray(again.interpolate(key, 2, 5)).reshape(2, 5, 8, 8, 1)
    assert walk.shape == (2, 5, 8, 8, 1) and not np.allclose(walk[:, 0], walk[:, -1])
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.9"):
        again.sample(key, 2, labels=[10])
    with pytest.raises(InputError, match="trained on"):
        again.features(np.zeros((1, 9, 9, 1)))


def test_dry_run_trains_nothing(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    done = subprocess.run(
        command(root, tmp_path / "run", "--dry_run"), capture_output=True, text=True, timeout=180, check=True
    )
    for word in ("generator", "discriminator", "FLOPs", "memory", '"batch_size": 16'):
        assert word in done.stdout
    assert not (tmp_path / "run").exists()


def test_sample_command_writes_each_kind_of_file(tmp_path: pathlib.Path) -> None:
    gan_jax.train(tiny_config("dcgan", {"model.conditional": True}), tmp_path / "run", jax.devices()[:1])
    outs = {"grid.png": [], "walk.png": ["--interpolate"], "some.npz": ["--labels=1,2"], "images": ["--truncation=0.7"]}
    line = [sys.executable, "-m", "gan_jax.sample", f"--workdir={tmp_path / 'run'}", "--num=16"]
    for name, flags in outs.items():
        subprocess.run([*line, f"--out={tmp_path / name}", *flags], check=True, timeout=180, capture_output=True)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size[0] > 32
    arrays = np.load(tmp_path / "some.npz")
    assert arrays["images"].shape == (16, 8, 8, 1) and arrays["images"].dtype == np.uint8
    assert arrays["labels"].tolist() == [1, 2] * 8
    assert len(list((tmp_path / "images").glob("*/*.png"))) == 16


def run_bad(tmp_path: pathlib.Path, module: str, *flags: str, code: int = 2) -> str:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", f"gan_jax.{module}", *flags],
        capture_output=True, text=True, timeout=180, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    return errors[0]


def test_bad_commands_end_in_one_line_and_exit_code_2(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    digits = f"--config={root / 'configs' / 'digits.py'}"
    np.savez(tmp_path / "set.npz", images=np.zeros((70, 8, 8, 1), np.uint8))
    unlabelled = "--config.data.source=npz", f"--config.data.path={tmp_path / 'set.npz'}"
    cases = {
        ("main",): "--config is missing",
        ("main", digits): "--workdir is missing",
        ("main", digits, "--workdir=run", "--config.data.batch_size=none"): "batch_size",
        ("main", digits, "--wrkdir=run"): "wrkdir",
        ("main", digits, "run"): "unexpected argument",
        ("main", digits, "--workdir=gs://bucket/run"): "mount the bucket",
        ("main", digits, "--workdir=run", "--config.model.conditional=true", *unlabelled): "needs labels",
        ("sample", "--workdir=nowhere", "--out=grid.png"): "nowhere",
        ("sample", "--workdir=nowhere", "--out=grid.png", "--num=zero"): "num",
    }
    for flags, message in cases.items():
        assert message in run_bad(tmp_path, *flags), flags
    nobody = ("--coordinator=127.0.0.1:1", "--processes=2", "--process=1", "--join_seconds=1")
    assert "start process 0 there" in run_bad(tmp_path, "main", digits, "--workdir=run", *nobody, code=4)
    assert [path.name for path in tmp_path.iterdir()] == ["set.npz"]


def test_steps_are_not_given_out_far_ahead_of_the_devices(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else Ctrl-C would have to wait for all of them, and progress would be shown that was not made."""

    @jax.jit
    def slow(value: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 100, lambda _, x: x @ x / 1e3, jax.numpy.full((300, 300), value)).sum()

    late: list[jax.Array] = []

    def make_program(*given: Any) -> Program:
        program = build(*given)
        step = program.step

        def slow_step(*given: Any) -> Any:
            state, metrics = step(*given)
            late.append(slow(metrics["d_loss"]))
            return state, metrics | {"late": late[-1]}

        program.__dict__["step"] = slow_step  # a cached property
        return program

    waiting: list[int] = []
    tick = Journal.tick
    monkeypatch.setattr(
        Journal, "tick", lambda self, step: (waiting.append(sum(not x.is_ready() for x in late)), tick(self, step))
    )
    rarely = {"step.per_dispatch": 1, "log.metrics_images": 0, "log.checkpoint_images": 0, "watchdog.enabled": False}
    gan_jax.train(tiny_config("mlp", rarely), tmp_path, jax.devices()[:1], make_program)
    assert len(waiting) == 12 and 0 < max(waiting) <= AHEAD
