"""The adaptive filters of a model of integers, one for each quality, fitted to what its decoder makes of pictures."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from ..adaptive_filter import SIZES, THRESHOLD_LIMIT, WEIGHT_BITS, WEIGHT_LIMIT, FilterNumbers, no_filters
from ..analysis import forward
from ..fixed_point import FRACTION_BITS
from ..options import QUALITIES
from ..quality import step_of
from ..search import pixel_error
from ..search.filter_fit import RIDGE, FilterFit
from ..subbands import Subbands
from ..transform import Transform

CLIPPED_STEPS = 0.15  # a threshold in quantisation steps; 0.1 and 0.25 are as good
WIDTH = 0.35  # of the steps that count for a quality: standard deviation of their logarithm

EncodedSample = tuple[np.ndarray, Subbands, int]  # (H, W, 3) uint8, its tokens, int32 (1, h, w, C), their quality


def thresholds() -> np.ndarray:
    """Of each quality, (100,) int32, in the planes' fixed point."""
    steps = np.array([step_of(q) for q in QUALITIES])
    return np.clip(np.rint(CLIPPED_STEPS * steps * (1 << FRACTION_BITS)), 1, THRESHOLD_LIMIT).astype(np.int32)


def fit_filters(transform: Transform, samples: Iterable[EncodedSample]) -> FilterNumbers:
    """Least squares over samples of about a quality's step, the error of each counting alike."""
    base, fits, logs = FilterNumbers(thresholds(), no_filters().weights), list[FilterFit](), list[float]()
    for rgb, tokens, quality in samples:
        step = np.float32(transform.step(quality))
        original = forward(rgb).map(partial(np.multiply, 1 / step))
        errors = transform.corrected(tokens, quality).combine(np.subtract, original)
        fits.append(FilterFit(base.at(quality), 1.0))
        fits[-1].add(pixel_error.Shown.of(original, pixel_error.in_pixels(errors), float(step)))
        logs.append(np.log(step))
    energy, rows = np.array([sum(fit.energy) for fit in fits]), []
    for quality in QUALITIES:
        shares = np.exp(-0.5 * ((np.array(logs) - np.log(step_of(quality))) / WIDTH) ** 2) / np.maximum(energy, 1)
        row = [_solve(fits, shares, plane, size) for plane, size in enumerate(SIZES)]
        weights = np.rint(np.concatenate(row) * (1 << WEIGHT_BITS))
        rows.append(np.clip(weights, -WEIGHT_LIMIT, WEIGHT_LIMIT))
    return FilterNumbers(base.thresholds, np.array(rows, np.int8))


def _solve(fits: list[FilterFit], shares: np.ndarray, plane: int, size: int) -> np.ndarray:
    """The weights of a plane, (size,)."""
    products = sum(share * fit.products[plane] for share, fit in zip(shares, fits, strict=True))
    targets = sum(share * fit.targets[plane] for share, fit in zip(shares, fits, strict=True))
    flat = RIDGE * np.trace(products) / size + 1e-12
    return np.linalg.solve(products + flat * np.eye(size), targets)
