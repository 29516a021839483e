"""What the decoder's error means for lambda D, and how each coefficient contributes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..subbands import Subbands
from ..tiles import Area
from . import pixel_error


@dataclass(frozen=True)
class Target:
    """What is searched for: tokens of an area of a picture, at one quality.

    original, latents: float32 (1, h, w, C) in steps, the wavelet coefficients of the picture and what the analysis made
    of them. tiles: the parts of the area that are coded by themselves, counted from its corner. pixel_weights: (16 h,
    16 w) float32, up to 1, on the distortion of every pixel; None: 1 everywhere.
    """

    original: Subbands
    latents: Subbands
    quality: int
    tiles: Sequence[Area]
    pixel_weights: np.ndarray | None = None
    band_weights: np.ndarray | None = None


@dataclass(frozen=True)
class Weights:
    """What an error and a token's change mean for lambda D.

    error: bits per squared step. The others are (5, 9) float32, of each level and channel. slope: bits that a token's
    change by one adds per step of Felt.error, were the decoder linear. curvature: bits that it adds by itself.
    """

    error: float
    slope: np.ndarray
    curvature: np.ndarray

    def curvature_at(self, factor: float | Subbands) -> Sequence[np.ndarray]:
        """`curvature` times what Felt says: of each level (9,), or (h, w, 9) where it differs by place."""
        if isinstance(factor, Subbands):
            return [own * part[0] for own, part in zip(self.curvature, factor, strict=True)]
        return list(self.curvature * factor)


@dataclass(frozen=True)
class Felt:
    """error: float32 (1, h, w, C), in steps: what has lambda D's gradient over each coefficient, which is 2
    Weights.error times as much. distortion: lambda D in bits. curvature: of lambda D, as a multiple of that of the
    squared error, or, as Subbands (1, h, w, 1 or 9), where it differs by place. squares: (h, w) float32, in squared
    steps, what each site adds to D. pixels: (3, H, W) float16, in steps, the error in the planes of the colour axes.
    """

    error: Subbands
    distortion: float
    curvature: float | Subbands
    squares: np.ndarray
    pixels: np.ndarray


def squared_error(target: Target, errors: Subbands, weights: Weights) -> Felt:
    """The squared error of the pixels, as the target weighs it; errors: of the decoder's coefficients, in steps.

    With W the inverse wavelet, and the weights of bands S and of pixels P: |P^1/2 W S^1/2 e|^2.
    """
    planes = pixel_error.in_pixels(errors)
    pixels, felt_by = planes.astype(np.float16), None
    if target.band_weights is not None:
        felt_by = np.sqrt(target.band_weights)
        planes = pixel_error.in_pixels(times(errors, felt_by))
    if target.pixel_weights is None:
        squares, felt = pixel_error.of_sites(planes), pixel_error.gradient(planes)
    else:
        squares = pixel_error.of_sites(planes * np.sqrt(target.pixel_weights))
        felt = pixel_error.gradient(planes * target.pixel_weights)
    if felt_by is not None:
        felt = times(felt, felt_by)
    distortion = weights.error * float(squares.sum(dtype=np.float64))
    return Felt(felt, distortion, _curvature(target), squares, pixels)


def times(bands: Subbands, factors: np.ndarray) -> Subbands:
    """bands (..., C), each level and channel times its factor, (5, 9)."""
    low, *details = (band * factors[level, : band.shape[-1]] for level, band in enumerate(bands))
    return Subbands(low, tuple(details))


def _curvature(target: Target) -> float | Subbands:
    """Of the weighted error, as Felt has it: a coefficient bends it as much as its band and its pixels weigh."""
    if target.pixel_weights is None:
        return 1.0
    means = pixel_error.means(target.pixel_weights)
    if target.band_weights is None:
        return means
    low, *details = (mean * factors for mean, factors in zip(means, target.band_weights, strict=True))
    return Subbands(low, tuple(details))
