"""Lets `jax.export.deserialize` read where the package flatbuffers is not installed. Imports NumPy only.

JAX stores exported programs as FlatBuffers and its reader imports that package, which JAX does not depend on. Reading
takes a few lines, since the format is tables of offsets (https://flatbuffers.dev/internals); writing takes the package.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def reading_flatbuffers() -> Iterator[None]:
    """Offers a reader under the package's name while JAX's module is imported and used, if the package is missing.

    JAX keeps its module; the name `flatbuffers` is free again afterwards, so that nobody else finds half a package.
    """
    stand_in = {} if _installed() else _modules()
    sys.modules.update(stand_in)
    try:
        yield
    finally:
        for name in stand_in:
            sys.modules.pop(name, None)


def _installed() -> bool:
    try:
        importlib.import_module("flatbuffers")
    except ImportError:
        return False
    return True


class _Number:
    """A kind of number: how it lies in the buffer and what it becomes."""

    def __init__(self, dtype: str, py_type: type = int) -> None:
        self.dtype, self.py_type = np.dtype(dtype), py_type


_UOFFSET, _SOFFSET, _VOFFSET = _Number("<u4"), _Number("<i4"), _Number("<u2")


def _read(kind: _Number, buffer: Any, place: int) -> Any:
    if place < 0:
        raise ValueError("an offset before the buffer")
    return kind.py_type(np.frombuffer(buffer, kind.dtype, 1, place)[0])


class _Table:
    """A table at `Pos` of the buffer `Bytes`; the names are those that generated code calls."""

    def __init__(self, buffer: Any, place: int) -> None:
        self.Bytes, self.Pos = buffer, place

    def Offset(self, slot: int) -> int:
        """Where a field lies from `Pos` on; 0 = it has its default."""
        directory = self.Pos - _read(_SOFFSET, self.Bytes, self.Pos)
        return _read(_VOFFSET, self.Bytes, directory + slot) if slot < _read(_VOFFSET, self.Bytes, directory) else 0

    def Get(self, kind: _Number, place: int) -> Any:
        """A number."""
        return _read(kind, self.Bytes, place)

    def Indirect(self, place: int) -> int:
        """Where an offset leads."""
        return place + _read(_UOFFSET, self.Bytes, place)

    def String(self, place: int) -> bytes:
        """A text."""
        start = self.Indirect(place)
        length = _read(_UOFFSET, self.Bytes, start)
        return bytes(self.Bytes[start + 4 : start + 4 + length])

    def Vector(self, offset: int) -> int:
        """Where the entries of a vector begin."""
        return self.Indirect(offset + self.Pos) + 4

    def VectorLen(self, offset: int) -> int:
        """Entries of a vector."""
        return _read(_UOFFSET, self.Bytes, self.Vector(offset) - 4)

    def GetVectorAsNumpy(self, kind: _Number, offset: int) -> np.ndarray:
        """The numbers of a vector."""
        return np.frombuffer(self.Bytes, kind.dtype, self.VectorLen(offset), self.Vector(offset))

    def Union(self, other: Any, offset: int) -> None:
        """Makes `other` the table that a union field leads to."""
        other.Bytes, other.Pos = self.Bytes, self.Indirect(offset + self.Pos)


def _modules() -> dict[str, types.ModuleType]:
    root = types.ModuleType("flatbuffers")
    parts = {name: types.ModuleType(f"flatbuffers.{name}") for name in _CONTENT}
    for name, part in parts.items():
        vars(part).update(_CONTENT[name])
        setattr(root, name, part)
    vars(root)["Builder"] = type("Builder", (), {})  # named in annotations; writing takes the package
    vars(root)["__path__"] = []
    return {"flatbuffers": root} | {f"flatbuffers.{name}": part for name, part in parts.items()}


_CONTENT: dict[str, dict[str, Any]] = {
    "table": {"Table": _Table},
    "encode": {"Get": lambda kind, buffer, place: _read(kind, buffer, place)},
    "packer": {"uoffset": _UOFFSET},
    "compat": {"import_numpy": lambda: np},
    "number_types": {
        "UOffsetTFlags": _UOFFSET,
        "SOffsetTFlags": _SOFFSET,
        "VOffsetTFlags": _VOFFSET,
        "BoolFlags": _Number("|u1", bool),
        **{f"Int{bits}Flags": _Number(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
        **{f"Uint{bits}Flags": _Number(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    },
}
