"""Input meant to do harm, given to the real commands. Imports the room's mutations, runs and suite."""

import io
import os
import pickle
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM

import numpy as np

from gan_jax.benchmark.faults import runs
from gan_jax.benchmark.faults.mutations import try_mutations
from gan_jax.benchmark.suite import Outcome
from gan_jax.config import Config
from gan_jax.runtime import integrity

PIXELS = 30_000  # width and height of the huge image


class _Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._marker), "w")


def _pickled(root: Path) -> dict[str, str]:
    """An .npz file whose images are pickled objects."""
    bomb = np.empty(1, object)
    bomb[0] = _Bomb(root / "exploded")
    np.savez(root / "bomb.npz", images=bomb)
    return {"data.source": "npz", "data.path": str(root / "bomb.npz")}


def _bare_pickle(root: Path) -> dict[str, str]:
    """A pickle by the name of an .npz file."""
    (root / "pickle.npz").write_bytes(pickle.dumps(_Bomb(root / "exploded")))
    return {"data.source": "npz", "data.path": str(root / "pickle.npz")}


def _huge(root: Path) -> dict[str, str]:
    """A folder with one valid PNG of 900 million pixels."""
    folder = root / "huge"
    folder.mkdir()
    packer, row = zlib.compressobj(1), bytes(1 + (PIXELS + 7) // 8)
    body = b"".join(packer.compress(row * 1_000) for _ in range(PIXELS // 1_000)) + packer.flush()
    head = struct.pack(">IIBBBBB", PIXELS, PIXELS, 1, 0, 0, 0, 0)  # one bit a pixel
    chunks = [(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return {"data.source": "folder", "data.path": str(folder)}


def _climbing(root: Path) -> dict[str, str]:
    """An .npz file whose only array has a name that leads out of the folder."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.zeros((64, 8, 8), np.uint8))
    with zipfile.ZipFile(root / "climbing.npz", "w") as archive:
        archive.writestr("../../escaped.npy", stream.getvalue())
    return {"data.source": "npz", "data.path": str(root / "climbing.npz")}


def _elsewhere(root: Path) -> dict[str, str]:
    """A folder of images that leads out by ../ to one that holds none."""
    (root / "photos").mkdir()
    (root / "empty").mkdir()
    return {"data.source": "folder", "data.path": str(root / "photos" / ".." / "empty")}


# What is given, and words that the refusal must have.
_CASES: dict[str, tuple[Callable[[Path], dict[str, str]], str]] = {
    "pickled objects in an .npz": (_pickled, "bomb.npz"),
    "a pickle named .npz": (_bare_pickle, "pickle.npz"),
    "an image of 30,000 x 30,000 pixels": (_huge, "huge.png"),
    "a file name with ../ in an .npz": (_climbing, "climbing.npz"),
    "a folder reached by ../": (_elsewhere, "empty"),
}
_CONFIGS = {
    "a config file with a syntax error": (b"def get_config(:\n", "SyntaxError"),
    "a config file that is no text": (bytes(range(256)), "mine.py"),
    "a config file that ends the program": (b"import sys\nsys.exit(0)\n", "SystemExit"),
}


def bad_input(seed: int, mutations: int) -> Outcome:
    """Hostile files and folders by the real commands; changed valid files by the readers that the commands call.

    Args:
        seed: of the changes.
        mutations: of each kind of file.

    Returns:
        tried: inputs. passed: refused in one line with exit code 2, nothing unpickled and nothing written outside
        the workdir; of the changed files, those that were taken or refused in one line. worst: seconds that the
        slowest of the changed files took.
    """
    begin = time.perf_counter()
    with runs.workspace() as name:
        root = Path(name)
        results = {case: _refused_data(root, make, word) for case, (make, word) in _CASES.items()}
        results |= {case: _refused_config(root, text, word) for case, (text, word) in _CONFIGS.items()}
        results["a second run in a workdir"] = _second_run(root)
        results["a record that names files outside"] = _leading_out(root)
        for case, fine in results.items():
            if not fine:
                print(f"bad_input: {case}: not refused as it must be", flush=True)
        tried, passed, slowest = try_mutations(np.random.default_rng(seed), mutations, root / "mutations")
    metrics = {"tried": tried + len(results), "passed": passed + sum(results.values()), "worst": slowest}
    return Outcome(metrics, time.perf_counter() - begin, 0)


def _listing(root: Path) -> dict[str, tuple[int, int]]:
    """What is in a folder, without what the commands are allowed: their output, their cache."""
    allowed = ("out.txt", "err.txt", "cache")
    return {
        str(path): (path.lstat().st_mtime_ns if path.is_file() else 0, path.lstat().st_size if path.is_file() else 0)
        for path in root.rglob("*")
        if path.relative_to(root).parts[0] not in allowed
    }


def _refused(root: Path, line: list[str], word: str) -> bool:
    """Whether a command refuses what it is given, and leaves everything as it was."""
    before = _listing(root)
    done = runs.finished(line, root)
    fine = done.is_refusal(word) and _listing(root) == before and not (root.parent / "escaped.npy").exists()
    if not fine:
        print(f"bad_input: exit code {done.code}: {done.err.strip()[-400:]}", flush=True)
    return fine


def _refused_data(root: Path, make: Callable[[Path], dict[str, str]], word: str) -> bool:
    config = runs.small_config(0, make(root))
    return _refused(root, runs.command(config, root / "run"), word)


def _refused_config(root: Path, text: bytes, word: str) -> bool:
    (root / "mine.py").write_bytes(text)
    line = runs.command(Config(), root / "run")
    return _refused(root, [part if "--config=" not in part else f"--config={root / 'mine.py'}" for part in line], word)


def _second_run(root: Path) -> bool:
    """Whether a second run in the workdir of one that goes on is refused, and the first goes on to a clean end."""
    config = runs.small_config(0, {"total_images": 10**9})
    line, second = runs.command(config, root / "shared"), root / "second"
    second.mkdir()
    with runs.started(line, root) as process:
        runs.wait_until(lambda: runs.last_step(root / "shared") > 0, process)
        done = runs.finished(line, second)
        going_on = process.poll() is None
        runs.stop(process, SIGTERM)
        first = runs.ended(process, root)
    return done.is_refusal("in use by another run") and going_on and first.code == 128 + SIGTERM


def _leading_out(root: Path) -> bool:
    """Whether a checkpoint whose record names a file outside is passed over, though its own checksum is right."""
    known = runs.steps(root / "shared")
    folder = root / "shared" / "checkpoints" / str(known[-1])
    record = integrity.read_record(folder)
    outside = os.path.relpath(root / "mine.py", folder)
    content = (root / "mine.py").read_bytes()
    record.files[outside] = (len(content), zlib.crc32(content))
    integrity.seal(folder, record)
    config = runs.small_config(0, {"total_images": 10**9})
    return runs.finished(runs.command(config, root / "shared"), root).is_refusal("outside the checkpoint")
