"""Arrays and a few facts about them in one .npz file that is whole or not there, and checked when read.

Imports errors only.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.errors import InputError

_FACTS = "__facts__"


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, types, shapes and bytes, in the order of the names: 64 hex digits."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file in one step: a reader sees the old content or the new, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes files that only their owner reads
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
    """Writes arrays and facts (plain values, ready for JSON) to an .npz file; returns the digest of the arrays."""
    total = digest(arrays)
    text = json.dumps({**facts, "digest": total}, sort_keys=True)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays, **{_FACTS: np.frombuffer(text.encode(), np.uint8)})
    write_bytes(path, buffer.getvalue())
    return total


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `save_arrays` wrote.

    Returns:
        The arrays, and the facts with the "digest" of the arrays.

    Raises:
        InputError: the file is missing, was not written by `save_arrays`, or is damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays.pop(_FACTS).tobytes())
        stored = facts["digest"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        line = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable gan_jax file ({line}): write it anew") from None
    if digest(arrays) != stored:
        raise InputError(f"{path}: damaged, its arrays do not have the digest {stored[:12]}: write it anew")
    return arrays, facts


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dicts of arrays as one dict with names like "params/Dense_0/kernel"."""
    flat: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}/"))
        else:
            flat[prefix + name] = np.asarray(value)
    return flat


def unflatten(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = array
    return tree
