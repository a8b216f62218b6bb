"""TensorBoard's event files, on their way to the disk when a call returns. Imports files.

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

from gan_jax.runtime.files import writing


def open_board(folder: Path, purge_step: int) -> Path:
    """Begins a new event file.

    Args:
        folder: of the board; made if missing.
        purge_step: TensorBoard hides what earlier files hold from this step on.

    Raises:
        InputError: the operating system refused, here and in all functions.
    """
    messages = _messages()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))  # files are read in the order of their names
    path = folder / f"events.out.tfevents.{int(time.time())}.{number:06d}.{socket.gethostname()}.{os.getpid()}"
    session = messages.SessionLog(status=messages.SessionLog.START)
    first = messages.Event(file_version="brain.Event:2")
    _append(path, [first, messages.Event(step=purge_step, session_log=session)])
    return path


def add_scalars(path: Path, step: int, values: Mapping[str, float]) -> None:
    """Adds numbers by name."""
    event, summary = _messages().Event, _messages().Summary
    scalars = [summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    _append(path, [event(step=step, summary=summary(value=[scalar])) for scalar in scalars])


def add_picture(path: Path, step: int, name: str, size: tuple[int, int], colours: int, png: bytes) -> None:
    """Adds a picture.

    Args:
        path: of the event file.
        step: on the horizontal axis.
        name: of the picture.
        size: height and width.
        colours: 1 = grey, 3 = RGB.
        png: the picture as a PNG file.
    """
    event, summary = _messages().Event, _messages().Summary
    image = summary.Image(height=size[0], width=size[1], colorspace=colours, encoded_image_string=png)
    _append(path, [event(step=step, summary=summary(value=[summary.Value(tag=name, image=image)]))])


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
