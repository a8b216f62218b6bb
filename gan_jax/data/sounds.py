"""Sounds: .wav files of any rate, and resampling. Imports folder; soundfile and SciPy when sounds are asked for."""

import collections
import functools
import os
import threading
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource
from gan_jax.data.folder import FolderSource, Kind, from_files, list_split
from gan_jax.errors import InputError

SOUNDS = Kind((".wav", ".flac", ".ogg"), "sound", "sounds", "WAV, FLAC or Ogg files")


def load_sounds(root: Path, split: str, config: DataConfig) -> ArraySource | FolderSource:
    """Sounds of a folder, laid out as images are (see `folder.load_folder`): float32 [length, 1] in [-1, 1].

    Every sound is mixed to one channel, resampled to `config.sample_rate`, and cut or filled up with silence to
    `config.length` samples. What is left out or changed is counted, and the first file of each sort named.

    Args:
        root: the folder.
        split: "train" or "test".
        config: length, sample rate and residency.

    Raises:
        InputError: folder or split is missing, soundfile is missing, or no sound can be decoded.
    """
    if not root.is_dir():
        raise InputError(f"config.data.path={root}: no such folder: name a folder of WAV files")
    _soundfile()
    listing = list_split(root, split, SOUNDS)
    remarks = _Remarks()
    decode = functools.partial(read_sound, length=config.length, sample_rate=config.sample_rate, remarks=remarks)

    def report() -> None:
        if text := remarks.text(len(listing[0])):
            warnings.warn(f"{root}: {text}", stacklevel=5)

    return from_files(listing, (config.length, 1), decode, config, SOUNDS, report)


class _Remarks:
    """What was odd about files: counts by sort, and the first file of each, in order of their names."""

    def __init__(self) -> None:
        self._files: dict[str, set[str]] = collections.defaultdict(set)
        self._lock = threading.Lock()

    def add(self, sort: str, file: str) -> None:
        with self._lock:
            self._files[sort].add(file)

    def text(self, count: int) -> str:
        """One line; empty if nothing was odd."""
        parts = [f"{len(files)} {sort} (first: {min(files)})" for sort, files in sorted(self._files.items())]
        return f"of {count} sounds " + ", ".join(parts) if parts else ""


def read_sound(path: str, length: int, sample_rate: int, remarks: _Remarks | None = None) -> np.ndarray:
    """One sound file, float32 [length, 1] in [-1, 1].

    Args:
        path: any file that libsndfile reads, of any rate, width and number of channels.
        length: samples wanted; the beginning of longer sounds, silence behind shorter ones.
        sample_rate: samples a second wanted.
        remarks: collects what is odd.

    Raises:
        ValueError: the file is empty, holds no sample, or samples that are no numbers.
        Exception: of soundfile, for damaged files.
    """
    soundfile = _soundfile()
    note = remarks.add if remarks else lambda sort, file: None
    if not os.path.getsize(path):
        note("empty, left out", path)
        raise ValueError("the file is empty")
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            # No more than is needed, however long the file is.
            wanted = min(frames, -(-length * rate // sample_rate) + rate)
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except Exception:
        note("damaged, left out", path)
        raise
    if not len(samples):
        note("without a sample, left out", path)
        raise ValueError("the file holds no samples")
    if not np.isfinite(samples).all():
        note("damaged, left out", path)
        raise ValueError("the file holds samples that are no numbers")
    if len(samples) < wanted:
        note("cut short, filled up with silence", path)
    if channels > 1:
        note("of several channels, mixed to one", path)
    if rate != sample_rate:
        note(f"resampled to {sample_rate} Hz", path)
    return fit(resample(samples.mean(1), rate, sample_rate), length)


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples float32 [N] of one rate at another, by a polyphase filter that lets no alias through."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    ratio = Fraction(wanted, rate).limit_denominator(1000)
    found: np.ndarray = resample_poly(samples.astype(np.float64), ratio.numerator, ratio.denominator)
    return found.astype(np.float32)


def fit(samples: np.ndarray, length: int) -> np.ndarray:
    """Samples [N] cut or filled up to `length` and kept in [-1, 1]: float32 [length, 1]."""
    whole = np.zeros(length, np.float32)
    whole[: min(length, len(samples))] = samples[:length]
    return np.clip(whole, -1, 1)[:, None]


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # the package, or the library below it
        raise InputError("config.data.source=wav needs soundfile: pip install 'gan_jax[audio]'") from None
    return soundfile
