"""Mode collapse where the modes are known: rings and grids of Gaussians, stacked images. Imports errors, features."""

from typing import NamedTuple

import numpy as np
from jax.sharding import NamedSharding
from numpy.typing import ArrayLike
from scipy.special import gammainc

from gan_jax.errors import InputError
from gan_jax.metrics.features import FeatureNetwork, extract

_MEASURABLE = 10  # points that a mode must hold before its spread means something


class Modes(NamedTuple):
    """How samples lie on a known mixture of Gaussians.

    Attributes:
        modes: captured modes, 0 to K: a high-quality point is nearest to them.
        high_quality: share of points within the radius of the nearest mean, 0 to 1; 0.989 for a perfect sampler
            in two dimensions at radius 3.
        reverse_kl: KL(share of the high-quality points in each mode || uniform), in nats; log K, its largest
            value, if no mode is captured.
        spread_min: standard deviation of the high-quality points of a mode over that of the true mode, cut off at
            the same radius: the smallest over modes with at least 10 points; 1 is ideal, 0 if there is no such mode.
        spread_max: the largest.
    """

    modes: int
    high_quality: float
    reverse_kl: float
    spread_min: float
    spread_max: float


class StackedModes(NamedTuple):
    """Modes seen at least once, and KL(their shares || uniform) in nats."""

    modes: int
    reverse_kl: float


def mixture_modes(points: ArrayLike, means: ArrayLike, std: float, radius: float = 3.0) -> Modes:
    """Scores points against a mixture of equally likely round Gaussians.

    The protocol of the ring and grid tables (Srivastava et al. 2017, section 4.1; Lin et al. 2018, section 4.1)
    takes 2,500 points.

    Args:
        points: samples [N, D].
        means: centres of the K modes [K, D].
        std: standard deviation of every mode along each axis, above 0.
        radius: a point is of high quality if nearer to a mean than this many standard deviations.

    Raises:
        InputError: shapes do not fit, std or radius is not positive, or there are no points.
    """
    points, means = np.asarray(points, np.float64), np.asarray(means, np.float64)
    if points.ndim != 2 or means.ndim != 2 or points.shape[1] != means.shape[1] or not points.size or not means.size:
        raise InputError(
            f"mixture_modes: points {list(points.shape)} and means {list(means.shape)} must be [N, D] and [K, D]"
        )
    if not (std > 0 and radius > 0):
        raise InputError(f"mixture_modes: std={std} and radius={radius} must be above 0")
    distances = np.linalg.norm(points[:, None] - means[None], axis=2) / std  # [N, K], Mahalanobis
    distances = np.where(np.isfinite(distances), distances, np.inf)  # a diverged point is far from every mode
    nearest = distances.argmin(axis=1)
    good = distances.min(axis=1) < radius
    counts = np.bincount(nearest[good], minlength=len(means))
    spreads = [
        np.sqrt(points[good & (nearest == mode)].var(axis=0, ddof=1).mean())
        for mode in np.flatnonzero(counts >= _MEASURABLE)
    ]
    ratios = np.array(spreads or [0.0]) / (std * np.sqrt(_kept_variance(points.shape[1], radius)))
    return Modes(
        modes=int((counts > 0).sum()),
        high_quality=float(good.mean()),
        reverse_kl=_kl_to_uniform(counts),
        spread_min=float(ratios.min()),
        spread_max=float(ratios.max()),
    )


def stacked_labels(
    network: FeatureNetwork, images: ArrayLike, *, batch_size: int = 256, sharding: NamedSharding | None = None
) -> np.ndarray:
    """Class of each channel, as a classifier of grey images sees it: int64 [N, C] for images [N, H, W, C].

    Raises:
        InputError: the network has no logits, or the images do not fit it.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise InputError(f"stacked_labels: images must be [N, H, W, C], not {list(images.shape)}")
    count, height, width, channels = images.shape
    grey = np.moveaxis(images, -1, 1).reshape(count * channels, height, width, 1)  # [N, C, H, W] -> [N*C, H, W, 1]
    logits = extract(network, grey, batch_size=batch_size, sharding=sharding).logits
    if logits is None:
        raise InputError(f"stacked_labels: {network.name} has no logits: use a classifier")
    return logits.argmax(axis=1).reshape(count, channels)  # [N*C] -> [N, C]


def stacked_modes(labels: ArrayLike, num_classes: int = 10) -> StackedModes:
    """Counts the combinations of channel classes (Metz et al. 2017, section 3.3.1), num_classes^C in all.

    Args:
        labels: class of each channel, int [N, C].
        num_classes: classes of one channel.

    Raises:
        InputError: no labels, or labels outside 0 .. num_classes - 1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not labels.size or labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f"stacked_modes: labels must be [N, C] of 0 to {num_classes - 1}, not {list(labels.shape)}")
    places = num_classes ** np.arange(labels.shape[1])
    counts = np.bincount(labels @ places, minlength=num_classes ** labels.shape[1])
    return StackedModes(int((counts > 0).sum()), _kl_to_uniform(counts))


def _kl_to_uniform(counts: np.ndarray) -> float:
    """KL(counts as shares || uniform over all of them), in nats; log K if there are none."""
    if not counts.sum():
        return float(np.log(len(counts)))
    shares = counts[counts > 0] / counts.sum()
    return float((shares * np.log(shares * len(counts))).sum())


def _kept_variance(dimensions: int, radius: float) -> float:
    """Variance along an axis of a standard Gaussian in D dimensions that is cut off at a radius.

    P(chi2_{D+2} < r^2) / P(chi2_D < r^2), by integration by parts.
    """
    return float(gammainc(dimensions / 2 + 1, radius**2 / 2) / gammainc(dimensions / 2, radius**2 / 2))
