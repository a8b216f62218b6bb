"""Spoken digits, made on the spot by Debian's espeak-ng: ten digits by many voices, pitches and speeds.

Voices are split, so that those of the test set were never heard in training. Made once and cached. Imports sounds.
"""

import io
import itertools
import os
import shutil
import subprocess
import wave
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import platformdirs

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource, labelled
from gan_jax.data.sounds import fit, resample
from gan_jax.errors import InputError

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland")
# Variants of a voice: male, female and named ones, all that sound like people.
VOICES = {
    "train": (
        *("m1", "m2", "m3", "m5", "m6", "m7", "f1", "f2", "f4", "Alex", "Andrea", "Andy", "Annie", "Lee"),
        *("Michael", "Mike", "adam", "benjamin", "caleb", "david", "ed", "edward", "john", "linda", "max", "paul"),
        *("quincy", "rob", "robert", "sandro", "steph", "victor"),
    ),
    "test": ("m4", "m8", "f3", "f5", "Alicia", "belinda", "marcelo", "travis"),
}
PITCHES, SPEEDS = (35, 50, 65), (130, 160, 190)  # of espeak-ng: 0 to 99, words a minute
_ONSET = 0.03  # seconds of silence before each digit


def load_spoken(split: str, config: DataConfig) -> ArraySource:
    """Digits spoken by espeak-ng, float32 [length, 1], labelled; `config.length` samples at `config.sample_rate`.

    Args:
        split: "train" or "test": voices that the other has not.
        config: length, sample rate and threads.

    Raises:
        InputError: espeak-ng is missing or fails.
    """
    wanted = list(itertools.product(range(10), ACCENTS, VOICES[split], PITCHES, SPEEDS))
    labels = np.array([digit for digit, *_ in wanted], np.int32)
    path = _cache(split, config)
    try:
        sounds = np.load(path)
    except (OSError, ValueError, EOFError):
        sounds = _speak_all(wanted, config)
        _keep(path, sounds)
    return labelled(sounds.astype(np.float32) / 32767, labels, NAMES)


def _speak_all(wanted: list[tuple[int, str, str, int, int]], config: DataConfig) -> np.ndarray:
    """int16 [N, length, 1]."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise InputError("config.data.source=spoken needs the speech synthesiser: apt-get install espeak-ng")
    print(f"espeak-ng speaks {len(wanted):,} digits (once)", flush=True)

    def work(one: tuple[int, str, str, int, int]) -> np.ndarray:
        samples = speak(program, *one, config.sample_rate)
        return np.round(32767 * fit(samples, config.length)).astype(np.int16)

    with ThreadPoolExecutor(config.threads) as pool:
        return np.stack(list(pool.map(work, wanted)))


def speak(program: str, digit: int, accent: str, voice: str, pitch: int, speed: int, sample_rate: int) -> np.ndarray:
    """One digit, float32 [N], with its onset at a fixed place and its largest sample at 0.9.

    Raises:
        InputError: espeak-ng fails.
    """
    line = [program, "-v", f"{accent}+{voice}", "-p", str(pitch), "-s", str(speed), "--stdout", NAMES[digit]]
    done = subprocess.run(line, capture_output=True)
    try:
        with wave.open(io.BytesIO(done.stdout)) as file:
            # Written to a pipe, so its header knows no length.
            raw, rate = file.readframes(2**24), file.getframerate()
    except (wave.Error, EOFError):
        raw, rate = b"", 1
    samples = np.frombuffer(raw, "<i2").astype(np.float32)
    if done.returncode or not np.abs(samples).max(initial=0):
        why = " ".join(done.stderr.decode(errors="replace").split()) or "no sound"
        raise InputError(f"{' '.join(line)} failed ({why}): is espeak-ng whole? apt-get install --reinstall espeak-ng")
    samples = resample(samples, rate, sample_rate)
    samples *= 0.9 / np.abs(samples).max()
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    silence = np.zeros(round(_ONSET * sample_rate), np.float32)
    return np.concatenate([silence, samples[loud[0] : loud[-1] + 1]])


def _cache(split: str, config: DataConfig) -> Path:
    folder = Path(os.environ.get("GAN_JAX_CACHE") or platformdirs.user_cache_dir("gan_jax")) / "spoken"
    facts = (*ACCENTS, *VOICES[split], *map(str, (*PITCHES, *SPEEDS)))
    name = format(zlib.crc32(" ".join(facts).encode()), "08x")
    return folder / f"{split}_{config.length}_{config.sample_rate}_{name}.npy"


def _keep(path: Path, sounds: np.ndarray) -> None:
    """Writes the cache; a folder that cannot be written costs time alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with open(part, "wb") as file:
            np.save(file, sounds)
        part.replace(path)
    except OSError:
        pass
