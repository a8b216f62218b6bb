"""Folders that can be written to, and files that a reader never sees half of. Imports errors only."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan_jax.errors import InputError


def plain_folder(name: str | Path) -> Path:
    """The folder of a run, ~ read as the user's home.

    Raises:
        InputError: it is the address of a bucket, such as gs://bucket/run, or that home is unknown.
    """
    text = str(name)
    if re.match(r"[a-z][a-z0-9+.-]+:/", text, re.IGNORECASE):  # a Path has one / left of two
        raise InputError(
            f"workdir {text} is an address, not a folder: mount the bucket (gcsfuse) and give the folder where it is "
            "mounted, or take one on a disk or NFS; docs/launch.md says more"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"workdir {text} cannot be found ({error}): write its path out") from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a failure to write `path` (read-only, full disk, gone) into one clear line.

    Raises:
        InputError: the operating system refused.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{path} cannot be written ({reason}): make it writable, free space, or take another --workdir"
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is either the old or the new one, never half, even after a power cut.

    Raises:
        InputError: the operating system refused.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
