"""What storage does to a run: it fills up, turns read-only, loses the data. Imports the room's runs and suite."""

import contextlib
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from gan_jax.benchmark.faults import runs
from gan_jax.benchmark.suite import Outcome
from gan_jax.config import Config

_DISK_MB = 64  # of the disk that fills up
_LEFT = 20_000  # bytes that are left free on it


def outages(seed: int, steps: int, save_every: int) -> Outcome:
    """Each outage befalls a run once it has a checkpoint; then it is mended and the same command given again.

    Args:
        seed: of the run.
        steps: that a run takes; an outage must come before they are done.
        save_every: steps between checkpoints.

    Returns:
        tried: outages: a disk that fills up, a workdir that turns read-only, a data folder that goes away.
        passed: one line that names the cause, exit code 2, the newest checkpoint whole, and, once mended, the end bit
        for bit that of the undisturbed run. worst: largest difference of the final states.
    """
    begin, passed, worst = time.perf_counter(), 0, 0.0
    lengths = {"total_images": steps * runs.BATCH, "log.checkpoint_images": save_every * runs.BATCH, "log.keep": 2}
    with runs.workspace() as name:
        root = Path(name)
        photos = root / "photos"
        _draw_photos(photos, seed)
        streamed = {"data.source": "folder", "data.path": str(photos), "data.residency": "stream"}
        digits, folder = runs.small_config(seed, lengths), runs.small_config(seed, lengths | streamed)
        small_disk = root / "small_disk"
        small_disk.mkdir()
        scenes: list[tuple[str, Config, Path, Callable[[Path, subprocess.Popen[str]], _Outage]]] = [
            ("full disk", digits, small_disk / "run", _full),
            ("read-only", digits, root / "read_only", _read_only),
            ("data gone", folder, root / "data_gone", lambda workdir, process: _moved_away(photos)),
        ]
        wholes: dict[Config, Path] = {}
        for number, (scene, config, workdir, outage) in enumerate(scenes):
            whole = wholes.setdefault(config, root / f"whole_{number}")
            if not whole.exists():
                runs.train_whole(config.replace({"log.keep": 1_000_000}), whole)
            mounted = _tmpfs(small_disk) if outage is _full else contextlib.nullcontext()
            with mounted:
                fine, gap = _befall(config, workdir, whole, outage)
            passed, worst = passed + (fine and gap == 0), max(worst, gap)
            if not fine or gap:
                print(f"disk: {scene}: refused {fine}, differs by {gap:g}", flush=True)
    metrics = {"tried": len(scenes), "passed": passed, "worst": worst}
    return Outcome(metrics, time.perf_counter() - begin, len(scenes) * lengths["total_images"])


_Outage = contextlib.AbstractContextManager[None]


def _befall(
    config: Config, workdir: Path, whole: Path, outage: Callable[[Path, subprocess.Popen[str]], _Outage]
) -> tuple[bool, float]:
    """Whether a run bears an outage, and how far its end is from that of the undisturbed run."""
    line, root = runs.command(config, workdir), whole.parent
    with runs.started(line, root) as process:
        runs.wait_until(lambda: runs.steps(workdir), process)
        with outage(workdir, process):
            stopped = runs.ended(process, root)
            survived = bool(runs.steps(workdir)) and runs.survives(workdir, whole)
    fine = stopped.is_refusal() and survived
    if not fine:
        print(f"disk: exit code {stopped.code}, survived {survived}: {stopped.err.strip()[:2_000]}", flush=True)
    done = runs.finished(line, root)
    if done.code:
        print(f"disk: not resumed: {done.err.strip()[-400:]}", flush=True)
        return False, float("inf")
    return fine, runs.difference(workdir, whole, config.total_steps)


# ---------------------------------------------------------------- a full disk


@contextlib.contextmanager
def _tmpfs(folder: Path) -> Iterator[None]:
    """A small disk of its own, where mounting is allowed."""
    line = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(folder)]
    mounted = _does(line)
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def _full(workdir: Path, process: subprocess.Popen[str]) -> Iterator[None]:
    """Fills the disk; on a shared one, sets the largest file that the run may write instead."""
    if not workdir.parent.is_mount():
        with _limited(process, _LEFT):
            yield
        return
    ballast = workdir.parent / "ballast"
    with open(ballast, "wb") as file, contextlib.suppress(OSError):
        disk = os.statvfs(workdir)
        os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_frsize - _LEFT))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def _limited(process: subprocess.Popen[str], size: int) -> Iterator[None]:
    """Makes every write beyond a size fail, as on a full disk; ends with the process."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    yield


# ---------------------------------------------------------------- a read-only workdir


@contextlib.contextmanager
def _read_only(workdir: Path, process: subprocess.Popen[str]) -> Iterator[None]:
    """Takes the right to write away; for root, whom modes do not bind, by the file system's immutable flag."""
    if os.geteuid():
        with _modes(workdir):
            yield
    elif _does(["chattr", "-R", "+i", str(workdir)]):
        try:
            yield
        finally:
            subprocess.run(["chattr", "-R", "-i", str(workdir)], check=True)
    else:  # no such flag here
        with _limited(process, 0):
            yield


@contextlib.contextmanager
def _modes(workdir: Path) -> Iterator[None]:
    kept = {path: path.stat().st_mode for path in [workdir, *workdir.rglob("*")]}
    for path, mode in kept.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in kept.items():
            path.chmod(mode)


def _does(line: list[str]) -> bool:
    """Whether a command of the system succeeds; it may be missing or forbidden."""
    try:
        return subprocess.run(line, capture_output=True).returncode == 0
    except OSError:
        return False


# ---------------------------------------------------------------- data that goes away


@contextlib.contextmanager
def _moved_away(folder: Path) -> Iterator[None]:
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(folder)


def _draw_photos(folder: Path, seed: int) -> None:
    """256 grey pictures of noise."""
    folder.mkdir()
    noise = np.random.default_rng(seed).integers(0, 256, (256, 8, 8), np.uint8)
    for index, image in enumerate(noise):
        Image.fromarray(image).save(folder / f"{index:03d}.png")
