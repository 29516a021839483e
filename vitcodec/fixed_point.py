"""The inverse wavelet and the colour axes in 32-bit fixed point: the same pixels on every machine.

NumPy's twin of wavelet.inverse. A product with a factor is (x * round(4096 factor) + 2048) >> 12, in int32 that wraps.
Bands are planes, (C, H, W) int32, in parts of 1 / 2^FRACTION_BITS of an 8-bit level. Sources: see wavelet.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

FRACTION_BITS = 5
LIMIT = 1 << 17  # of a coefficient's magnitude in such parts; a picture has at most 2^16.8
FACTOR_BITS = 12
PART = 1 << 15  # values of a plane that are worked on at a time: what lies between the steps stays in the cache
LIFTING = tuple(round(f * 4096) for f in (-1.586134342, -0.05298011854, 0.8829110762, 0.4435068522))
# the scaling of low and of high halves, in both directions at once; of one low and one high half it is 1
LOW_GAIN, HIGH_GAIN = round(4096 / 1.149604398**2), round(1.149604398**2 * 4096)
COLOUR = tuple(round(4096 / n**0.5) for n in (3, 2, 6))  # lengths of the axes gray, red-blue, green-magenta


class Factors(NamedTuple):
    """The wavelet's factors in some arithmetic. times: a factor and an array -> their product, in place."""

    lifting: Sequence[Any]
    low: Any  # of low halves in both directions
    high: Any
    times: Callable[[Any, np.ndarray], np.ndarray]


def times(factor: int, x: np.ndarray) -> np.ndarray:
    """x times factor / 4096, rounded; int32, in place."""
    x *= np.int32(factor)
    x += 1 << (FACTOR_BITS - 1)
    x >>= FACTOR_BITS
    return x


INTEGERS = Factors(LIFTING, LOW_GAIN, HIGH_GAIN, times)


def add_neighbours(x: np.ndarray, after: bool, out: np.ndarray) -> None:
    """Each line of x plus the one after it, or before it; at the border plus itself."""
    if after:
        np.add(x[:-1], x[1:], out=out[:-1])
        np.add(x[-1], x[-1], out=out[-1])
    else:
        np.add(x[1:], x[:-1], out=out[1:])
        np.add(x[0], x[0], out=out[0])


def _unlift(low: np.ndarray, high: np.ndarray, factors: Factors) -> None:
    """Undo the lifting along the first axis, in place: the halves (n, m). Borders are extended symmetrically."""
    total = np.empty_like(low)
    for k in reversed(range(4)):
        target, other = (high, low) if k % 2 == 0 else (low, high)
        add_neighbours(other, k % 2 == 0, total)
        target -= factors.times(factors.lifting[k], total)


def merge(low: np.ndarray, details: np.ndarray, factors: Factors = INTEGERS) -> np.ndarray:
    """One level: the low band (C, h, w) and the details (3 C, h, w) -> (C, 2h, 2w), of the same type.

    The details of a plane are horizontal, vertical, diagonal.
    """
    planes, h, w = low.shape
    rows = np.empty((planes, 2, 2 * h, w), low.dtype)  # the left and the right half of each line
    out = np.empty((planes, 2 * h, 2 * w), low.dtype)
    columns, lines = max(16, PART // h), max(1, PART // w)

    for plane, a in product(range(planes), range(0, w, columns)):
        place = slice(a, a + columns)
        horizontal, vertical, diagonal = (details[3 * plane + k, :, place].copy() for k in range(3))
        smooth = factors.times(factors.low, low[plane, :, place].copy())
        halves = (smooth, vertical), (horizontal, factors.times(factors.high, diagonal))
        for side, (top, bottom) in enumerate(halves):
            _unlift(top, bottom, factors)
            rows[plane, side, 0::2, place], rows[plane, side, 1::2, place] = top, bottom
    for plane, a in product(range(planes), range(0, 2 * h, lines)):
        left, right = rows[plane, :, a : a + lines]
        _unlift(left.T, right.T, factors)
        out[plane, a : a + lines, 0::2], out[plane, a : a + lines, 1::2] = left, right
    return out


def inverse(low: np.ndarray, details: Sequence[np.ndarray]) -> np.ndarray:
    """All levels. details: of each level, the coarsest first. Returns planes."""
    for level in details:
        low = merge(low, np.clip(level, -LIMIT, LIMIT))
    return low


def to_rgb(planes: np.ndarray, reduce: int = 0, gray: bool = False) -> np.ndarray:
    """Planes of the three colour axes (3, H, W) -> (H, W, 3) uint8. reduce: how many levels were left out."""
    bits = FACTOR_BITS + FRACTION_BITS + reduce
    y = planes[0] * np.int32(COLOUR[0])
    y += (128 << bits) + (1 << (bits - 1))
    if gray:
        one = np.clip(y >> bits, 0, 255).astype(np.uint8)
        return np.repeat(one[..., None], 3, -1)
    rb, gm = planes[1] * np.int32(COLOUR[1]), planes[2] * np.int32(COLOUR[2])
    out = np.empty((*y.shape, 3), np.uint8)
    y -= gm
    for channel, plane in ((0, y + rb), (1, y + 3 * gm), (2, y - rb)):
        plane >>= bits
        out[..., channel] = np.clip(plane, 0, 255, out=plane)
    return out


def planar(x: np.ndarray) -> np.ndarray:
    """(1, H, W, C) -> planes (C, H, W)."""
    return np.ascontiguousarray(x[0].transpose(2, 0, 1))
