"""What a checkpoint must be to be trusted: its record, and the checks against it. Imports config, errors, files."""

import dataclasses
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from gan_jax.config import as_now
from gan_jax.errors import InputError
from gan_jax.runtime.files import write_atomically

PyTree = Any

RECORD = "record.json"
SETTINGS = "settings"  # of the run, in the record's meta
_TIMES = "_CHECKPOINT_METADATA"  # Orbax's time stamps, still being written when all else is done; not needed to read


@dataclasses.dataclass(frozen=True)
class Record:
    """What a checkpoint says about itself.

    Attributes:
        step: training steps done.
        leaves: path of each array -> (dtype, shape, CRC-32 of its bytes in C order).
        metrics: scores of this step, None where not finite.
        meta: anything else that JSON holds.
        files: path of each file -> (length, CRC-32).
    """

    step: int
    leaves: dict[str, tuple[str, tuple[int, ...], int]]
    metrics: dict[str, float | None]
    meta: dict[str, Any]
    files: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """The leaves of a pytree by their path, e.g. "g.params.Dense_0.kernel"."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in leaves:
            raise ValueError(f"two leaves of the state are both called {name}")
        leaves[name] = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return leaves


def signature(leaf: Any) -> tuple[str, tuple[int, ...]]:
    """Type and shape of an array, e.g. ("bfloat16", (3, 4)) or ("key<fry>", ())."""
    return str(leaf.dtype), tuple(leaf.shape)


def on_host(leaf: Any) -> np.ndarray:
    """An array's values on every process, for any sharding; a view on a CPU device, a copy from any other."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array):
        if leaf.is_fully_replicated:
            leaf = leaf.addressable_data(0)  # a handle of its own: `leaf` would keep the copy and not be donatable
        elif not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(jax.device_get(leaf))


def checksum(values: np.ndarray) -> int:
    """CRC-32 of an array's bytes, in C order."""
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)  # [...] -> [bytes]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What two sets of settings do not agree on, e.g. "seed was 0 and is now 3"; empty if nothing."""
    changed = [name for name in now if name in before and before[name] != now[name]]
    shown = ", ".join(f"{name} was {before[name]!r} and is now {now[name]!r}" for name in changed[:3])
    return shown + (f" (and {len(changed) - 3} more)" if len(changed) > 3 else "")


def check_settings(record: Record, settings: Mapping[str, Any]) -> None:
    """Compares the settings of the run that wrote a checkpoint with those wanted.

    Raises:
        InputError: names the fields that differ. Fields that only one side has do not count.
    """
    stored = record.meta.get(SETTINGS)
    if isinstance(stored, dict) and (found := differences(as_now(stored), settings)):
        raise InputError(f"written by a run with other settings: {found}")


def check_structure(record: Record, abstract: PyTree) -> None:
    """Compares names, types and shapes with the state that is wanted.

    Raises:
        InputError: names the first array that is not alike.
    """
    wanted = {name: signature(leaf) for name, leaf in named_leaves(abstract).items()}
    for name in {**record.leaves, **wanted}:
        if name not in wanted or name not in record.leaves:
            where = "only in the checkpoint" if name in record.leaves else "not in the checkpoint"
            raise InputError(f"written by a run with other settings or another version: {name} is {where}")
        dtype, shape, _ = record.leaves[name]
        if (dtype, shape) != wanted[name]:
            here = f"{wanted[name][0]}{list(wanted[name][1])}"
            raise InputError(f"written by a run with other settings: {name} is {dtype}{list(shape)}, here {here}")


def check_leaves(record: Record, leaves: Mapping[str, Any]) -> None:
    """Compares the arrays that were read with those that were written.

    Raises:
        InputError: names the first array that changed.
    """
    for name, leaf in leaves.items():
        if checksum(on_host(leaf)) != record.leaves[name][2]:
            raise InputError(f"{name} is not what was written (checksum)")


def write_record(folder: Path, record: Record) -> None:
    """Sums up all files of a checkpoint and writes its record beside them.

    Raises:
        InputError: the operating system refused.
    """
    files = {
        str(path.relative_to(folder)): (path.stat().st_size, zlib.crc32(path.read_bytes()))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _TIMES
    }
    seal(folder, dataclasses.replace(record, files=files))


def seal(folder: Path, record: Record) -> None:
    """Writes a record with its own checksum.

    Raises:
        InputError: the operating system refused.
    """
    body = json.dumps(dataclasses.asdict(record))
    write_atomically(folder / RECORD, json.dumps({"crc32": zlib.crc32(body.encode()), "body": body}).encode())


def read_record(folder: Path) -> Record:
    """Reads the record of the checkpoint `folder`, whose name is the step.

    Raises:
        InputError: it is missing, damaged, or of another step.
    """
    try:
        tree = json.loads((folder / RECORD).read_text())
        if zlib.crc32(tree["body"].encode()) != tree["crc32"]:
            raise ValueError("checksum")
        body = json.loads(tree["body"])
        body["leaves"] = {name: (dtype, tuple(shape), crc) for name, (dtype, shape, crc) in body["leaves"].items()}
        record = Record(**body)
    except FileNotFoundError:
        raise InputError(f"{RECORD} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{RECORD} is damaged ({one_line(error)})") from None
    if str(record.step) != folder.name:
        raise InputError(f"{RECORD} belongs to step {record.step}")
    return record


def check_files(folder: Path, record: Record) -> None:
    """Compares every file of a checkpoint with its record.

    Raises:
        InputError: names the first file that is missing or changed.
    """
    for name, (size, crc) in record.files.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{RECORD} names {name}, a file outside the checkpoint")
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{name} cannot be read ({error.strerror})") from None
        if len(content) != size:
            raise InputError(f"{name} has {len(content)} bytes, written were {size}")
        if zlib.crc32(content) != crc:
            raise InputError(f"{name} is not what was written (checksum)")


def one_line(error: BaseException) -> str:
    """Type and message of an error, its middle left out: TensorStore writes paragraphs with the cause at the end."""
    text = " ".join(str(error).split())
    name = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return name + (text if len(text) <= 160 else f"{text[:60]} ... {text[-95:]}")
