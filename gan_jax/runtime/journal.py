"""What happened in a run: metrics.jsonl, boards, sample pictures, progress. Written by process 0 only.

`metrics.jsonl` is the source of truth: one JSON object a line, either a measurement {"step", "images", "time", ...}
or an event {"event", "step", "time", "message", ...}, the first being "start". Numbers that are not finite are null.
Imports errors and its own room.
"""

import importlib.metadata
import json
import math
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np

from gan_jax.errors import InputError
from gan_jax.runtime.boards import Board, open_boards
from gan_jax.runtime.files import write_atomically, writing
from gan_jax.runtime.history import METRICS
from gan_jax.runtime.pictures import draw_picture, to_png
from gan_jax.runtime.progress import Progress

SAMPLES = "samples"

_RESERVED = {"step", "images", "time", "event", "images_per_second"}


class Journal:
    """The record of a run in its workdir.

    A run that goes on from `start_step` first drops what is later than that: lines, a last line cut in half, and
    sample pictures, since those steps are done again.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        active: bool,
        total_images: int,
        start_step: int,
        images_per_step: int,
        boards: Sequence[str] = ("tensorboard",),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Opens the journal.

        Args:
            workdir: folder of the run.
            active: whether this process writes: true on process 0; elsewhere all methods do nothing.
            total_images: length of the run.
            start_step: steps done already; 0 empties the journal.
            images_per_step: real images seen in a step.
            boards: names of `boards.open_boards`.
            settings: of the run, by dotted name, for boards that show them.

        Raises:
            InputError: a board cannot be had, or a file cannot be written, here and in all methods.
        """
        self._active, self._images_per_step = active, images_per_step
        self._path, self._samples = workdir / METRICS, workdir / SAMPLES
        self._last: tuple[float, int] | None = None  # time and images of the last measurement
        if not active:
            return
        with writing(self._samples):
            self._samples.mkdir(parents=True, exist_ok=True)
        _drop_lines(self._path, start_step)
        _drop_pictures(self._samples, start_step)
        self._progress = Progress(total_images)
        self._boards = open_boards(boards, workdir, start_step * images_per_step, settings or {})
        self._append({"event": "start", "step": start_step, "time": _now(), **_environment()})

    def tick(self, step: int) -> None:
        """Moves the progress on; cheap enough for every step."""
        if self._active:
            self._progress.update(step * self._images_per_step)

    def metrics(self, step: int, images: int, values: Mapping[str, Any]) -> None:
        """Writes scalars, as a line and to the boards, with the images a second since the last time.

        Args:
            step: steps done.
            images: images seen.
            values: scalars by name.
        """
        if not self._active:
            return
        if clash := _RESERVED & values.keys():
            raise ValueError(f"metrics must not be called {', '.join(sorted(clash))}")
        scalars = {name: float(value) for name, value in values.items()}
        now = time.monotonic()
        if self._last is not None and now > self._last[0]:  # the first time has compiling in it
            scalars["images_per_second"] = (images - self._last[1]) / (now - self._last[0])
        self._last = now, images
        self._append({"step": step, "images": images, "time": _now(), **scalars})
        self._show(step, lambda board: board.scalars(images, scalars))
        self._progress.values({name: value for name, value in scalars.items() if name in values})

    def grid(self, step: int, images: int, samples: np.ndarray) -> None:
        """Draws samples to samples/step_STEP.png and to the boards.

        Args:
            step: steps done.
            images: images seen.
            samples: images [N, H, W, C], float in [-1, 1] or uint8, signals [N, L, C], or points [N, 2].
        """
        if not self._active:
            return
        picture = draw_picture(np.asarray(samples))
        write_atomically(self._samples / f"step_{step:08d}.png", to_png(picture))
        self._show(step, lambda board: board.picture(images, "samples", picture))

    def event(self, step: int, kind: str, message: str, **fields: Any) -> None:
        """Writes down and says something that happened, e.g. a damaged checkpoint or a stop.

        Args:
            step: steps done.
            kind: one word for programs.
            message: one line for people.
            **fields: further values that JSON holds.
        """
        if self._active:
            self._append({"event": kind, "step": step, "time": _now(), "message": message, **fields})
            self._progress.say(message)

    def rewind(self, step: int) -> None:
        """Drops measurements and pictures later than `step`, which the run does again from there; events stay."""
        if not self._active:
            return
        _drop_lines(self._path, step, keep_events=True)
        _drop_pictures(self._samples, step, keep_first=True)
        self._last = None
        self._show(step, lambda board: board.rewind(step * self._images_per_step))

    def say(self, text: str) -> None:
        """Writes a line to stderr, without breaking the progress bar; also after `close`."""
        if self._active:
            self._progress.say(text)

    def close(self) -> None:
        """Ends the boards and leaves the progress bar as it is; all else is written already."""
        if self._active:
            self._show(0, lambda board: board.close())
            self._progress.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _show(self, step: int, write: Callable[[Board], None]) -> None:
        """Writes to every board. One that fails over the network is left, since the run is worth more than it."""
        for name, board in list(self._boards.items()):
            try:
                write(board)
            except InputError:  # the disk, which a run needs
                raise
            except Exception as error:  # of other people's libraries: of any kind
                del self._boards[name]
                self.event(step, "board", f"{name} failed and gets no more: {type(error).__name__}: {_line(error)}")

    def _append(self, line: Mapping[str, Any]) -> None:
        # Opened anew each time: a line is on its way to the disk when this returns, and a file that was moved away
        # or a disk that is full is noticed at once.
        with writing(self._path), open(self._path, "a") as file:
            file.write(json.dumps(_plain(line), allow_nan=False) + "\n")


def _drop_lines(path: Path, start_step: int, keep_events: bool = False) -> None:
    """Keeps the whole lines up to `start_step`, none of them at 0; or all events too."""
    if not path.exists():
        return
    with writing(path):
        old = path.read_bytes()
    kept = []
    for line in old.splitlines():
        try:
            entry = json.loads(line)
            keep = 0 < start_step >= int(entry["step"]) or (keep_events and "event" in entry)
        except (ValueError, KeyError, TypeError):  # cut in half when the run was killed
            keep = False
        if keep:
            kept.append(line + b"\n")
    new = b"".join(kept)
    if new != old:
        write_atomically(path, new)


def _drop_pictures(folder: Path, start_step: int, keep_first: bool = False) -> None:
    for path in folder.glob("step_*.png"):
        number = path.stem.removeprefix("step_")
        if number.isdecimal() and (int(number) > start_step or (start_step == 0 and not keep_first)):
            with writing(path):
                path.unlink()


def _environment() -> dict[str, Any]:
    """What the run stands on."""
    versions = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", "flax", "gan_jax"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
            versions[name] = "not installed"
    return {
        "versions": versions,
        "platform": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "command": _command(),
    }


def _command() -> str:
    """The line that started this process, as a person would type it."""
    by_name = sys.orig_argv[1:2] == ["-m"]  # python -m gan_jax.main ..., whose first argument is a path by now
    return shlex.join(["python", *sys.orig_argv[1:]] if by_name else sys.argv)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _now() -> float:
    """Seconds since 1970, UTC."""
    return round(time.time(), 3)


def _plain(value: Any) -> Any:
    """Values as JSON holds them; a number that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return _plain(np.asarray(value).tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
