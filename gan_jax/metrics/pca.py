"""Principal components of the pixels: a feature network that needs nothing but the data. Imports errors, features."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.errors import InputError
from gan_jax.metrics import storage
from gan_jax.metrics.features import FeatureNetwork
from gan_jax.metrics.frechet import merge_moments, moments_of

_MOST_PIXELS = 4096  # up to here the covariance of the pixels is decomposed, above it the products of the images
_ROWS = 4096


def fit_pca(images: np.ndarray, components: int = 64) -> FeatureNetwork:
    """Fits principal components to real training images; features are not whitened.

    Args:
        images: uint8 [N, H, W, C], or signals float32 [N, L, C]. Of those with more than 4,096 values, 4,096 evenly
            spaced ones are used.
        components: features wanted; fewer if the images allow no more.

    Raises:
        InputError: neither images nor signals, fewer than two of them, or components < 1.
    """
    images = np.asarray(images)
    fits = images.dtype == np.uint8 if images.ndim == 4 else images.dtype == np.float32 and images.ndim == 3
    if not fits or len(images) < 2:
        raise InputError(f"fit_pca: images must be uint8 [N, H, W, C], N > 1, not {images.dtype} {list(images.shape)}")
    if components < 1:
        raise InputError(f"fit_pca: components={components} must be at least 1")
    pixels = images.reshape(len(images), -1)  # [N, H, W, C] -> [N, D]
    count = min(components, pixels.shape[1], len(pixels) - 1)
    mean, axes = _covariance_axes(pixels) if pixels.shape[1] <= _MOST_PIXELS else _product_axes(pixels)
    axes = axes[:, -count:][:, ::-1]  # eigh sorts upwards
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    axes = axes * np.sign(largest)  # the sign of an axis is free: fix it, so that the digest is
    variables = {"mean": mean.astype(np.float32), "axes": np.ascontiguousarray(axes, np.float32)}
    return FeatureNetwork(
        name=f"pca{count}",
        digest=storage.digest(variables),
        size=count,
        num_classes=0,
        image_shape=images.shape[1:],
        variables=variables,
        apply=apply_pca,
    )


def apply_pca(variables: Any, images: jax.Array) -> tuple[jax.Array, None]:
    """Images float32 [B, H, W, C] in [-1, 1] -> components [B, F]."""
    pixels = images.reshape(len(images), -1) - variables["mean"]  # [B, H, W, C] -> [B, D]
    return jnp.matmul(pixels, variables["axes"], precision=jax.lax.Precision.HIGHEST), None


def _covariance_axes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and eigenvectors [D, D] of the covariance, eigenvalues rising."""
    blocks = (pixels[start : start + _ROWS] for start in range(0, len(pixels), _ROWS))
    moments = merge_moments(moments_of(_unit(block)) for block in blocks)
    return moments.mean, np.linalg.eigh(moments.covariance)[1]


def _product_axes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same from the N x N products of the images, where D is large: [D], [D, N - 1]."""
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), _ROWS)).round().astype(int)
    values = _unit(pixels[chosen])
    mean = values.mean(axis=0)
    values -= mean
    vectors = np.linalg.eigh(values @ values.T)[1][:, 1:]  # the smallest belongs to the mean that is gone
    axes = values.T @ vectors
    return mean, axes / np.maximum(np.linalg.norm(axes, axis=0), np.finfo(np.float64).tiny)


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float64) / 127.5 - 1 if pixels.dtype == np.uint8 else pixels.astype(np.float64)
