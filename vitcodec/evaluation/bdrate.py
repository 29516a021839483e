"""Bjontegaard delta rate by piecewise cubic Hermite interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]  # (bits per pixel, quality such as PSNR in dB), in any order
ALL_QUALITIES = -math.inf, math.inf


def bd_rate(
    anchor: Curve,
    test: Curve,
    rates: tuple[float, float] = (0, math.inf),
    qualities: tuple[float, float] = ALL_QUALITIES,
) -> float:
    """Mean difference in rate at equal quality, in per cent of the anchor's; negative: `test` needs fewer bits.

    log rate is interpolated over quality by PCHIP and integrated over the range of quality that both curves cover
    within `rates`, in bits per pixel, and `qualities`. Two results against one anchor can only be compared over the
    same range of quality. Source: G. Bjontegaard, VCEG-M33, 2001, with the interpolation of JCTVC-K0279. Raises
    ValueError where the curves do not overlap.
    """
    low, high = overlap(anchor, test, rates)
    low, high = max(low, qualities[0]), min(high, qualities[1])
    if low >= high:
        raise ValueError("the curves do not overlap in quality")
    areas = [
        PchipInterpolator(quality, log_rate).integrate(low, high)
        for log_rate, quality in (_sorted(anchor), _sorted(test))
    ]
    return float(np.expm1((areas[1] - areas[0]) / (high - low)) * 100)


def overlap(anchor: Curve, test: Curve, rates: tuple[float, float] = (0, math.inf)) -> tuple[float, float]:
    """The range of quality that both curves cover while their rates lie within `rates`: (low, high).

    Empty if low >= high. Raises ValueError for a curve that is none, or cannot be cut at a rate.
    """
    ends = [_range(*_sorted(curve), rates) for curve in (anchor, test)]
    return max(low for low, _ in ends), min(high for _, high in ends)


def _range(log_rate: np.ndarray, quality: np.ndarray, rates: tuple[float, float]) -> tuple[float, float]:
    """The quality where a curve enters the range of rates, and where it leaves it."""
    low, high = max(rates[0], math.exp(log_rate[0])), min(rates[1], math.exp(log_rate[-1]))
    if rates[0] <= math.exp(log_rate.min()) and math.exp(log_rate.max()) <= rates[1]:
        return quality[0], quality[-1]
    if (np.diff(log_rate) <= 0).any():
        raise ValueError("a curve cannot be cut at a rate where its rate does not rise with its quality")
    if low > high:
        return math.inf, -math.inf
    curve = PchipInterpolator(log_rate, quality)
    return float(curve(math.log(low))), float(curve(math.log(high)))


def _sorted(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    points = np.array(sorted(curve, key=lambda p: p[1]), dtype=float)
    if (
        len(points) < 2
        or not np.isfinite(points).all()
        or (np.diff(points[:, 1]) <= 0).any()
        or (points[:, 0] <= 0).any()
    ):
        raise ValueError("a curve needs at least two points of distinct finite quality and positive rate")
    return np.log(points[:, 0]), points[:, 1]
