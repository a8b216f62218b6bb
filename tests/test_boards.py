"""A run can be watched on the board of one's choice; a board that fails costs no run."""

import json
import pathlib
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.runtime import journal as journal_module
from gan_jax.runtime.board import TensorBoard
from gan_jax.runtime.boards import open_boards
from gan_jax.runtime.closing import closing_words
from gan_jax.runtime.journal import Journal

GRID = np.zeros((4, 8, 8, 1), np.uint8)


def journal(workdir: pathlib.Path, boards: tuple[str, ...], start: int = 0) -> Journal:
    return Journal(
        workdir, active=True, total_images=1000, start_step=start, images_per_step=10, boards=boards,
        settings={"seed": 7, "data.path": ""},
    )  # fmt: skip


def test_unknown_and_missing_boards_are_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config().log.boards == ("tensorboard",)
    assert Config().replace({"log.boards": "tensorboard,wandb"}).log.boards == ("tensorboard", "wandb")
    assert Config().replace({"log.boards": ""}).log.boards == ()
    with pytest.raises(InputError, match="unknown board 'tensorbord'; choose from tensorboard, wandb, mlflow"):
        Config().replace({"log.boards": "tensorbord"})
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
        with pytest.raises(InputError, match=rf"config.log.boards={name}: .*pip install 'gan-jax\[{name}\]'"):
            open_boards([name], tmp_path, 0, {})


def test_no_board_leaves_the_journal(tmp_path: pathlib.Path) -> None:
    with journal(tmp_path, ()) as written:
        written.metrics(1, 10, {"d_loss": 1.0})
        written.grid(1, 10, GRID)
    assert not (tmp_path / "tensorboard").exists() and (tmp_path / "samples" / "step_00000001.png").exists()
    assert "d_loss" in (tmp_path / "metrics.jsonl").read_text()


class Broken:
    """A service that goes away."""

    def __init__(self) -> None:
        self.calls = 0

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        self.calls += 1
        raise ConnectionError("no route\nto host")

    picture = rewind = close = scalars


def test_a_board_that_fails_is_left_and_the_run_goes_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken()
    boards = {"wandb": broken, "tensorboard": TensorBoard(tmp_path / "tensorboard", 0)}
    monkeypatch.setattr(journal_module, "open_boards", lambda *arguments: dict(boards))
    with journal(tmp_path, ("wandb", "tensorboard")) as written:
        for step in (1, 2):
            written.metrics(step, 10 * step, {"d_loss": 1.0})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (event,) = [line for line in lines if line.get("event") == "board"]
    assert event["message"] == "wandb failed and gets no more: ConnectionError: no route to host"
    assert broken.calls == 1 and [line["step"] for line in lines if "d_loss" in line] == [1, 2]


def test_the_last_words_name_what_was_best_and_what_comes_next(tmp_path: pathlib.Path) -> None:
    config = Config().replace({"total_images": 640})
    with journal(tmp_path, ()) as written:
        written.metrics(3, 30, {"fid": 9.0})
        written.metrics(5, 50, {"fid": 4.25})
        written.metrics(9, 90, {"fid": 6.0})
    words = closing_words(tmp_path, config, (8, 8, 1))
    assert words.startswith("done: 10 steps, 640 images in 0:00:0")
    assert "best FID 4.25 at step 5;" in words
    assert f"everything is in {tmp_path}: metrics.jsonl, samples/\n" in words  # and no board that was not asked for
    for verb in ("report", "sample", "evaluate", "playground"):
        assert f"python -m gan_jax.{verb} --workdir={tmp_path}" in words
    assert "playground" not in closing_words(tmp_path, config, (40, 1))  # which shows images only


# ---------------------------------------------------------------------- the services' own libraries


@pytest.mark.services
@pytest.mark.filterwarnings("ignore")
def test_mlflow_shows_a_run_and_its_resume_as_one(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for start in (0, 4):
        with journal(tmp_path / "run", ("mlflow",), start) as written:
            written.metrics(start + 2, 10 * (start + 2), {"d_loss": start + 0.5})
            written.grid(start + 2, 10 * (start + 2), GRID)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("gan_jax").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["seed"] == "7" and run.info.run_name == "run"
    history = client.get_metric_history(run.info.run_id, "d_loss")
    assert [(point.step, point.value) for point in history] == [(20, 0.5), (60, 4.5)]
    images = [entry.path for entry in client.list_artifacts(run.info.run_id, "images")]
    assert len([path for path in images if path.endswith(".png")]) == 2


@pytest.mark.services
@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_a_run_offline(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with journal(tmp_path / "run", ("wandb",)) as written:
        written.metrics(2, 20, {"d_loss": 0.5})
        written.grid(2, 20, GRID)
    import wandb

    wandb.teardown()  # as at the end of the process: what its service has not written yet
    (record,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert b"d_loss" in record.read_bytes() and b"images" in record.read_bytes()
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/files/media/images/samples_*.png"))


@pytest.mark.services
@pytest.mark.filterwarnings("ignore")
def test_a_service_that_refuses_ends_the_command_in_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nothing://like.this")
    import mlflow

    mlflow.set_tracking_uri("nothing://like.this")
    with pytest.raises(InputError, match="config.log.boards=mlflow: ") as error:
        open_boards(["mlflow"], tmp_path, 0, {})
    assert "\n" not in str(error.value)
