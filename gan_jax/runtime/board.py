"""TensorBoard's event files, on their way to the disk when a call returns. Imports files and pictures.

tensorboardX's own writer leaves that to a thread: on a full disk the thread dies, and the run waits for it for ever.
"""

import functools
import os
import socket
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gan_jax.runtime.files import writing
from gan_jax.runtime.pictures import to_png


class TensorBoard:
    """A folder of event files; its horizontal axis is images seen. Its methods are those of `boards.Board`."""

    def __init__(self, folder: Path, images: int) -> None:
        """Begins a new event file.

        Args:
            folder: of the board; made if missing.
            images: seen so far; TensorBoard hides what earlier files hold after them.

        Raises:
            InputError: the operating system refused, here and in all methods.
        """
        self._folder = folder
        self.rewind(images)

    def rewind(self, images: int) -> None:
        """Begins a new event file, which hides what an earlier one holds after `images`."""
        messages = _messages()
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            number = len(list(self._folder.iterdir()))  # files are read in the order of their names
        name = f"events.out.tfevents.{int(time.time())}.{number:06d}.{socket.gethostname()}.{os.getpid()}"
        self._path = self._folder / name
        session = messages.SessionLog(status=messages.SessionLog.START)
        first = messages.Event(file_version="brain.Event:2")
        _append(self._path, [first, messages.Event(step=images + 1, session_log=session)])

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Adds numbers by name."""
        event, summary = _messages().Event, _messages().Summary
        scalars = [summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        _append(self._path, [event(step=images, summary=summary(value=[scalar])) for scalar in scalars])

    def picture(self, images: int, name: str, picture: np.ndarray) -> None:
        """Adds a picture, uint8 [height, width] or [height, width, 3]."""
        event, summary = _messages().Event, _messages().Summary
        height, width, colours = *picture.shape[:2], 3 if picture.ndim == 3 else 1
        image = summary.Image(height=height, width=width, colorspace=colours, encoded_image_string=to_png(picture))
        _append(self._path, [event(step=images, summary=summary(value=[summary.Value(tag=name, image=image)]))])

    def close(self) -> None:
        """Nothing is left to do: all is written."""


def _append(path: Path, events: list[Any]) -> None:
    """Adds events as TFRecords: length, its checksum, content, its checksum."""
    masked_crc32c, content = _messages().masked_crc32c, b""
    for event in events:
        event.wall_time = time.time()
        body = event.SerializeToString()
        length = struct.pack("<Q", len(body))
        checks = (struct.pack("<I", masked_crc32c(part)) for part in (length, body))
        content += length + next(checks) + body + next(checks)
    with writing(path), open(path, "ab") as file:
        file.write(content)


class _Messages(NamedTuple):
    """The parts of tensorboardX that are used."""

    Event: Any
    SessionLog: Any
    Summary: Any
    masked_crc32c: Any


@functools.cache
def _messages() -> _Messages:
    """Loads them late, since the other processes need none.

    tensorboardX imports PyTorch wherever it is installed, which takes seconds and serves nothing here; while it loads,
    PyTorch is out of sight.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # how Python marks a module as missing
    try:
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import masked_crc32c
    finally:
        if hidden:
            del sys.modules["torch"]
    return _Messages(Event, SessionLog, Summary, masked_crc32c)
