"""Reference statistics on disk, so that the real side of a score is computed once. Imports errors, storage."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import platformdirs

from gan_jax.errors import InputError
from gan_jax.metrics import storage

_LOG = logging.getLogger(__name__)
_FORMAT = 1  # raise it when code changes what equal weights compute: old files are then left aside


@dataclass(frozen=True, kw_only=True)
class ReferenceKey:
    """All that reference statistics depend on.

    Attributes:
        data: fingerprint of the data, see `fingerprint`.
        split: e.g. "train" or "test".
        image_shape: (H, W, C) that images were resized to.
        network: digest of the feature network.
        count: number of images.
        kind: what is stored, e.g. "moments" or "features".
    """

    data: str
    split: str
    image_shape: tuple[int, ...]
    network: str
    count: int
    kind: str = "moments"

    @property
    def digest(self) -> str:
        """sha256 of all fields: 64 hex digits."""
        return hashlib.sha256(json.dumps([_FORMAT, asdict(self)], sort_keys=True).encode()).hexdigest()


def fingerprint(*arrays: np.ndarray) -> str:
    """sha256 of arrays: their types, shapes and bytes."""
    return storage.digest({f"{number:06d}": np.asarray(array) for number, array in enumerate(arrays)})


def cache_folder() -> Path:
    """$GAN_JAX_CACHE, or the user's cache folder for gan_jax."""
    return Path(os.environ.get("GAN_JAX_CACHE") or platformdirs.user_cache_dir("gan_jax"))


def cached_arrays(
    key: ReferenceKey, compute: Callable[[], Mapping[str, np.ndarray]], folder: Path | None = None
) -> dict[str, np.ndarray]:
    """Arrays from the cache, or computed and put there; what is damaged is computed again.

    Args:
        key: names the arrays.
        compute: makes them, e.g. `lambda: moments_of(features).to_arrays()`.
        folder: None for `cache_folder()`. A folder that cannot be written costs time, not the result.
    """
    path = (folder or cache_folder()) / "references" / f"{key.digest}.npz"
    if path.exists():
        try:
            return storage.load_arrays(path)[0]
        except InputError as error:
            _LOG.warning("computing reference statistics again: %s", error)
    arrays = dict(compute())
    try:
        storage.save_arrays(path, arrays, {"key": asdict(key)})
    except OSError as error:
        _LOG.warning("reference statistics are not cached: %s", error)
    return arrays
