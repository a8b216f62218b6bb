"""Pictures of what is no image: waves, spectrograms, words. Pure functions; imports errors and the config."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan_jax.config import ALPHABET
from gan_jax.errors import InputError

LONG = 1024  # samples from which a signal is shown with its spectrogram
_WIDTH, _HEIGHT = 144, 48  # pixels of a wave
_BINS = 64  # rows of a spectrogram
_RANGE = 60  # decibels from black to white


def is_text(samples: np.ndarray) -> bool:
    """Whether samples [N, L, C] are one-hot letters of `config.ALPHABET`."""
    samples = np.asarray(samples)
    if samples.ndim != 3 or samples.shape[-1] != len(ALPHABET):
        return False
    return bool(np.isin(samples, (0, 1)).all() and (samples.sum(-1) == 1).all())


def spell(samples: np.ndarray) -> list[str]:
    """The words of one-hot letters [N, L, 27], without the blanks at their ends."""
    return ["".join(ALPHABET[letter] for letter in row).rstrip() for row in np.argmax(samples, -1)]


def tiles(samples: np.ndarray) -> np.ndarray:
    """Each signal as a picture of its wave, long ones with their spectrogram above it.

    Args:
        samples: float [N, L, C] in [-1, 1]; channels are drawn in one picture.

    Returns:
        uint8 [N, height, width, 1].

    Raises:
        InputError: no signals, or arrays of another shape.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 3 or not samples.size:
        raise InputError(f"signals are [N, L, C], at least one, not {list(samples.shape)}")
    samples = np.clip(np.nan_to_num(samples), -1, 1)
    found = [wave(signal) for signal in samples]
    if samples.shape[1] >= LONG:
        found = [
            np.concatenate([spectrogram(signal.mean(-1)), drawn]) for signal, drawn in zip(samples, found, strict=True)
        ]
    return np.stack(found)[..., None]


def wave(signal: np.ndarray) -> np.ndarray:
    """A signal [L, C] in [-1, 1] as dark lines on white, uint8 [48, 144]."""
    picture = Image.new("L", (_WIDTH, _HEIGHT), 255)
    draw = ImageDraw.Draw(picture)
    draw.line((0, _HEIGHT / 2, _WIDTH, _HEIGHT / 2), fill=200)
    for number, channel in enumerate(signal.T):
        heights = (1 - channel) * (_HEIGHT - 1) / 2
        if len(channel) > 2 * _WIDTH:  # the span of each column
            spans = [(part.min(), part.max()) for part in np.array_split(heights, _WIDTH)]
            for x, (top, bottom) in enumerate(spans):
                draw.line((x, top, x, bottom), fill=40 + 60 * (number % 3))
        else:
            places = np.linspace(0, _WIDTH - 1, len(channel))
            draw.line(list(zip(places.tolist(), heights.tolist(), strict=True)), fill=40 + 60 * (number % 3))
    return np.asarray(picture)


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """The spectrogram of samples [L], low notes at the bottom, loud is dark: uint8 [64, 144]."""
    window = 2 * _BINS
    hop = max(1, math.ceil((len(samples) - window) / (_WIDTH - 1)))
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, window)), window)[::hop][:_WIDTH]
    loudness = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1))[:, 1:].T  # [bins, places]
    decibels = 20 * np.log10(loudness / (window / 4) + 1e-6)
    dark = np.clip(-decibels / _RANGE, 0, 1)[::-1]
    columns = np.linspace(0, dark.shape[1] - 1, _WIDTH).round().astype(int)
    return np.round(255 * dark[:, columns]).astype(np.uint8)


def text_page(words: list[str], columns: int = 4) -> np.ndarray:
    """Words in columns, dark on white, uint8 [height, width, 1]."""
    rows, width, height = math.ceil(len(words) / columns), 110, 16
    picture = Image.new("L", (columns * width, rows * height + 4), 255)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    for number, word in enumerate(words):
        draw.text((number % columns * width + 4, number // columns * height + 2), word, fill=0, font=font)
    return np.asarray(picture)[..., None]
