"""Colours under transparent pixels: continued smoothly from those that are seen, and weighted by alpha in shrinking."""

from __future__ import annotations

import numpy as np
from PIL import Image

_UNSEEN = 128  # where nothing is seen


def fill_hidden(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The picture with other colours where alpha is 0: a smooth continuation of those around.

    rgb: (H, W, 3) uint8; alpha: (H, W) uint8. What is seen stays as it is. By a pyramid: the seen colours are averaged
    in squares of 2, 4, 8, ... until no square is empty; on the way back each level fills the holes of the finer one.
    """
    hidden = alpha == 0
    if not hidden.any():
        return rgb
    if hidden.all():
        return np.full_like(rgb, _UNSEEN)
    return _filled(rgb, hidden)


def _filled(rgb: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """rgb (H, W, 3) uint8 with its hidden pixels filled; some are seen."""
    seen = (~hidden).astype(np.uint16)
    total, count = _sum(rgb * seen.astype(np.uint8)[..., None]), _sum(seen)
    holes = count == 0
    small = (total // np.maximum(count, 1)[..., None]).astype(np.uint8)
    if holes.any():
        small = _filled(small, holes)
    height, width = hidden.shape
    large = Image.fromarray(small).resize((2 * small.shape[1], 2 * small.shape[0]), Image.Resampling.BILINEAR)
    out = np.array(large)[:height, :width]
    np.copyto(out, rgb, where=~hidden[..., None])
    return out


def _sum(values: np.ndarray) -> np.ndarray:
    """The sums of squares of 2x2; a last odd row or column stands alone."""
    height, width = values.shape[:2]
    out = np.zeros(((height + 1) // 2, (width + 1) // 2, *values.shape[2:]), np.uint16)
    for y in (0, 1):
        for x in (0, 1):
            part = values[y::2, x::2]
            out[: part.shape[0], : part.shape[1]] += part
    return out


def reduced(rgb: np.ndarray, alpha: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture halved `times` times, its sizes rounded up, as averages of colours weighted by alpha.

    rgb: (H, W, 3) uint8; alpha: (H, W) uint8. Where nothing is seen the plain average stands.
    """
    if not times:
        return rgb, alpha
    side = 1 << times
    size = (-(-alpha.shape[1] // side), -(-alpha.shape[0] // side))
    weight = alpha.astype(np.float32)
    pixels = _boxes(np.ones_like(weight), side)
    total = _boxes(weight, side)
    out = np.empty((size[1], size[0], 3), np.uint8)
    for channel in range(3):
        values = rgb[..., channel].astype(np.float32)
        weighted = _boxes(values * weight, side) / np.maximum(total, 1)
        out[..., channel] = np.rint(np.where(total > 0, weighted, _boxes(values, side) / pixels))
    return out, np.rint(total / pixels).astype(np.uint8)


def resampled(rgb: np.ndarray, alpha: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture in another size (Lanczos), its colours weighted by alpha; where nothing is seen, the plain ones.

    In floating point: 8 bits of a colour times a small alpha would leave only a few steps of it.
    """
    weight = alpha.astype(np.float32)
    total = _lanczos(weight, width, height)
    out = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        values = rgb[..., channel].astype(np.float32)
        weighted = _lanczos(values * weight, width, height) / np.maximum(total, 0.5)
        plain = _lanczos(values, width, height)
        out[..., channel] = np.rint(np.clip(np.where(total >= 0.5, weighted, plain), 0, 255))
    return out, np.rint(np.clip(total, 0, 255)).astype(np.uint8)


def _lanczos(values: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.LANCZOS))


def _boxes(values: np.ndarray, side: int) -> np.ndarray:
    """The sums of squares of `side` pixels; those at the end may be smaller."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], side), axis=0)
    return np.add.reduceat(rows, np.arange(0, values.shape[1], side), axis=1)
