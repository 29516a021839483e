"""The error of wavelet coefficients as the pixels have it, and what each coefficient contributes to it.

The wavelet is only nearly orthonormal: errors of neighbouring coefficients overlap in the pixels, and a search that
looks at coefficients one by one misses two thirds of the distortion that it could save at fine steps. With W the
inverse wavelet, an error e of coefficients has the squared error |W e|^2 and the gradient 2 W'W e. The colour axes are
orthonormal and left out. Sources: see wavelet.py.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ..analysis import GAIN, LIFTING, PART
from ..subbands import LEVELS, Subbands
from ..tiles import SITE


def in_pixels(errors: Subbands) -> np.ndarray:
    """W e: float32 (1, h, w, C) -> planes of the colour axes, (3, 16 h, 16 w), in the same unit."""
    low = _planes(errors.low)
    for level in range(LEVELS, 0, -1):
        low = _merge(low, _planes(errors[level]))
    return low


def gradient(planes: np.ndarray) -> Subbands:
    """W' p: half the gradient of the squared error over each coefficient, (1, h, w, C)."""
    low, details = planes, []
    for _ in range(LEVELS):
        low, found = _split(low)
        details.append(_channels_last(found))
    return Subbands(_channels_last(low), tuple(details))


def of_sites(planes: np.ndarray) -> np.ndarray:
    """The squared error of each site, (h, w) float32."""
    _, H, W = planes.shape
    squares = np.einsum("chw,chw->hw", planes, planes)
    return squares.reshape(H // SITE, SITE, W // SITE, SITE).sum((1, 3))


def _planes(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x[0].transpose(2, 0, 1))


def _channels_last(planes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(planes.transpose(1, 2, 0))[None]


def _merge(low: np.ndarray, details: np.ndarray) -> np.ndarray:
    """wavelet.merge of planes: (C, h, w) and (3 C, h, w) -> (C, 2h, 2w)."""
    planes, h, w = low.shape
    rows, out = np.empty((planes, 2, 2 * h, w), np.float32), np.empty((planes, 2 * h, 2 * w), np.float32)
    columns, lines = max(16, PART // h), max(1, PART // w)
    for plane, a in product(range(planes), range(0, w, columns)):
        place = slice(a, a + columns)
        horizontal, vertical, diagonal = (details[3 * plane + k, :, place].copy() for k in range(3))
        halves = (low[plane, :, place] / GAIN**2, vertical), (horizontal, diagonal * GAIN**2)
        for side, (top, bottom) in enumerate(halves):
            _unlift(top, bottom)
            rows[plane, side, 0::2, place], rows[plane, side, 1::2, place] = top, bottom
    for plane, a in product(range(planes), range(0, 2 * h, lines)):
        left, right = rows[plane, :, a : a + lines]
        _unlift(left.T, right.T)
        out[plane, a : a + lines, 0::2], out[plane, a : a + lines, 1::2] = left, right
    return out


def _split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The transpose of _merge: (C, 2h, 2w) -> (C, h, w) and (3 C, h, w)."""
    planes, H, W = x.shape
    rows = np.empty((planes, 2, H, W // 2), np.float32)
    low, details = np.empty((planes, H // 2, W // 2), np.float32), np.empty((3 * planes, H // 2, W // 2), np.float32)
    lines, columns = max(1, PART // W), max(16, PART // H)
    for plane, a in product(range(planes), range(0, H, lines)):
        left, right = (x[plane, a : a + lines, side::2].copy() for side in (0, 1))
        _unlift_transposed(left.T, right.T)
        rows[plane, 0, a : a + lines], rows[plane, 1, a : a + lines] = left, right
    for plane, a in product(range(planes), range(0, W // 2, columns)):
        place = slice(a, a + columns)
        (top, vertical), (horizontal, diagonal) = (
            tuple(rows[plane, side, half::2, place].copy() for half in (0, 1)) for side in (0, 1)
        )
        _unlift_transposed(top, vertical)
        _unlift_transposed(horizontal, diagonal)
        low[plane, :, place] = top / GAIN**2
        details[3 * plane, :, place], details[3 * plane + 1, :, place] = horizontal, vertical
        details[3 * plane + 2, :, place] = diagonal * GAIN**2
    return low, details


def _unlift(low: np.ndarray, high: np.ndarray) -> None:
    """Undo the lifting along the first axis, in place, without scaling. Borders are extended symmetrically."""
    total = np.empty_like(low)
    for k in reversed(range(4)):
        target, other = (high, low) if k % 2 == 0 else (low, high)
        if k % 2 == 0:  # with the one after
            np.add(other[:-1], other[1:], out=total[:-1])
            np.add(other[-1], other[-1], out=total[-1])
        else:  # with the one before
            np.add(other[1:], other[:-1], out=total[1:])
            np.add(other[0], other[0], out=total[0])
        total *= LIFTING[k]
        target -= total


def _unlift_transposed(low: np.ndarray, high: np.ndarray) -> None:
    """The transpose of _unlift."""
    total = np.empty_like(low)
    for k in range(4):
        target, other = (high, low) if k % 2 == 0 else (low, high)
        if k % 2 == 0:
            np.add(target[1:], target[:-1], out=total[1:])
            total[0] = target[0]
            total[-1] += target[-1]  # it was its own neighbour there
        else:
            np.add(target[:-1], target[1:], out=total[:-1])
            total[-1] = target[-1]
            total[0] += target[0]
        total *= LIFTING[k]
        other -= total
