"""Damage done to the newest checkpoint of a run, and then to all. Imports the room's runs and suite, and training."""

import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from gan_jax.benchmark.faults import runs
from gan_jax.benchmark.suite import Outcome
from gan_jax.errors import InputError
from gan_jax.training import train

OLDER, NEWEST = 4, 6  # steps of the two checkpoints


def _weights(folder: Path) -> Path:
    """The file that holds most of the arrays."""
    return max((path for path in folder.rglob("d/*") if path.is_file()), key=lambda path: path.stat().st_size)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _torn(path: Path) -> None:
    """Zeros in place of the last half of a file, as after a power cut."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))


def _half_written(folder: Path, other: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files[len(files) // 2 :]:
        path.unlink()


def _foreign(folder: Path, other: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("not a checkpoint")


def _replace(folder: Path, source: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(source, folder)


def _no_folder(folder: Path, other: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file")


# Each takes the folder of the newest checkpoint, and that of a run of another seed.
DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "weights cut": lambda folder, other: _cut(_weights(folder)),
    "weights emptied": lambda folder, other: os.truncate(_weights(folder), 0),
    "weights deleted": lambda folder, other: _weights(folder).unlink(),
    "one bit of the weights flipped": lambda folder, other: _flip(_weights(folder)),
    "half of the weights zeroed": lambda folder, other: _torn(_weights(folder)),
    "list of arrays cut": lambda folder, other: _cut(folder / "manifest.ocdbt"),
    "list of arrays flipped": lambda folder, other: _flip(folder / "_METADATA"),
    "record lost": lambda folder, other: (folder / "record.json").unlink(),
    "record flipped": lambda folder, other: _flip(folder / "record.json"),
    "half-written folder": _half_written,
    "foreign folder": _foreign,
    "a file in place of the folder": _no_folder,
    "a run of other settings": lambda folder, other: _replace(folder, other),
    "another step under this name": lambda folder, other: _replace(folder, folder.with_name(str(OLDER))),
}


def damage(seed: int, kinds: int = len(DAMAGES)) -> Outcome:
    """Does each damage to a copy of a run and resumes it; last, damages all checkpoints of one.

    Args:
        seed: of the run.
        kinds: the first of them only.

    Returns:
        tried: kinds, and the one in which all are damaged. passed: noticed and named, resumed from the older step,
        and at the end bit for bit the undisturbed run; with all damaged, one line, exit code 2 and nothing deleted.
        worst: largest difference of the final states.
    """
    begin = time.perf_counter()
    config = runs.small_config(seed, {"total_images": NEWEST * runs.BATCH, "log.checkpoint_images": OLDER * runs.BATCH})
    devices = jax.local_devices()[:1]
    passed, worst = 0, 0.0
    with runs.workspace() as name:
        root = Path(name)
        whole, other = root / "whole", root / "other"
        train(config, whole, devices)
        train(config.replace({"seed": seed + 1}), other, devices)
        for index, kind in enumerate(list(DAMAGES)[:kinds]):
            copy = root / f"damage_{index}"
            shutil.copytree(whole, copy)
            DAMAGES[kind](copy / "checkpoints" / str(NEWEST), other / "checkpoints" / str(NEWEST))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                train(config, copy, devices)
            noticed = [event["message"] for event in runs.events(copy, "damaged")]
            resumed = [event["step"] for event in runs.events(copy, "start")]
            gap = runs.difference(copy, whole, NEWEST)
            worst = max(worst, gap)
            ok = len(noticed) == 1 and f"checkpoint {NEWEST} was unusable" in noticed[0] and resumed[-1] == OLDER
            passed += ok and gap == 0
            if not ok or gap:
                print(f"damage: {kind}: noticed {noticed}, resumed from {resumed}, differs by {gap:g}", flush=True)
        passed += _all_damaged(root, whole, seed)
    metrics = {"tried": kinds + 1, "passed": passed, "worst": worst}
    return Outcome(metrics, time.perf_counter() - begin, (kinds + 2) * config.total_images)


def _all_damaged(root: Path, whole: Path, seed: int) -> bool:
    """Whether a run without any whole checkpoint is refused, and left as it is."""
    copy = root / "all_damaged"
    shutil.copytree(whole, copy)
    random = np.random.default_rng(seed)
    for step in (OLDER, NEWEST):
        path = _weights(copy / "checkpoints" / str(step))
        content = bytearray(path.read_bytes())
        content[int(random.integers(len(content)))] ^= 0x10
        path.write_bytes(content)
    before = runs.snapshot(copy / "checkpoints")
    config = runs.small_config(seed, {"total_images": NEWEST * runs.BATCH, "log.checkpoint_images": OLDER * runs.BATCH})
    done = runs.finished(runs.command(config, copy), root)
    kept = runs.snapshot(copy / "checkpoints") == before
    try:
        runs.arrays_of(copy, NEWEST)
        noticed = False
    except InputError:
        noticed = True
    return noticed and kept and done.is_refusal(f"step {NEWEST}:", f"step {OLDER}:", "nothing was deleted")
