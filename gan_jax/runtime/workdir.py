"""A workdir belongs to one run at a time and to one config. Imports errors, config and its own room."""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import jax

from gan_jax.config import Config, read_json, to_dict
from gan_jax.errors import InputError
from gan_jax.runtime.agreement import bytes_from_first, from_first, on_first, together
from gan_jax.runtime.files import write_atomically, writing
from gan_jax.runtime.integrity import differences

CONFIG = "config.json"  # the settings, by settle_config
DATASET = "dataset.json"  # facts of the data that a reader of the workdir needs
CHECKPOINTS = "checkpoints"  # by runtime/checkpoint.py
LOCK = ".lock"
OWNER = ".owner"  # the same words in a closed file: NFS and mounted buckets show those of an open one late

# These may differ when a run goes on: they say how long, how often, from where and how fast, not what is learnt.
# (A new total_images stretches those schedules that end at the last image.)
MAY_CHANGE = (
    "total_images",
    "log.",
    "data.path",
    "data.residency",
    "data.resident_mb",
    "data.threads",
    "step.per_dispatch",
    "watchdog.",
)

_SEEN_WITHIN = 30.0  # seconds that a network file system may take to show a new file
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # some network file systems


@contextmanager
def open_workdir(workdir: Path, config: Config) -> Iterator[Path]:
    """Makes the folder, holds it for this run, and stores or checks its config.

    See `lock_workdir` and `settle_config`, which say what can be wrong.
    """
    with lock_workdir(workdir):
        settle_config(workdir, config)
        yield workdir


@contextmanager
def lock_workdir(workdir: Path) -> Iterator[None]:
    """Makes the folder and holds it for this run; the system lets go when the process ends, however it ends.

    Every process of a run calls it; process 0 holds the lock.

    Raises:
        InputError: another run holds it, it cannot be made or written, or not all processes see the same folder.
    """
    file = on_first(lambda: _take_lock(workdir))
    try:
        if jax.process_count() > 1:
            token = bytes_from_first(_owner(workdir))
            together(lambda: _check_shared(workdir, token))
        yield
    finally:
        if file is not None:
            file.close()


def _owner(workdir: Path) -> bytes:
    """Who holds the folder, as written there; empty when nobody ever did."""
    path = workdir / OWNER
    return b"held by " + path.read_bytes() if path.exists() else b""


def _check_shared(workdir: Path, owner: bytes) -> None:
    """Checks that this process sees what process 0 wrote: else it could not read the checkpoints back."""
    end = time.monotonic() + _SEEN_WITHIN
    while _owner(workdir) != owner:
        if time.monotonic() > end:
            raise InputError(
                f"workdir {workdir} is not the same folder on {socket.gethostname()} as on process 0's machine: "
                "take a --workdir that all machines share"
            )
        time.sleep(0.2)


def _take_lock(workdir: Path) -> TextIO:
    path, here = workdir / LOCK, f"pid {os.getpid()} on {socket.gethostname()}\n"
    with writing(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    with writing(path):
        file = open(path, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown pid"
        file.close()
        if error.errno not in _NO_LOCKS_HERE:
            raise InputError(
                f"workdir {workdir} is in use by another run ({owner}): stop it, or take another --workdir"
            ) from None
        logging.getLogger(__name__).warning("%s: this file system has no locks; start no second run here", workdir)
        write_atomically(workdir / OWNER, here.encode())
        return open(os.devnull)
    with writing(path):
        file.truncate(0)
        file.write(here)
        file.flush()
    write_atomically(workdir / OWNER, here.encode())
    return file


def settle_config(workdir: Path, config: Config) -> bool:
    """Stores the config of a new run, or checks that a run that goes on has the one it started with.

    Fields under `MAY_CHANGE` may differ; the new values are stored. Every process calls it; process 0 reads
    and writes.

    Returns:
        True when the workdir already held a run.

    Raises:
        InputError: another field differs, config.json is damaged or lost, or it cannot be written.
    """
    return bool(from_first(int(on_first(lambda: _settle(workdir, config)) or False)))


def _settle(workdir: Path, config: Config) -> bool:
    path = workdir / CONFIG
    content = json.dumps(to_dict(config), indent=2).encode() + b"\n"
    if not path.exists():
        if (workdir / CHECKPOINTS).exists():
            raise InputError(f"{path} is missing but {workdir} holds checkpoints: restore it or take another --workdir")
        write_atomically(path, content)
        return False
    before = read_json(path)
    if fixed := differences(fixed_settings(before), fixed_settings(config)):
        raise InputError(
            f"{workdir} holds a run with other settings: {fixed}: take another --workdir, or give the same settings"
        )
    if before != config:
        write_atomically(path, content)
    return True


def fixed_settings(config: Config) -> dict[str, Any]:
    """The fields that must stay as they are when a run goes on, by dotted name, as JSON gives them back."""
    return {name: value for name, value in flat_settings(config).items() if not name.startswith(MAY_CHANGE)}


def flat_settings(config: Config) -> dict[str, Any]:
    """All fields by dotted name, as JSON gives them back."""
    return _flat(json.loads(json.dumps(to_dict(config))))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat
