"""Valid files changed at random: each is read as well or refused in one line. Imports config, data, errors.

A reader may refuse a file or take it (a changed pixel is a pixel). It may neither fail otherwise nor write anything.
"""

import gzip
import io
import json
import os
import struct
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan_jax.config import Config, DataConfig, load_config, read_json, to_dict
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError

SIZE = (8, 8)
_NUMBERS = (b"0", b"-1", b"1e999", b"nan", b"99999999999999999999", b"0.5", b"None", b"'x'", b"()", b"2**70")


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """A file's content with one to four changes: bits, bytes, spans, numbers, the end."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        at = int(random.integers(len(data) + 1))
        span = int(random.integers(1, 9)) if random.random() < 0.8 else int(random.integers(1, len(data) + 2))
        match int(random.integers(7)):
            case 0 if at < len(data):
                data[at] ^= 1 << int(random.integers(8))
            case 1:
                data[at : at + span] = random.bytes(span)
            case 2:
                del data[at : at + span]
            case 3:
                data[at:at] = data[at : at + span]
            case 4:
                data[at:] = b""
            case 5:
                data[at : at + 4] = struct.pack(">I", int(random.integers(2**32)))
            case _:
                digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57] or [at]
                place = digits[int(random.integers(len(digits)))]
                data[place : place + 1] = _NUMBERS[int(random.integers(len(_NUMBERS)))]
    return bytes(data)


# ---------------------------------------------------------------- readers, each of a folder with one changed file


def _config_text() -> bytes:
    tree = {"seed": 1, "total_images": 6_400, "data.source": "digits", "data.image_size": "8,8", "model.g_width": 16}
    lines = [f"            {name!r}: {value!r},\n" for name, value in tree.items()]
    head = "from gan_jax.config import Config\n\n\ndef get_config():\n    return Config().replace(\n        {\n"
    return (head + "".join(lines) + "        }\n    )\n").encode()


def _pixels(count: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 9, 7), np.uint8)


def _idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", length) for length in array.shape)
    return head + array.tobytes()


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(_pixels(1)[0]).save(stream, kind)
    return stream.getvalue()


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, images=_pixels(), labels=np.arange(12) % 3)
    return stream.getvalue()


def _load(source: str, path: Path) -> None:
    config = DataConfig(source=source, path=str(path), image_size=SIZE, channels=1, residency="device")
    found = load_source(config, "train")
    found.read(np.arange(len(found)))


def _beside(folder: Path, names: Mapping[str, bytes]) -> Path:
    for name, content in names.items():
        (folder / name).write_bytes(content)
    return folder


Reader = Callable[[Path, bytes], object]
_LABELS = gzip.compress(_idx((np.arange(12) % 3).astype(np.uint8)), mtime=0)
_IMAGES, _NAMES = _idx(_pixels()), ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz")


def _read_config(folder: Path, content: bytes) -> object:
    return load_config(_beside(folder, {"mine.py": content}) / "mine.py")


def _read_workdir(folder: Path, content: bytes) -> object:
    return read_json(_beside(folder, {"config.json": content}) / "config.json")


# What is changed: its valid content, and who reads it.
TARGETS: dict[str, tuple[Callable[[], bytes], Reader]] = {
    "config file": (_config_text, _read_config),
    "config.json": (lambda: json.dumps(to_dict(Config()), indent=2).encode(), _read_workdir),
    "idx images": (
        lambda: _IMAGES,
        lambda folder, content: _load("idx", _beside(folder, {_NAMES[0]: content, _NAMES[1]: _LABELS})),
    ),
    "idx labels.gz": (
        lambda: _LABELS,
        lambda folder, content: _load("idx", _beside(folder, {_NAMES[0]: _IMAGES, _NAMES[1]: content})),
    ),
    "PNG": (
        lambda: _picture("png"),
        lambda folder, content: _load("folder", _beside(folder, {"a.png": content, "b.png": _picture("png")})),
    ),
    "JPEG": (
        lambda: _picture("jpeg"),
        lambda folder, content: _load("folder", _beside(folder, {"a.jpg": content, "b.png": _picture("png")})),
    ),
    "WebP": (
        lambda: _picture("webp"),
        lambda folder, content: _load("folder", _beside(folder, {"a.webp": content, "b.png": _picture("png")})),
    ),
    "npz": (_npz, lambda folder, content: _load("npz", _beside(folder, {"set.npz": content}) / "set.npz")),
}


# ---------------------------------------------------------------- trying


def try_out(target: str, content: bytes, folder: Path) -> tuple[str, float]:
    """Lets the reader of a kind of file read a content.

    Returns:
        What went wrong, empty if nothing: another error than `InputError`, a message of several lines, a file
        written; and the seconds it took.
    """
    reader, problem, start = TARGETS[target][1], "", time.perf_counter()
    _beside(folder, {})
    before = {path.name for path in folder.iterdir()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with written() as paths:
                reader(folder, content)
        except InputError as error:
            problem = "a message of several lines" if "\n" in str(error) or not str(error) else ""
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            problem = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    strange = [path for path in paths if Path(path).parent != folder]
    for path in folder.iterdir():
        if path.name not in before:
            path.unlink()
    return problem or (f"wrote {strange[0]}" if strange else ""), seconds


def try_mutations(random: np.random.Generator, count: int, folder: Path) -> tuple[int, int, float]:
    """Changes each kind of file `count` times.

    Returns:
        Files tried, files that were taken or refused as they must be, seconds of the slowest.
    """
    folder.mkdir()
    tried, passed, slowest = 0, 0, 0.0
    for target, (valid, _) in TARGETS.items():
        content = valid()
        problem, _ = try_out(target, content, folder)  # imports what it needs, too
        if problem:
            raise InputError(f"the unchanged {target} cannot be read: {problem}")
        for _ in range(count):
            changed = mutate(content, random)
            problem, seconds = try_out(target, changed, folder)
            if problem:
                print(f"bad_input: {target}: {problem}: {changed[:2_000]!r}", flush=True)
            tried, passed, slowest = tried + 1, passed + (not problem), max(slowest, seconds)
    return tried, passed, slowest


_watched: list[list[str]] = []  # of those who want to know what Python writes
_hooked: list[bool] = []  # an audit hook stays for good


@contextmanager
def written() -> Iterator[list[str]]:
    """Names of all that Python creates, changes, moves or deletes meanwhile."""
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked.append(True)
    names: list[str] = []
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _watched.append(names)
    try:
        yield names
    finally:
        _watched.remove(names)
        sys.dont_write_bytecode = bytecode


_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    writes = event in _CHANGES
    if event == "open":
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    if writes and isinstance(arguments[0], (str, bytes, os.PathLike)):
        for names in _watched:
            names.append(os.fsdecode(arguments[0]))
