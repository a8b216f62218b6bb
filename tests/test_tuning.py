"""Searches with real training on the digits: resumed after kill -9, shared by processes, and one line for bad input."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optuna
import pytest
from PIL import Image
from processes import TIMEOUT, finish, start, write_config

from gan_jax.benchmark.suites.tuning import Protocol, Task, best_until, make_suite
from gan_jax.config import Config, load_config, to_dict
from gan_jax.errors import InputError
from gan_jax.search import cohorts, findings
from gan_jax.search.cohorts import Member, train_cohort
from gan_jax.search.plans import Trial
from gan_jax.search.study import default_storage, opened_storage
from gan_jax.search.tuning import Request, tune

TINY: dict[str, Any] = {
    "data.source": "digits",
    "data.image_size": 8,
    "data.batch_size": 16,
    "total_images": 16 * 64,
    "model.architecture": "mlp",
    "model.g_width": 16,
    "model.d_width": 16,
    "model.blocks": 1,
    "loss.name": "relativistic",
    "penalty.r1": 0.5,
    "penalty.r2": 0.5,
    "step.per_dispatch": 4,
    "evaluation.count": 100,
    "evaluation.features": "pca",
    "ema_half_life": 100,
}
CONFIG = Config().replace(TINY)


def trials_of(workdir: Path, study: str = "tune") -> list[optuna.trial.FrozenTrial]:
    with opened_storage(default_storage(workdir)) as storage:
        return optuna.load_study(study_name=study, storage=storage).get_trials()


def command(folder: Path, config: Path, *more: str) -> list[str]:
    return ["-m", "gan_jax.tune", f"--config={config}", f"--workdir={folder}", *more]


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config") / "tiny.py", to_dict(CONFIG))


@pytest.mark.parametrize("method", ["random", "asha", "pbt"])
def test_a_search_ends_with_a_config_that_runs(tmp_path: Path, method: Any) -> None:
    lines: list[str] = []
    found = tune(Request(CONFIG, tmp_path, method, trials=4, repeats=2), lines.append)
    trials = trials_of(tmp_path)
    assert len(trials) == len(found.trials) == 4 and all(trial.state.is_finished() for trial in trials)
    whole = {"random": 4, "asha": 1, "pbt": 4}[method]
    assert sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials) == whole
    assert load_config(tmp_path / findings.CONFIG) == found.config
    assert found.config.total_images == CONFIG.total_images and found.config.data.validation == 0
    assert found.config.seed == CONFIG.seed
    table = (tmp_path / findings.TABLE).read_text()
    assert findings.FOUND in table and "standard deviation" in table and f"{found.winner.last:.4g}" in table
    with Image.open(tmp_path / findings.PLOT) as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    for again in found.again.values():
        assert [trial.seed for trial in again] == [0, 1], "seeds that no trial had"
    assert min(trial.seed for trial in found.trials) >= 100
    assert not (tmp_path / "trials").exists(), "states are removed at the end"
    own = found.trials[0]
    assert own.values[0]["optimizer.g_lr"] == CONFIG.optimizer.g_lr.start, "the first trial is the config as it is"


def test_a_trial_equals_a_run_of_its_config(tmp_path: Path) -> None:
    """Stretch by stretch, cut off and resumed, or in one piece: the same state."""
    config = CONFIG.replace({"data.validation": 0.2, "seed": 105})
    other = config.replace({"seed": 106, "optimizer.g_lr": 1e-3})
    whole = train_cohort([Member(config, tmp_path / "a", None), Member(other, tmp_path / "b", None)], 0, 48)
    train_cohort([Member(config, tmp_path / "c" / "0", None)], 0, 18)
    (alone,) = train_cohort([Member(config, tmp_path / "f", None)], 0, 48)
    parts = train_cohort([Member(config, tmp_path / "c" / "1", tmp_path / "c" / "0")], 18, 48)
    again = train_cohort([Member(config, tmp_path / "c" / "1", tmp_path / "c" / "0")], 18, 48)
    assert parts[0].score == again[0].score == alone.score == pytest.approx(whole[0].score, rel=1e-3)
    lost = train_cohort([Member(config, tmp_path / "d" / "1", tmp_path / "d" / "0")], 18, 48)
    assert lost[0].score == alone.score, "made again where the first part is missing"
    with pytest.raises(InputError, match="holds no state of step 18"):
        train_cohort([Member(config, tmp_path / "e" / "1", tmp_path / "e" / "0", repeatable=False)], 18, 48)
    assert whole[0].score != whole[1].score and (whole[0].steps, parts[0].steps) == (48, 30)


def test_what_diverges_stops_at_once(tmp_path: Path) -> None:
    bad = CONFIG.replace(
        {"data.validation": 0.2, "optimizer.g_lr": 1e30, "optimizer.d_lr": 1e30, "watchdog.interval": 4}
    )
    good = bad.replace({"optimizer.g_lr": 1e-3, "optimizer.d_lr": 1e-3})
    lost, kept = train_cohort([Member(bad, tmp_path / "a", None), Member(good, tmp_path / "b", None)], 0, 64)
    assert lost.score == float("inf") and lost.steps <= 8 and "finite" in lost.reason
    assert kept.steps == 64 and np.isfinite(kept.score)


def test_trials_never_see_what_they_are_scored_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    load = cohorts.load_source
    monkeypatch.setattr(
        cohorts, "load_source", lambda data, split, seed: opened.append(split) or load(data, split, seed)
    )
    cohorts.open_source.cache_clear()
    data = dataclasses.replace(CONFIG.data, validation=0.25)
    parts = [load(data, split, 0) for split in ("train", "validation")]
    rows = [{bytes(image) for image in part.read(np.arange(len(part)))["image"]} for part in parts]
    assert len(parts[0]) + len(parts[1]) == 1437 and len(parts[1]) == 359
    assert len(rows[0] & rows[1]) < 10  # a few digits are drawn alike
    judge = cohorts.judge_of(data, CONFIG.evaluation)
    assert len(judge.held_out) == 100 and {bytes(image) for image in judge.held_out} <= rows[1]
    tune(Request(CONFIG, tmp_path, "random", trials=1, repeats=1), lambda line: None)
    assert set(opened) == {"train"}


@pytest.fixture(scope="module", autouse=True)
def quick_compiler() -> Iterator[None]:
    """These tests run few steps of many programs."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def test_the_suite_compares_searches_at_equal_compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    changes = {name: value for name, value in TINY.items() if name.startswith(("model.", "step.", "evaluation.f"))}
    task = Task("digits", changes | {"model.architecture": "mlp"}, 64 * 64, 100)
    suite = make_suite(Protocol({"": task}, configurations=2, repeats=2))
    assert list(suite.arms) == ["default", "suggested", "random", "asha", "pbt"]
    found = {name: arm.run(0).metrics for name, arm in suite.arms.items()}
    assert found["random"]["steps"] == 2 * 64 and found["pbt"]["steps"] == 2 * 64
    assert 2 * 64 <= found["asha"]["steps"] < 3 * 64
    assert found["random"]["share_to_random_best"] <= 100
    for name, metrics in found.items():
        assert np.isfinite(metrics["best_fid"]), name
    assert found["random"]["found_100"] == found["random"]["found_fid"]
    assert suite.arms["default"].run(0).metrics == found["default"]


def test_the_best_so_far_never_rises() -> None:
    trials = [
        Trial(0, 0, ({},), scores=(5.0, 3.0), at=(10, 40)),
        Trial(1, 1, ({},), scores=(float("inf"), 2.0), at=(20, 60)),
    ]
    assert [best_until(trials, steps) for steps in (10, 39, 40, 100)] == [5.0, 5.0, 3.0, 2.0]
    assert np.isnan(best_until(trials, 9))


def kill_after(child: subprocess.Popen[str], scored: int) -> None:
    """Kills a search as soon as it has told of so many stretches."""
    assert child.stdout is not None
    for line in child.stdout:
        scored -= line.startswith("trial ")
        if scored <= 0:
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()


def test_kill_9_loses_no_trial_and_doubles_none(tmp_path: Path, config_file: Path) -> None:
    line = command(tmp_path / "killed", config_file, "--trials=6", "--images=1024")
    for scored in (1, 2):
        (child,) = start(line)
        kill_after(child, scored)
        assert child.returncode == -signal.SIGKILL
    ((code, out, err),) = finish(start(line))
    assert code == 0, err
    assert "what was found" in out and "Traceback" not in err
    ((code, _, err),) = finish(start(command(tmp_path / "whole", config_file, "--trials=6", "--images=1024")))
    assert code == 0, err
    killed, whole = trials_of(tmp_path / "killed"), trials_of(tmp_path / "whole")
    assert len(killed) == len(whole) == 6
    for one, other in zip(killed, whole, strict=True):
        assert (one.params, one.state) == (other.params, other.state)
        assert one.intermediate_values == pytest.approx(other.intermediate_values, rel=1e-3)
    assert (tmp_path / "killed" / findings.CONFIG).read_text().split("def ")[1] == (
        tmp_path / "whole" / findings.CONFIG
    ).read_text().split("def ")[1]
    ((code, out, _),) = finish(start(line))  # once more: nothing is left to do
    assert code == 0 and "trial 0, step" not in out


def test_two_processes_share_a_study(tmp_path: Path, config_file: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    line = command(
        tmp_path / "work",
        config_file,
        "--trials=8",
        "--method=random",
        "--config.model.d_width=300",
        "--images=4096",
        f"--storage={storage}",
    )
    children = start(line) + start(line)
    results = finish(children)
    assert [code for code, _, _ in results] == [0, 0], results
    trained = [
        set(re.findall(r"^trial (\d+), step", out.split("each trained again")[0], re.M)) for _, out, _ in results
    ]
    assert trained[0] | trained[1] == {str(number) for number in range(8)} and not trained[0] & trained[1]
    assert all(trained), "one of them did everything"
    with opened_storage(storage) as opened:
        found = optuna.load_study(study_name="tune", storage=opened).get_trials()
    assert len(found) == 8 and all(trial.state == optuna.trial.TrialState.COMPLETE for trial in found)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--budget=soon"], "--budget=soon"),
        (["--trials=2", "--budget=5m"], "give one of them"),
        (["--trials=0"], "trials"),
        (["--trials=2", "--method=grid"], "--method=grid"),
        (["--trials=2", "--space=nowhere.py"], "--space=nowhere.py: no such file"),
        (["--trials=2", "--storage=nonsense"], "--storage=nonsense"),
        (["--trials=2", "--images=3"], "--images=3"),
        (["--trials=2", "--config.data.source=ring"], "config.data.source=ring"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, config_file: Path, flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((code, out, err),) = finish(start(command(tmp_path / "w", config_file, *flags)))
    lines = [line for line in err.splitlines() if line.strip()]
    assert code == 2 and len(lines) == 1 and message in lines[0], err


def test_an_auto_run_of_a_folder_needs_no_other_flag(tmp_path: Path) -> None:
    """Colour PNGs of assorted sizes; the run is stopped early, and resumed by the same line."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(40):
        height, width = rng.integers(20, 90, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    line = ["-m", "gan_jax.main", "--config=auto:photos", "--config.total_images=2560"]
    where = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parent.parent)}
    for expected in ("done: 40 steps", "done: 40 steps"):
        child = subprocess.run(
            [sys.executable, *line], cwd=tmp_path, env=where, capture_output=True, text=True, timeout=TIMEOUT
        )
        assert child.returncode == 0, child.stderr
        for word in (
            "40 images",
            "colour",
            "assorted sizes",
            "mlp",
            "diffaugment",
            "estimate: ",
            "MB of memory",
            expected,
        ):
            assert word.lower() in child.stdout.lower(), word
    config = json.loads((tmp_path / "runs" / "photos" / "config.json").read_text())
    assert config["data"]["channels"] == 3 and config["augment"]["method"] == "diffaugment"
