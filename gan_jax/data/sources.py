"""From `config.data` to a source of examples: the one table of sources. Imports the readers."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource, Source, in_memory, part_of
from gan_jax.data.files import FASHION_MNIST, has_idx, load_digits, load_idx, load_npz
from gan_jax.data.folder import load_folder
from gan_jax.data.records import load_records
from gan_jax.data.series import load_mnist1d
from gan_jax.data.sounds import load_sounds
from gan_jax.data.spoken import load_spoken
from gan_jax.data.toy import load_grid, load_ring, load_stacked
from gan_jax.data.words import load_words
from gan_jax.errors import InputError

__all__ = ["ArraySource", "Source", "load_source"]


def load_source(config: DataConfig, split: str = "train", seed: int = 0) -> Source:
    """Opens the examples that a config names.

    Args:
        config: source, path, image size, channels and residency. The toy sets ring, grid and
            stacked have their own number of channels. For stacked, `path` names the set whose
            images are stacked: a folder of idx files, an .npz file, "digits" or "tfds:NAME";
            empty = Debian's Fashion-MNIST.
        split: "train", "test", or "validation": the part of the training examples that `config.validation` holds out,
            the same in every run, whatever the seed.
        seed: of the draws of the toy sets; nothing else depends on it.

    Raises:
        InputError: the data cannot be had; the message says how to get it.
    """
    if split not in ("train", "test", "validation"):
        raise InputError(f"split {split!r} is unknown: choose train, test or validation")
    if split == "validation" and not config.validation:
        raise InputError("config.data.validation=0 holds nothing out: set the part to hold out, e.g. 0.1")
    try:
        source = _open(config, "test" if split == "test" else "train", seed)
        return source if split == "test" or not config.validation else _divided(source, config.validation, split)
    except MemoryError as error:
        raise InputError(
            f"the examples of config.data.source={config.source} do not fit into memory ({error}):"
            " lower config.data.image_size, or take --config.data.residency=stream"
        ) from None


def _divided(source: Source, share: float, split: str) -> Source:
    """What is left for training, or what is held out; both in the order of the whole."""
    count = max(1, round(share * len(source)))
    if count >= len(source):
        raise InputError(f"config.data.validation={share:g} leaves none of {len(source)} examples: lower it")
    order = np.random.default_rng(0).permutation(len(source))
    return part_of(source, np.sort(order[:count] if split == "validation" else order[count:]))


def _open(config: DataConfig, split: str, seed: int) -> Source:
    path = Path(os.path.expanduser(config.path))  # unlike pathlib's, it leaves an unknown ~user as it is
    match config.source:
        case "ring":
            return load_ring(split, seed)
        case "grid":
            return load_grid(split, seed)
        case "stacked":
            return load_stacked(_stacked_base(config, split), split, seed)
        case "digits":
            return load_digits(split, config)
        case "mnist1d":
            return load_mnist1d(split)
        case "spoken":
            return load_spoken(split, config)
        case "words":
            return load_words(path if config.path else None, split, config)
        case "idx" | "folder" | "npz" | "wav" if not config.path:
            raise InputError(f"config.data.path is empty: source {config.source} needs --config.data.path=YOUR_DATA")
        case "idx":
            return load_idx(path, split, config)
        case "folder":
            return load_folder(path, split, config)
        case "wav":
            return load_sounds(path, split, config)
        case "npz":
            return load_npz(path, split, config)
        case name if config.path and has_idx(path):
            return load_idx(path, split, config)
        case name:
            return load_records(name.removeprefix("tfds:"), split, config)


def _stacked_base(config: DataConfig, split: str) -> ArraySource:
    """The grey images that are stacked, in memory."""
    path = config.path or str(FASHION_MNIST)
    if path == "digits" or path.startswith("tfds:"):
        source, path = path, ""
    else:
        source = "npz" if path.endswith(".npz") else "idx"
    base = dataclasses.replace(config, source=source, path=path, channels=1, residency="device")
    return in_memory(load_source(base, split), config.threads)
