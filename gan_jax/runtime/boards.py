"""Where a run can be watched: TensorBoard, Weights & Biases, MLflow behind one small interface. Imports board, errors.

`metrics.jsonl` stays the source of truth; a board is a view of it. The two services are optional packages.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from gan_jax.errors import InputError
from gan_jax.runtime.board import TensorBoard
from gan_jax.runtime.files import write_atomically

TENSORBOARD = "tensorboard"  # folder in the workdir
WANDB = "wandb"  # folder in the workdir
MLFLOW_RUN = "mlflow_run_id"  # file in the workdir: a resumed run goes on in the same one
_PROJECT = "gan_jax"


class Board(Protocol):
    """What shows measurements and pictures over images seen."""

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Shows numbers by name."""

    def picture(self, images: int, name: str, picture: np.ndarray) -> None:
        """Shows a picture, uint8 [height, width] or [height, width, 3]."""

    def rewind(self, images: int) -> None:
        """The run has gone back to `images` and does what came later again."""

    def close(self) -> None:
        """The run has ended or stopped."""


def open_boards(names: Sequence[str], workdir: Path, images: int, settings: Mapping[str, Any]) -> dict[str, Board]:
    """The boards of a run, by name.

    Args:
        names: of "tensorboard", "wandb", "mlflow".
        workdir: folder of the run.
        images: seen so far; a run that goes on continues its boards.
        settings: of the run, by dotted name.

    Raises:
        InputError: a package is missing, or a service refuses.
    """
    makers: dict[str, Callable[[], Board]] = {
        "tensorboard": lambda: TensorBoard(workdir / TENSORBOARD, images),
        "wandb": lambda: WeightsAndBiases(workdir, settings),
        "mlflow": lambda: MLflow(workdir, settings),
    }
    boards = {}
    for name in names:
        try:
            boards[name] = makers[name]()
        except InputError:
            raise
        except ImportError as error:
            raise InputError(
                f"config.log.boards={name}: {error.name} is not installed: pip install 'gan-jax[{name}]'"
            ) from None
        except Exception as error:  # of the services' libraries, of any kind
            words = " ".join(str(error).split())
            raise InputError(f"config.log.boards={name}: {type(error).__name__}: {words}") from None
    return boards


class WeightsAndBiases:
    """A run of Weights & Biases; its own variables (WANDB_MODE, WANDB_PROJECT, WANDB_API_KEY) say where it goes.

    Its axis is the metric "images", since its own steps cannot go back and a run can.
    """

    def __init__(self, workdir: Path, settings: Mapping[str, Any]) -> None:
        """Begins a run, or goes on with that of the workdir."""
        import wandb

        self._wandb = wandb
        name = hashlib.sha256(str(workdir.resolve()).encode()).hexdigest()[:16]
        (workdir / WANDB).mkdir(parents=True, exist_ok=True)  # else it writes to the temporary folder
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=workdir.name,
            id=name,
            resume="allow",
            dir=str(workdir),
            config=dict(settings),
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )
        self._run.define_metric("*", step_metric="images")

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Shows numbers by name."""
        self._run.log({"images": images, **values})

    def picture(self, images: int, name: str, picture: np.ndarray) -> None:
        """Shows a picture."""
        self._run.log({"images": images, name: self._wandb.Image(picture)})

    def rewind(self, images: int) -> None:
        """Later points come twice; both are shown over the same images."""

    def close(self) -> None:
        """Ends it, so that it can be resumed."""
        self._run.finish()


class MLflow:
    """A run of MLflow in the experiment "gan_jax"; MLFLOW_TRACKING_URI says where it goes."""

    def __init__(self, workdir: Path, settings: Mapping[str, Any]) -> None:
        """Begins a run, or goes on with that of the workdir."""
        import mlflow
        from mlflow.entities import Metric, Param

        self._metric, self._client = Metric, mlflow.MlflowClient()
        known = workdir / MLFLOW_RUN
        if known.exists():
            self._run = known.read_text().strip()
            self._client.update_run(self._run, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._run = self._client.create_run(number, run_name=workdir.name).info.run_id
        params = [Param(field, str(value)[:500]) for field, value in settings.items()]
        for start in range(0, len(params), 100):  # its limit for a call
            self._client.log_batch(self._run, params=params[start : start + 100])
        write_atomically(known, self._run.encode())

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Shows numbers by name."""
        now = int(time.time() * 1000)
        self._client.log_batch(self._run, [self._metric(name, value, now, images) for name, value in values.items()])

    def picture(self, images: int, name: str, picture: np.ndarray) -> None:
        """Shows a picture."""
        self._client.log_image(self._run, Image.fromarray(picture), key=name, step=images)

    def rewind(self, images: int) -> None:
        """Later points come twice; MLflow shows both at the same step."""

    def close(self) -> None:
        """Ends it, so that it can be resumed."""
        self._client.set_terminated(self._run)
