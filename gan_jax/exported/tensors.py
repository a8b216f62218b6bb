"""Reads safetensors files into NumPy arrays. Imports errors only.

The format is one length, one JSON header and the bytes of the arrays; the library of that name writes it, and is not
needed to read it.
"""

import json
import math
from pathlib import Path

import numpy as np

from gan_jax.errors import InputError

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U32": "<u4",
    "U8": "|u1",
    "BOOL": "|b1",
}


def read_tensors(content: bytes, path: Path) -> dict[str, np.ndarray]:
    """Arrays by name.

    Args:
        content: of the file.
        path: of the file, for messages.

    Raises:
        InputError: it is no safetensors file, or holds a type that weights do not have.
    """
    arrays = {}
    try:
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            dtype, shape, (first, last) = np.dtype(_TYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
            if not 0 <= first <= last <= len(content) - start or last - first != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{name} lies outside the file")
            arrays[name] = np.frombuffer(content, dtype, math.prod(shape), start + first).reshape(shape)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no safetensors file of weights ({error}): export the run again") from None
    return arrays
