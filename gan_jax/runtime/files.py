"""Writing files so that a reader never sees half of one. Imports errors only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan_jax.errors import InputError


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
