"""Tokens that were not received, filled in: no details, and a low band interpolated from the tokens around.

NumPy's twin of models.erasure.interpolated. Source: S. Gortler et al., "The Lumigraph", 1996.
"""

from __future__ import annotations

import numpy as np

from ..subbands import LEVELS, Subbands
from ..tiles import Area
from ..transform import Tokens, Transform


def filled(tokens: Tokens, erased: np.ndarray | None, units: np.ndarray | None = None) -> Tokens:
    """Tokens of areas with the erased ones filled in.

    erased: (h, w) bool, of the whole picture; None: none. units: as low_units.
    """
    if erased is None:
        return tokens

    def of(area: Area) -> Subbands:
        place = slice(area.y, area.y + area.h), slice(area.x, area.x + area.w)
        bands, mask = tokens(area), erased[place]
        return fill(bands, mask, None if units is None else units[place]) if mask.any() else bands

    return of


def low_units(transform: Transform, qualities: np.ndarray) -> np.ndarray | None:
    """What one is of the low band's tokens in 8-bit levels, (h, w, 3), by the qualities of the sites, (h, w).

    None where these share one quality, (1, 1), and so a unit.
    """
    if qualities.size == 1:
        return None
    found, place = np.unique(qualities, return_inverse=True)
    units = [transform.step(int(q)) * transform.gains(int(q))[0, :3].astype(np.float64) for q in found]
    return np.stack(units)[place.reshape(qualities.shape)]


def interpolated(low: np.ndarray, erased: np.ndarray, units: np.ndarray | None = None) -> np.ndarray:
    """A low band, int32 (1, h, w, 3), with its erased tokens, (h, w) bool, made of those around. units: as low_units.

    Where nothing was received at all, the result is zero.
    """
    out, known = low.copy(), np.where(erased[..., None], 0.0, low[0])
    made = _pull_push(known, ~erased) if units is None else _pull_push(known * units, ~erased) / units
    out[0][erased] = np.rint(made)[erased]
    return out


def fill(tokens: Subbands, erased: np.ndarray, units: np.ndarray | None = None) -> Subbands:
    """tokens: int32 (1, h, w, C); erased: (h, w) bool; units: as low_units."""
    low, details = interpolated(tokens.low, erased, units), []
    for level, band in zip(tokens.levels, tokens.details, strict=True):
        scale = 1 << LEVELS - level
        details.append(band * ~erased.repeat(scale, 0).repeat(scale, 1)[None, ..., None])
    return Subbands(low, tuple(details), tokens.finest)


def _pull_push(x: np.ndarray, received: np.ndarray) -> np.ndarray:
    """x (h, w, C), zero where `received` (h, w) is not. Coarser means are filled in first, then used for the finer."""
    h, w = received.shape
    if h == w == 1 or received.all():
        return x
    padding = ((0, h % 2), (0, w % 2))
    weight = np.pad(received.astype(float), padding)
    total = np.pad(x, (*padding, (0, 0)))
    count = weight[0::2, 0::2] + weight[0::2, 1::2] + weight[1::2, 0::2] + weight[1::2, 1::2]
    means = sum(total[i::2, j::2] for i in (0, 1) for j in (0, 1)) / np.maximum(count, 1)[..., None]
    coarse = _pull_push(means, count > 0)
    return np.where(received[..., None], x, _doubled(_doubled(coarse).swapaxes(0, 1)).swapaxes(0, 1)[:h, :w])


def _doubled(x: np.ndarray) -> np.ndarray:
    """Linear interpolation to twice the rows."""
    before, after = np.concatenate((x[:1], x[:-1])), np.concatenate((x[1:], x[-1:]))
    return np.stack((0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after), 1).reshape(-1, *x.shape[1:])
