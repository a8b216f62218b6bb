"""Scores of runs, folders and arrays, beside their floor; and the best checkpoint kept by them."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import tiny_config

import gan_jax
from gan_jax.config import EvaluationConfig
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.evaluation.judges import IMAGE_METRICS
from gan_jax.evaluation.making import judge_for, make_judge
from gan_jax.evaluation.scoring import evaluate, table

SCORED = {"evaluation.every_images": 80, "evaluation.count": 120, "data.image_size": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A tiny run that was scored while it trained."""
    workdir = tmp_path_factory.mktemp("scored") / "run"
    config = tiny_config("mlp", SCORED | {"data.source": "digits", "data.channels": 1})
    gan_jax.train(config, workdir, jax.devices()[:1])
    return workdir


def test_training_writes_scores_and_keeps_the_best(run: pathlib.Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scored = [line for line in lines if "fid" in line]
    assert len(scored) >= 2 and all(np.isfinite(line["fid"]) and "coverage" in line for line in scored)
    best = min(scored, key=lambda line: line["fid"])
    assert gan_jax.load(run, "best").step == best["step"]


def test_scores_stand_beside_their_floor(run: pathlib.Path) -> None:
    result = evaluate(run, num=150)
    assert {"fid", "kid", "precision", "recall", "density", "coverage", "classifier_score"} <= set(result["scores"])
    assert {"class_share_min", "nn_ratio", "copied_share"} <= set(result["scores"])
    assert result["scores"]["count"] == 150
    # Real digits look more like real digits than the samples of an untrained pair.
    assert result["floor"]["fid"] < 0.2 * result["scores"]["fid"]
    assert result["floor"]["coverage"] > 0.8 > result["scores"]["coverage"]
    assert "fid" in table(result) and result["features"]["digest"][:12] in table(result)


def test_memorisation_alone_has_no_floor(run: pathlib.Path) -> None:
    result = evaluate(run, num=150, metrics=["memorisation"])
    assert set(result["scores"]) == {"count", "nn_ratio", "copied_share"} and result["floor"] == {}


def test_command_scores_a_run_an_npz_and_a_folder(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    real = load_source(gan_jax.load(run).config.data, "test").read(np.arange(200))["image"]
    np.savez(tmp_path / "real.npz", images=real)
    (tmp_path / "real").mkdir()
    for index, image in enumerate(real):
        Image.fromarray(image[..., 0]).save(tmp_path / "real" / f"{index:03d}.png")
    line = [sys.executable, "-m", "gan_jax.evaluate", f"--workdir={run}", "--metrics=fid,prdc", "--num=200"]
    fids = {}
    for images in ("", "real.npz", "real"):
        flags = [f"--images={tmp_path / images}", f"--out={tmp_path / 'scores.json'}"] if images else []
        done = subprocess.run([*line, *flags], capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr
        place = tmp_path / "scores.json" if images else run / "scores.json"
        fids[images] = json.loads(place.read_text())["scores"]["fid"]
        assert "coverage" in done.stdout
    assert fids["real.npz"] == pytest.approx(fids["real"], rel=1e-4)
    assert fids["real"] < 0.1 * fids[""]


def test_bad_requests_are_one_line(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="unknown metric; choose of fid"):
        evaluate(run, metrics=["fed"])
    with pytest.raises(InputError, match="resize|trained|shape"):
        gan = gan_jax.load(run)
        judge = judge_for(gan.config)
        judge.scores(np.zeros((10, 9, 9, 1), np.uint8), ["fid"])
    with pytest.raises(InputError, match="workdir of gan_jax.main"):
        evaluate(tmp_path)


def test_points_are_scored_by_their_modes(tmp_path: pathlib.Path) -> None:
    config = tiny_config("mlp", {"evaluation.every_images": 96})
    gan_jax.train(config, tmp_path / "run", jax.devices()[:1])
    result = evaluate(tmp_path / "run")
    assert result["floor"]["modes"] == 8 and result["floor"]["high_quality"] > 97
    assert 0 <= result["scores"]["modes"] <= 8
    with pytest.raises(InputError, match="choose of modes"):
        evaluate(tmp_path / "run", metrics=["fid"])
    assert "reverse_kl" in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_set_without_labels_or_test_split_is_halved_and_seen_through_pca(tmp_path: pathlib.Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images)
    config = tiny_config("dcgan", {"data.source": "npz", "data.path": str(tmp_path / "set.npz"), "data.channels": 3})
    judge = make_judge(config.data, EvaluationConfig(count=100))
    assert judge.network.name.startswith("pca") and len(judge.train) == 150 and len(judge.held_out) == 100
    scores = judge.scores(judge.held_out, [name for name in IMAGE_METRICS if name != "memorisation"])
    assert scores["fid"] == pytest.approx(0, abs=1e-3) and scores["coverage"] == 1
    assert "classifier_score" not in scores
