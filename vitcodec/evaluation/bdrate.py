"""Bjontegaard delta rate by piecewise cubic Hermite interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]  # (bits per pixel, quality such as PSNR in dB), in any order


def bd_rate(anchor: Curve, test: Curve) -> float:
    """Mean difference in rate at equal quality, in per cent of the anchor's; negative: `test` needs fewer bits.

    log rate is interpolated over quality by PCHIP and integrated over the range of quality that both curves cover. Source: G. Bjontegaard,
    VCEG-M33, 2001, with the interpolation of JCTVC-K0279. Raises ValueError where the curves do not overlap.
    """
    (log_a, quality_a), (log_t, quality_t) = _sorted(anchor), _sorted(test)
    low, high = max(quality_a[0], quality_t[0]), min(quality_a[-1], quality_t[-1])
    if low >= high:
        raise ValueError(f"the curves do not overlap in quality: {quality_a[0]:.2f}..{quality_a[-1]:.2f} and {quality_t[0]:.2f}..{quality_t[-1]:.2f}")
    area_a = PchipInterpolator(quality_a, log_a).integrate(low, high)
    area_t = PchipInterpolator(quality_t, log_t).integrate(low, high)
    return float(np.expm1((area_t - area_a) / (high - low)) * 100)


def overlap(anchor: Curve, test: Curve) -> tuple[float, float]:
    """The range of quality that both curves cover, (low, high); empty if low >= high."""
    a, t = [q for _, q in anchor], [q for _, q in test]
    return max(min(a), min(t)), min(max(a), max(t))


def _sorted(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    points = np.array(sorted(curve, key=lambda p: p[1]), dtype=float)
    if len(points) < 2 or (np.diff(points[:, 1]) <= 0).any() or (points[:, 0] <= 0).any():
        raise ValueError("a curve needs at least two points of distinct quality and positive rate")
    return np.log(points[:, 0]), points[:, 1]
