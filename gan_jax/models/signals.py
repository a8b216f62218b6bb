"""What the networks of signals share: lengths, resampling, phase shuffle, spectrograms. Imports JAX, layers, errors.

Signals are [B, L, C] outside the networks and one row of an image, [B, 1, L, C], inside.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gan_jax.errors import InputError

LEAST_BASE, LARGEST_BASE = 4, 128  # places at the lowest resolution


def halvings(length: int) -> int:
    """How often a signal is halved: while its length is even and 2 * LEAST_BASE or more."""
    count = 0
    while length % 2 == 0 and length >= 2 * LEAST_BASE:
        length, count = length // 2, count + 1
    return count


def strides(length: int) -> list[int]:
    """Strides that bring a signal to its base, the first one nearest to the signal: fours, then at most one two."""
    found = []
    while length % 4 == 0 and length >= 8 * LEAST_BASE:
        length = length // 4
        found.append(4)
    if length % 2 == 0 and length >= 2 * LEAST_BASE:
        found.append(2)
    return found


def check_length(length: int, frame: int = 1) -> None:
    """Checks that a signal of `length` samples can be cut into frames and these halved to a small base.

    Raises:
        InputError: it cannot; names lengths that can.
    """
    if length % frame:
        raise InputError(
            f"config.model.frame={frame} does not divide signals of {length} samples: choose a divisor of {length}"
        )
    places = length // frame
    count = halvings(places)
    if count and places >> count <= LARGEST_BASE:
        return
    good = [n for n in range(2 * LEAST_BASE, 4 * places + 16) if halvings(n) and n >> halvings(n) <= LARGEST_BASE]
    nearest = frame * min(good, key=lambda n: abs(n - places))
    raise InputError(
        f"signals of {length} samples cannot be halved to {LARGEST_BASE} places or fewer:"
        f" try --config.data.length={nearest}"
    )


def upsample(x: Array) -> Array:
    """Doubles the length of [B, 1, L, C] with the filter [1, 3, 3, 1] / 4, zeros outside."""
    padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    before, after = padded[:, :, :-2], padded[:, :, 2:]
    pairs = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], 3)  # [B, 1, L, 2, C]
    return pairs.reshape(*x.shape[:2], 2 * x.shape[2], x.shape[3])  # -> [B, 1, 2L, C]


def downsample(x: Array) -> Array:
    """Halves the length of [B, 1, L, C] with the filter [1, 3, 3, 1] / 8, zeros outside."""
    padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    end = x.shape[2] - 1
    taps = [lax.slice_in_dim(padded, start, start + end, stride=2, axis=2) for start in range(4)]
    return 0.125 * (taps[0] + taps[3]) + 0.375 * (taps[1] + taps[2])


def phase_shuffle(key: Array, x: Array, most: int) -> Array:
    """Shifts each signal's features by -most to most places, mirrored at the ends (Donahue et al. 2019, section 3.3).

    Args:
        key: of the shifts, one a signal.
        x: [B, 1, L, C].
        most: places.
    """
    shifts = jax.random.randint(key, (len(x),), 0, 2 * most + 1)
    mirrored = jnp.pad(x, ((0, 0), (0, 0), (most, most), (0, 0)), mode="reflect")
    # A sum of slices, not a gather: its second derivatives and its sharding are plain.
    chosen = jax.nn.one_hot(shifts, 2 * most + 1, dtype=x.dtype)[:, :, None, None, None]  # [B, 2m + 1, 1, 1, 1]
    moved = (chosen[:, index] * mirrored[:, :, index : index + x.shape[2]] for index in range(2 * most + 1))
    return sum(moved, start=jnp.zeros_like(x))


def spectrogram_kernel(frame: int) -> np.ndarray:
    """Hann-windowed cosines and sines of 2 * frame samples, float32 [1, 2 * frame, 1, 2 * (frame + 1)].

    A convolution with it, in strides of `frame`, gives real and imaginary parts of the short-time Fourier transform,
    scaled so that a sine of amplitude 1 has magnitude 1.
    """
    size = 2 * frame
    places = np.arange(size)
    window = np.hanning(size + 1)[:-1]
    angles = 2 * np.pi * np.outer(places, np.arange(frame + 1)) / size  # [2 frame, frame + 1]
    basis = np.concatenate([np.cos(angles), np.sin(angles)], 1) * window[:, None] * (2 / window.sum())
    return basis[None, :, None].astype(np.float32)


def loudness(parts: Array) -> Array:
    """log(1 + 500 |X|) of real and imaginary parts [..., 2F], side by side: [..., F]; smooth at silence.

    The factor makes what is a hundredth as loud as a vowel count: a hissed consonant.
    """
    real, imaginary = jnp.split(parts, 2, -1)
    return jnp.log1p(500 * (jnp.sqrt(jnp.square(real) + jnp.square(imaginary) + 1e-6) - 1e-3))
