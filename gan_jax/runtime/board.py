"""TensorBoard's event files, on their way to the disk when a call returns. Imports files.

tensorboardX's own writer leaves that to a thread: on a full disk the thread dies, and the run waits for it for ever.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_jax.runtime.files import writing


def open_board(folder: Path, purge_step: int) -> Path:
    """Begins a new event file.

    Args:
        folder: of the board; made if missing.
        purge_step: TensorBoard hides what earlier files hold from this step on.

    Raises:
        InputError: the operating system refused, here and in all functions.
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog  # here, since the other processes need not load it

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))  # files are read in the order of their names
    path = folder / f"events.out.tfevents.{int(time.time())}.{number:06d}.{socket.gethostname()}.{os.getpid()}"
    session = SessionLog(status=SessionLog.START)
    _append(path, [Event(file_version="brain.Event:2"), Event(step=purge_step, session_log=session)])
    return path


def add_scalars(path: Path, step: int, values: Mapping[str, float]) -> None:
    """Adds numbers by name."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    _append(path, [Event(step=step, summary=Summary(value=[scalar])) for scalar in scalars])


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
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    image = Summary.Image(height=size[0], width=size[1], colorspace=colours, encoded_image_string=png)
    _append(path, [Event(step=step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))])


def _append(path: Path, events: list[Any]) -> None:
    """Adds events as TFRecords: length, its checksum, content, its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    content = b""
    for event in events:
        event.wall_time = time.time()
        body = event.SerializeToString()
        length = struct.pack("<Q", len(body))
        checks = (struct.pack("<I", masked_crc32c(part)) for part in (length, body))
        content += length + next(checks) + body + next(checks)
    with writing(path), open(path, "ab") as file:
        file.write(content)
