"""What a source of examples is, and the one that holds its examples in memory. Imports NumPy and errors only."""

import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, Self

import numpy as np

from gan_jax.errors import InputError

Batch = dict[str, np.ndarray]
CHUNK = 256  # examples that one thread reads at a time when a set is loaded whole


class Source(Protocol):
    """A finite set of examples that can be read in any order, from several threads at once."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example: (height, width, channels) of an image, (length, channels) of a signal, (2,) of a point."""
        ...

    @property
    def num_classes(self) -> int:
        """Classes of the labels; 0 = unlabelled."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class; empty if unlabelled."""
        ...

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def read(self, indices: np.ndarray) -> Batch:
        """Examples by index.

        Args:
            indices: int64 [B], each in [0, len).

        Returns:
            "image": uint8 [B, H, W, C], float32 [B, L, C] of signals and one-hot letters, or float32 [B, 2] of toy
            points; and, if labelled, "label": int32 [B].
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
    """Examples in memory.

    Attributes:
        arrays: "image" [N, ...] and, if labelled, "label" int32 [N].
        num_classes: classes of the labels; 0 = unlabelled.
        class_names: one name a class.
        skipped: files that were left out because they cannot be decoded.
    """

    arrays: dict[str, np.ndarray]
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    skipped: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.arrays["image"].shape[1:]

    def __len__(self) -> int:
        return len(self.arrays["image"])

    @staticmethod
    def gather(arrays: Mapping[str, Any], indices: Any) -> dict[str, Any]:
        """Examples by index, for NumPy and JAX arrays alike: the host reads with it, the device jits it.

        It knows no source, so that it compiles once for all sources of a kind and size.

        Args:
            arrays: `arrays` of a source, on the host or on a device.
            indices: integers of any shape [...].

        Returns:
            The arrays of a batch, each [..., *shape of one].
        """
        return {name: array[indices] for name, array in arrays.items()}

    def read(self, indices: np.ndarray) -> Batch:
        """Examples by index, see `Source.read`."""
        return self.gather(self.arrays, np.asarray(indices))

    def part(self, rows: np.ndarray) -> Self:
        """Those of its examples at rows int64 [N]."""
        return dataclasses.replace(self, arrays={name: array[rows] for name, array in self.arrays.items()})


@dataclasses.dataclass(frozen=True, eq=False)
class PartSource:
    """Some examples of another source, which reads them when they are asked for.

    Attributes:
        whole: the other source.
        rows: int64 [N], those of its examples that are in the part.
    """

    whole: Source
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.whole.shape

    @property
    def num_classes(self) -> int:
        """Classes of the whole."""
        return self.whole.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the whole."""
        return self.whole.class_names

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: np.ndarray) -> Batch:
        """Examples by index, see `Source.read`."""
        return self.whole.read(self.rows[indices])


def part_of(source: Source, rows: np.ndarray) -> Source:
    """The examples of a source at rows int64 [N], in memory if the source is."""
    return source.part(rows) if isinstance(source, ArraySource) else PartSource(source, rows)


def labelled(
    images: np.ndarray, labels: np.ndarray | None, class_names: tuple[str, ...], skipped: int = 0
) -> ArraySource:
    """Images and, if there are any, labels as a source."""
    if labels is None:
        return ArraySource({"image": images}, skipped=skipped)
    arrays = {"image": images, "label": labels.astype(np.int32)}
    return ArraySource(arrays, len(class_names), class_names, skipped)


def fits(shape: tuple[int, ...], count: int, residency: str, resident_mb: int) -> bool:
    """Whether `count` examples of a shape, a byte a value, are to be held in memory, by `config.data.residency`."""
    megabytes = count * int(np.prod(shape)) / 2**20
    return residency == "device" or (residency == "auto" and megabytes <= resident_mb)


def in_memory(source: Source, threads: int) -> ArraySource:
    """Reads a source whole.

    Args:
        source: any source.
        threads: that read at the same time.
    """
    if isinstance(source, ArraySource):
        return source
    parts = _read_all(source, threads, lambda part: part)
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return ArraySource(arrays, source.num_classes, source.class_names, getattr(source, "skipped", 0))


def balanced_rows(source: Source, threads: int) -> np.ndarray:
    """Rows int64 [K * M] in which each of the K classes that occur comes as often as the commonest one, M times.

    A rare class's examples are repeated in turn. Labels of a set that is not in memory are read with its images, once.

    Args:
        source: labelled.
        threads: that read at the same time.

    Raises:
        InputError: the source has no labels.
    """
    if not source.num_classes:
        raise InputError("config.data.balanced=true needs labels: choose labelled data, or leave it off")
    labels = (
        source.arrays["label"]
        if isinstance(source, ArraySource)
        else np.concatenate(_read_all(source, threads, lambda part: part["label"]))
    )
    most = np.bincount(labels).max()
    return np.concatenate([np.resize(np.flatnonzero(labels == number), most) for number in np.unique(labels)])


def _read_all(source: Source, threads: int, keep: Callable[[Batch], Any]) -> list[Any]:
    """What `keep` takes of every part of a source, in order."""
    starts = range(0, len(source), CHUNK)
    with ThreadPoolExecutor(threads) as pool:
        return list(
            pool.map(lambda start: keep(source.read(np.arange(start, min(start + CHUNK, len(source))))), starts)
        )
