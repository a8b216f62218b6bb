"""The folder of a run's checkpoints, one folder a step: which are there, which make room, which go. Imports errors.

None of it reads a checkpoint, and all of it is for process 0 but `steps`.
"""

import errno
import shutil
import time
from collections.abc import Collection
from pathlib import Path

UNFINISHED, DOOMED = ".orbax-checkpoint-tmp", ".deleting"  # folders half written, half deleted


def steps(folder: Path) -> list[int]:
    """Steps on disk in rising order, as this process sees them, unchecked."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir()]
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


def make_room(folder: Path, step: int, size: int, damaged: Collection[int] = ()) -> None:
    """Makes a folder ready for a step: clears what a killed run left and moves damaged steps to `damaged-STEP`.

    Args:
        folder: of the checkpoints; made if missing.
        step: to be written.
        size: bytes that it takes.
        damaged: steps to move aside.

    Raises:
        OSError: it cannot be written, or has no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.iterdir():
        if UNFINISHED in leftover.name or leftover.name.endswith(DOOMED):
            _remove(leftover)
    for bad in sorted(damaged):
        source, target = folder / str(bad), folder / f"damaged-{bad}"
        if source.exists():
            _remove(target)
            source.rename(target)
    probe = folder / f"{step}{UNFINISHED}-probe"  # a refusal is raised here, on all processes alike
    probe.mkdir()
    probe.rmdir()
    free = shutil.disk_usage(folder).free
    if free < size:  # Orbax would say so in many tracebacks
        raise OSError(errno.ENOSPC, f"it takes {size:,} bytes, {free:,} are free")


def unfinished(folder: Path, step: int) -> list[Path]:
    """Folders in which a step is being written, or was when the run was killed."""
    if not folder.is_dir():
        return []
    # By hand: Python keeps what it makes of a pattern for glob.
    return [path for path in folder.iterdir() if path.name.startswith(f"{step}{UNFINISHED}")]


def give_back(folder: Path, step: int) -> None:
    """Deletes what a failed save has written, as far as that is possible."""
    for _ in range(40):
        left = unfinished(folder, step)
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        if not left:
            return
        time.sleep(0.05)  # the writers of other arrays may still be at work


def delete(folder: Path, step: int) -> None:
    """Deletes a step."""
    doomed = folder / f"{step}{DOOMED}"
    (folder / str(step)).rename(doomed)  # first, so that no half-deleted step is ever listed
    _remove(doomed)


def _remove(path: Path) -> None:
    """Deletes a folder, or whatever else has its name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
