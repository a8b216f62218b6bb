"""Sets of TensorFlow Datasets, read at random from array_record files without TensorFlow.

Imports arrays and images; tensorflow_datasets only when such a set is asked for.
"""

import contextlib
import difflib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource, Batch, fits, in_memory
from gan_jax.data.images import Size, fit_array
from gan_jax.errors import InputError


class RecordSource:
    """Records with an "image" and perhaps a class "label", decoded when they are read."""

    def __init__(self, records: Any, class_names: tuple[str, ...], size: Size, channels: int) -> None:
        self._records, self._size, self._channels = records, size, channels
        self.class_names, self.num_classes = class_names, len(class_names)
        self.shape: tuple[int, ...] = (*size, channels)

    def __len__(self) -> int:
        return len(self._records)

    def native_shape(self, index: int) -> tuple[int, int, int]:
        """(height, width, channels) of an image as it is stored."""
        height, width, channels = self._records[index]["image"].shape
        return height, width, channels

    def read(self, indices: np.ndarray) -> Batch:
        """Reads and decodes records by index, see `Source.read`.

        Raises:
            InputError: a record is damaged, or its file was taken away.
        """
        try:
            records: Sequence[Any] = self._records.__getitems__(np.asarray(indices).tolist())
        except Exception as error:  # the readers raise many types, of C++ too
            raise InputError(
                f"{self._records}: a record cannot be read ({_line(error)}): prepare the set again"
            ) from None
        batch = {"image": np.empty((len(records), *self.shape), np.uint8)}
        for row, record in enumerate(records):  # images of one set may differ in size
            batch["image"][row] = fit_array(record["image"][None], self._size, self._channels)[0]
        if self.num_classes:
            batch["label"] = np.array([record["label"] for record in records], np.int32)
        return batch


def load_records(name: str, split: str, config: DataConfig) -> ArraySource | RecordSource:
    """A set of TensorFlow Datasets; prepared first if it is not yet, which downloads it.

    Args:
        name: as TFDS takes it, NAME or NAME/CONFIG or NAME:VERSION.
        split: as TFDS takes it; "train" and "test" of most sets.
        config: `path` is the data_dir (default: TFDS's own); size, channels and residency; sets
            that are to stay in memory come as an `ArraySource`.

    Raises:
        InputError: the name or split is unknown, the set cannot be prepared or read here, or it has no images.
    """
    with _quiet():
        records = _open(name, split, config)
        if not len(records):
            raise InputError(f"config.data.source=tfds:{name}: split {split!r} is empty: choose another set")
        try:
            first = records[0]
        except Exception as error:
            raise InputError(_ways(name, f"a record cannot be read: {_line(error)}")) from None
    image = first.get("image") if isinstance(first, dict) else None
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[-1] not in (1, 3, 4)
    ):
        keys = ", ".join(first) if isinstance(first, dict) else "none"
        raise InputError(
            f"config.data.source=tfds:{name} has no 'image' of uint8 pixels (features: {keys}): choose another"
        )
    label = records.dataset_info.features["label"] if "label" in first else None
    names = tuple(getattr(label, "names", None) or ())  # those of a ClassLabel; other labels are no classes
    source = RecordSource(records, names, config.image_size, config.channels)
    keep = fits(source.shape, len(source), config.residency, config.resident_mb)
    return in_memory(source, config.threads) if keep else source


def _open(name: str, split: str, config: DataConfig) -> Any:
    """The random-access records of a split."""
    import tensorflow_datasets as tfds

    folder = os.path.expanduser(config.path) if config.path else None
    try:
        builder = tfds.builder(name, data_dir=folder)
        if not builder.is_prepared():
            # The default format could not be read without TensorFlow.
            builder = tfds.builder(name, data_dir=folder, file_format="array_record")
            builder.download_and_prepare()
        known = list(builder.info.splits)
        records = tfds.data_source(name, split=split, data_dir=folder, download=False) if split in known else None
    except tfds.core.DatasetNotFoundError:
        close = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False), n=1)
        hint = f"did you mean {close[0]}?" if close else "see tensorflow.org/datasets/catalog"
        raise InputError(f"config.data.source=tfds:{name}: TFDS knows no such set: {hint}") from None
    except Exception as error:  # network, checksums, missing TensorFlow, formats: each raises its own type
        raise InputError(_ways(name, _line(error))) from None
    if records is None:
        raise InputError(
            f"config.data.source=tfds:{name} has no split {split!r}, only {', '.join(known)}: choose another"
        )
    return records


def _ways(name: str, why: str) -> str:
    return (
        f"config.data.source=tfds:{name} cannot be served ({why}). Three ways to get the data:"
        " (1) --config.data.path=FOLDER with the four idx files train-images-idx3-ubyte.gz and so on,"
        " or with the set as TFDS prepared it as array_record;"
        " (2) `pip install 'gan-jax[prepare]'` and a network, so that TFDS prepares it;"
        " (3) --config.data.source=npz or folder, and --config.data.path=YOUR_IMAGES"
    )


def _line(error: BaseException) -> str:
    """Type and first words of an error whose message may be pages long."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:120]}{'...' if len(words) > 120 else ''}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS's remarks and progress bars off the terminal, and has it give up soon without a network."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # for good: its threads go on after a failure
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow_datasets")]
    levels, retries = [logger.level for logger in loggers], downloader.MAX_RETRIES
    tfds.disable_progress_bar()
    downloader.MAX_RETRIES = 3  # its ten take minutes when no host can be reached
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        tfds.enable_progress_bar()
        downloader.MAX_RETRIES = retries
