"""Slopes without a backward pass: a small network predicts what a change of each token adds to J elsewhere.

Its largest part is known from one decoding: the error times the decoder's gain. The network sees that, what rounding
cut off, the tokens, what is predicted for them, and the block flags. It runs in the encoder alone, in floating point,
so that it may change at any time. Its layers: training/proposals.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..coding.groups import FLAGGED_LEVELS
from ..parallel import each
from ..reconstruction import space_to_depth
from ..subbands import LEVELS, Subbands
from .costs import MEAN, signed_log
from .measures import Target, Weights, times
from .state import State

NETWORK = "proposals"  # its name among a model's graphs
SEEN = 7  # numbers that it sees of each value
CUT_LIMIT, ERROR_LIMIT = 1.0, 2.0  # steps
QUALITIES_UNIT = 50.0  # the quality enters as (quality - 50) / 50
LOG_TOP = 64  # tokens up to this magnitude are looked up
INPUTS = ("d1", "d2", "d3", "d4", "low", "f1", "f2", "position")
# at strides 4, 8 and 16: levels 1 (by blocks) and 2; level 3; level 4 and the low band. Then factors on the known part
OUTPUTS = ("g4", "g8", "g16", "factors")
ROWS = 2  # of sites that are prepared at a time
# rows of sites that the network sees at a time, and those around that reach into its results: with 64 rows at a time
# its inputs would be what takes most memory in a search
STRIP, REACH = 32, 4

# inputs, as `inputs` makes them, in the order of INPUTS -> outputs, (1, h, w, C) float32 each
Network = Callable[..., list[np.ndarray]]

_LOGS = signed_log(np.arange(-LOG_TOP, LOG_TOP + 1).astype(np.float32))


def inputs(target: Target, state: State, threads: int = 1, lines: range | None = None) -> list[np.ndarray]:
    """What the network sees of a state, float32, in the order of INPUTS.

    lines: which rows of sites; None: all.
    d1: (1, h, w, SEEN * 4 * 9), of blocks of level 1; d2 to d4: (1, h, w, SEEN * 9); low: (1, h, w, SEEN * 3). f1, f2:
    block flags, (1, h, w, 2). position: (1, 1).
    """
    lines = lines or range(state.tokens.grid[0])
    rows, columns = len(lines), state.tokens.grid[1]
    d1 = np.empty((1, 4 * rows, 4 * columns, SEEN, 2, 2, 9), np.float32)
    others = [np.empty((1, rows << (LEVELS - l), columns << (LEVELS - l), SEEN, 9), np.float32) for l in (2, 3, 4)]
    low = np.empty((1, rows, columns, SEEN, 3), np.float32)

    def strip(start: int) -> None:
        end = min(start + ROWS, rows)
        here = lines[start:end]
        fine = _seen(target, state, 1, _places(here, 8))
        blocks = fine.reshape(SEEN, 4 * (end - start), 2, 4 * columns, 2, 9)
        d1[0, 4 * start : 4 * end] = blocks.transpose(1, 3, 0, 2, 4, 5)
        for level, out in ((2, others[0]), (3, others[1]), (4, others[2]), (0, low)):
            k = 1 << (LEVELS - level if level else 0)
            out[0, k * start : k * end] = _seen(target, state, level, _places(here, k)).transpose(1, 2, 0, 3)

    each(strip, range(0, rows, ROWS), threads)
    maps = [m.reshape(*m.shape[:3], -1) for m in (d1, *others, low)]
    # without flags everything is coded, as where all are set
    flags = []
    for level in FLAGGED_LEVELS:
        k = 1 << (LEVELS - level - 1)  # blocks along a side of a site
        own = state.flags.get(level)
        part = np.ones((k * rows, k * columns, 2), bool) if own is None else own[_places(lines, k)]
        flags.append(part[None].astype(np.float32))
    position = np.array([[(target.quality - 50) / QUALITIES_UNIT]], np.float32)
    return [*maps, *flags, position]


def _places(lines: range, k: int) -> slice:
    """Rows of a map with k places along a side of a site."""
    return slice(k * lines.start, k * lines.stop)


def _seen(target: Target, state: State, level: int, place: slice) -> np.ndarray:
    """What is seen of some rows of a level: (SEEN, h, w, C)."""
    q, latents, errors = (m[level][0, place] for m in (state.tokens, target.latents, state.felt))
    predicted = state.predicted[level][0, place]
    out = np.empty((SEEN, *q.shape), np.float32)
    np.subtract(latents, q, out=out[0], casting="same_kind")
    np.clip(out[0], -CUT_LIMIT, CUT_LIMIT, out=out[0])
    out[3:6] = predicted.transpose(3, 0, 1, 2)
    if level == 0:  # the brightness tells nothing
        mean = predicted[..., MEAN]
        relative = q - np.copysign(np.expm1(np.abs(mean)), mean)
        out[1], out[2], out[3] = signed_log(relative), np.minimum(np.abs(relative), 1), 0
    else:
        out[1] = _LOGS.take(q + LOG_TOP, mode="clip")
        out[2] = q != 0
    np.clip(errors, -ERROR_LIMIT, ERROR_LIMIT, out=out[6])
    return out


def by_level(maps: Sequence[np.ndarray]) -> Subbands:
    """Maps at strides 4, 8 and 16, as OUTPUTS -> a number for each token."""
    g4, g8, g16 = maps
    _, h, w, _ = g4.shape
    finest = g4[..., :36].reshape(1, h, w, 2, 2, 9).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2 * h, 2 * w, 9)
    return Subbands(g16[..., 9:], (finest, g4[..., 36:], g8, g16[..., :9]))


def by_stride(bands: Subbands) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The inverse of by_level."""
    low, d1, d2, d3, d4 = bands
    return np.concatenate((space_to_depth(d1), d2), -1), d3, np.concatenate((d4, low), -1)


def known_slopes(state: State, weights: Weights, factors: np.ndarray | None = None) -> Subbands:
    """The part of the slopes that one decoding tells, were the decoder linear and coding free.

    factors: (5, 9), on each level and channel.
    """
    each_step = weights.slope if factors is None else weights.slope * factors
    return times(state.felt, each_step)


class Proposals:
    """A source of slopes for rounds of updates."""

    def __init__(self, network: Network | None, threads: int = 1):
        """network: None for the known part alone."""
        self.network, self.threads = network, threads

    def __call__(self, target: Target, state: State, weights: Weights) -> Subbands:
        """The slopes of all tokens, float32."""
        if self.network is None:
            return known_slopes(state, weights)
        rows = state.tokens.grid[0]
        count = -(-rows // STRIP)
        parts = []
        for k in range(count):
            own = range(rows * k // count, rows * (k + 1) // count)
            around = range(max(own.start - REACH, 0), min(own.stop + REACH, rows))
            *maps, factors = self.network(*inputs(target, state, self.threads, around))
            inner = range(own.start - around.start, own.stop - around.start)
            parts.append([m[:, _places(inner, m.shape[1] // len(around))] for m in maps])
        maps = [np.concatenate(strips, 1) for strips in zip(*parts, strict=True)]
        return known_slopes(state, weights, factors.reshape(LEVELS + 1, 9)).combine(np.add, by_level(maps))
