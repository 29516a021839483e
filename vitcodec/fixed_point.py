"""The inverse wavelet and the colour axes in 32-bit fixed point: the same pixels on every machine.

NumPy's twin of wavelet.inverse. A product with a factor is (x * round(4096 factor) + 2048) >> 12, in int32 that wraps.
Bands are planes, (C, H, W) int32, in parts of 1 / 2^FRACTION_BITS of an 8-bit level. Sources: see wavelet.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .parallel import each

FRACTION_BITS = 5
LIMIT = 1 << 17  # of a coefficient's magnitude in such parts; a picture has at most 2^16.8
FACTOR_BITS = 12
PART = 1 << 15  # values of a plane that are worked on at a time: what lies between the steps stays in the cache
LIFTING = tuple(round(f * 4096) for f in (-1.586134342, -0.05298011854, 0.8829110762, 0.4435068522))
GAIN, INVERSE_GAIN = round(1.149604398 * 4096), round(4096 / 1.149604398)
COLOUR = tuple(round(4096 / n**0.5) for n in (3, 2, 6))  # lengths of the axes gray, red-blue, green-magenta


def times(factor: int, x: np.ndarray) -> np.ndarray:
    """x times factor / 4096, rounded; int32."""
    y = x * np.int32(factor)
    y += 1 << (FACTOR_BITS - 1)
    y >>= FACTOR_BITS
    return y


def _unlift(low: np.ndarray, high: np.ndarray, out: np.ndarray) -> None:
    """One level along the first axis, int32: the halves (n, m) -> out (2n, m). Borders are extended symmetrically."""
    low, high = times(INVERSE_GAIN, low), times(GAIN, high)
    low -= times(LIFTING[3], _with_previous(high))
    high -= times(LIFTING[2], _with_next(low))
    low -= times(LIFTING[1], _with_previous(high))
    high -= times(LIFTING[0], _with_next(low))
    out[0::2], out[1::2] = low, high


def _with_next(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[:-1] += x[1:]
    out[-1] += x[-1]
    return out


def _with_previous(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[1:] += x[:-1]
    out[0] += x[0]
    return out


def merge(low: np.ndarray, details: np.ndarray, threads: int = 1) -> np.ndarray:
    """One level: the low band (C, h, w) and the details (3 C, h, w) -> (C, 2h, 2w).

    The details of a plane are horizontal, vertical, diagonal.
    """
    planes, h, w = low.shape
    rows = np.empty((planes, 2, 2 * h, w), np.int32)  # the left and the right half of each line
    out = np.empty((planes, 2 * h, 2 * w), np.int32)
    columns, lines = max(16, PART // (2 * h)), max(1, PART // (2 * w))

    def vertical(work: tuple[int, int, int]) -> None:
        plane, side, a = work
        halves = (low[plane], details[3 * plane + 1]) if side == 0 else (details[3 * plane], details[3 * plane + 2])
        place = slice(a, a + columns)
        _unlift(halves[0][:, place], halves[1][:, place], rows[plane, side, :, place])

    def horizontal(work: tuple[int, int]) -> None:
        plane, a = work
        place = slice(a, a + lines)
        left, right = (np.ascontiguousarray(half[place].T) for half in rows[plane])
        turned = np.empty((2 * w, left.shape[1]), np.int32)
        _unlift(left, right, turned)
        out[plane, place] = turned.T

    each(vertical, [(p, s, a) for p in range(planes) for s in (0, 1) for a in range(0, w, columns)], threads)
    each(horizontal, [(p, a) for p in range(planes) for a in range(0, 2 * h, lines)], threads)
    return out


def inverse(low: np.ndarray, details: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
    """All levels. details: of each level, the coarsest first. Returns planes."""
    for level in details:
        low = merge(low, np.clip(level, -LIMIT, LIMIT), threads)
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
