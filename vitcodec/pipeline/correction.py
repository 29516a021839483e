"""Closed-loop correction: tokens that the decoder would make the wrong picture of are mended by what it makes of them.

The networks learned from photographs. On patterns as dense as no photograph has, above all in saturated colours, the
synthesis is off by many times what quantisation explains. There the error's coefficients, rounded, are taken off the
tokens; one round leaves about what quantisation explains. Photographs are left as they are, as none is so dense.
"""

from __future__ import annotations

import numpy as np

from ..search.measures import Target
from ..search.state import Evaluator
from ..subbands import Subbands
from ..tiles import SITE

# Of a site, in 8-bit levels: the mean magnitude of its finest details. Kodak reaches 14 at any quality, and every
# pattern that came back wrong had 15
DENSE = 14.5
# Of a site: the squared error over that of rounding alone, step^2 / 12
WRONG = 1.0


def correct(evaluate: Evaluator, target: Target, tokens: Subbands) -> Subbands:
    """tokens: int32, of the target's area -> the same, mended where that is needed."""
    rows = tokens.grid[0]
    dense = _per_site(np.abs(tokens[1]).astype(np.float32), rows).mean(-1) * evaluate.step(target.quality) >= DENSE
    if not dense.any():
        return tokens
    errors = evaluate.errors(target, tokens)
    squares = sum(_per_site(e * e, rows).sum(-1) for e in errors) / (3 * SITE**2)
    wrong = dense & (squares > WRONG / 12)
    if not wrong.any():
        return tokens
    h, w = wrong.shape
    padded = np.pad(wrong, 1)  # what a site shows depends on its neighbours
    mended = np.any([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)], 0)
    gains = evaluate.gains(target.quality)
    bands = []
    for level, (band, error) in enumerate(zip(tokens, errors, strict=True)):
        side = band.shape[1] // rows
        place = mended.repeat(side, 0).repeat(side, 1)[None, ..., None]
        bands.append(band - np.rint(error / gains[level, : band.shape[-1]] * place).astype(np.int32))
    return Subbands(bands[0], tuple(bands[1:]))


def _per_site(x: np.ndarray, rows: int) -> np.ndarray:
    """(1, H, W, C) -> all values of each site, (h, w, n)."""
    _, H, W, C = x.shape
    side = H // rows
    return x.reshape(rows, side, W // side, side, C).transpose(0, 2, 1, 3, 4).reshape(rows, W // side, -1)
