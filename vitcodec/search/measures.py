"""What the decoder's error means for lambda D, and how each coefficient contributes to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..subbands import Subbands
from ..tiles import Area
from . import pixel_error


@dataclass(frozen=True)
class Target:
    """What is searched for: tokens of an area of a picture, at one quality.

    original, latents: float32 (1, h, w, C) in steps, the wavelet coefficients of the picture and what the analysis made
    of them. tiles: the parts of the area that are coded by themselves, counted from its corner.
    """

    original: Subbands
    latents: Subbands
    quality: int
    tiles: Sequence[Area]


@dataclass(frozen=True)
class Weights:
    """What an error and a token's change mean for lambda D.

    error: bits per squared step. The others are (5, 9) float32, of each level and channel. slope: bits that a token's
    change by one adds per step of Felt.error, were the decoder linear. curvature: bits that it adds by itself.
    """

    error: float
    slope: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True)
class Felt:
    """error: float32 (1, h, w, C), in steps: what has lambda D's gradient over each coefficient, which is 2
    Weights.error times as much. distortion: lambda D in bits. curvature: of lambda D, as a multiple of that of the
    squared error. squares: (h, w) float32, in squared steps, what each site adds to D, and pixels: (3, H, W) float16,
    in steps, the error in the planes of the colour axes; None where only the whole has a distortion.
    """

    error: Subbands
    distortion: float
    curvature: float = 1.0
    squares: np.ndarray | None = None
    pixels: np.ndarray | None = None


# (what is searched for, the error of the decoder's coefficients in steps, weights)
Measure = Callable[[Target, Subbands, Weights], Felt]


def squared_error(target: Target, errors: Subbands, weights: Weights) -> Felt:
    """The squared error of the pixels."""
    planes = pixel_error.in_pixels(errors)
    squares = pixel_error.of_sites(planes)
    distortion = weights.error * float(squares.sum(dtype=np.float64))
    return Felt(pixel_error.gradient(planes), distortion, squares=squares, pixels=planes.astype(np.float16))
