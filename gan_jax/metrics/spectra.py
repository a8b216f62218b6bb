"""Signals as pictures that a small convolutional classifier can look at. Imports JAX only."""

import jax
import jax.numpy as jnp
import numpy as np

LONG = 1024  # samples from which a signal is looked at as a spectrogram
_WINDOW, _HOP = 256, 128  # samples
_LATER, _HIGHER = 3, 2  # columns (16 ms each at 8 kHz) and bands (125 Hz) by which a spectrogram is moved, at most


def as_picture(signals: jax.Array) -> jax.Array:
    """Signals float32 [B, L, C] as [B, time, notes, C].

    Long ones as the logarithm of their spectrogram in 32 bands of equal width, a column every 128 samples; short ones
    as they are, one note wide.
    """
    length = signals.shape[1]
    if length < LONG:
        return signals[:, :, None]
    places = 1 + (length - _WINDOW) // _HOP
    rows = np.arange(places)[:, None] * _HOP + np.arange(_WINDOW)  # [time, window]
    frames = signals[:, rows] * np.hanning(_WINDOW).astype(np.float32)[:, None]  # [B, time, window, C]
    power = jnp.square(jnp.abs(jnp.fft.rfft(frames, axis=2)))[:, :, : _WINDOW // 2]
    bands = power.reshape(*power.shape[:2], -1, 4, power.shape[-1]).sum(3)  # [B, time, 32, 4, C] -> [B, time, 32, C]
    return jnp.log10(bands + 1e-4) / 2


def moved(key: jax.Array, pictures: jax.Array) -> jax.Array:
    """Spectrograms [B, time, notes, C], each moved at random in time and pitch: what makes no other word of a sound.

    One note more or less is much of what tells one voice from another; the edges are repeated.
    """
    most = np.array([_LATER, _HIGHER, 0])
    starts = jax.random.randint(key, (len(pictures), 3), 0, 2 * most + 1)
    padded = jnp.pad(pictures, ((0, 0), *((n, n) for n in most)), mode="edge")
    return jax.vmap(lambda picture, start: jax.lax.dynamic_slice(picture, start, pictures.shape[1:]))(padded, starts)
