"""One round of updates: which tokens change by one, and which blocks are emptied, given what changes cost elsewhere.

The bits of a changed value itself are exact, by the tables. All else, the distortion and the bits of what is coded in
its context, is linear in the change (slopes), with the curvature of the distortion. Of neighbouring updates only the
best is made: they would count the same gain twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..coding.groups import CHROMA, LUMA
from ..coding.tables import flag_class
from ..parallel import each
from ..subbands import LEVELS, Subbands
from .costs import BITS, DOWN, UP
from .state import State

PARTS = LUMA, CHROMA
# Of what emptying a block promises, this much counts. In full it made J fall less, since neighbours rely on the block:
# in the first round at quality 25 by 4.17 %, by half 4.58 %, without emptying 4.53 %
EMPTYING = 0.5
LOW_PARTS = slice(0, 1), slice(1, 3)  # of the low band


def update(
    state: State,
    slopes: Subbands,
    curvature: Sequence[np.ndarray],
    flag_bits: np.ndarray,
    neighbourhood: tuple[int, float],
    crowding: float | None = 1.0,
    threads: int = 1,
) -> Subbands:
    """The tokens after one round of updates, int32.

    slopes: float32, of each token, the bits that all but itself would add per change by one. curvature: as
    Weights.curvature_at. flag_bits: as CodingTables. neighbourhood: as SearchTuning.neighbourhood gives it. crowding:
    the factor, 0 to 1, on the gains of neighbours that an update has to exceed; at 0 it has to be the best of its place
    alone; None: all updates are made.
    """

    def work(level: int) -> np.ndarray:
        return _update_level(state, level, slopes[level], curvature[level], flag_bits, (*neighbourhood, crowding))

    # the finest first: it takes as long as all others
    details = each(work, [*range(1, LEVELS + 1), 0], threads)
    return Subbands(details.pop(), tuple(details))


def _update_level(
    state: State,
    level: int,
    slope: np.ndarray,
    curvature: np.ndarray,
    flag_bits: np.ndarray,
    near: tuple[int, float, float | None],
) -> np.ndarray:
    out = state.tokens[level].copy()
    flags = state.flags.get(level)
    for k, channels in enumerate(LOW_PARTS if level == 0 else PARTS):
        if flags is None:
            place = (0, slice(None), slice(None), channels)
            own, up = _changes(state.changes[level][place], slope[place], curvature[..., channels])
            limit = best_near(np.maximum(_best(own), 0), *near)
            out[place] += _steps(own, up, limit)
            continue
        # only values of flagged blocks can change: blocks are gathered, (n, 2, 2, c)
        y, x = np.nonzero(flags[..., k])
        if not len(y):
            continue
        h, w = flags.shape[:2]
        block = (y, slice(None), x, slice(None), channels)
        changes, slopes = (m.reshape(h, 2, w, 2, *m.shape[3:])[block] for m in (state.changes[level], slope))
        tokens = out.reshape(h, 2, w, 2, -1)
        q = tokens[block]
        bend = curvature[..., channels] if curvature.ndim == 1 else curvature.reshape(h, 2, w, 2, -1)[block]
        own, up = _changes(changes, slopes, bend)
        gain = np.zeros((h, 2, w, 2), np.float32)
        emptying = gains_of_emptying(q, slopes, changes[..., BITS], bend)
        emptying += _saved_by_flags(state, level, flag_bits)[y, x, k]
        emptying *= EMPTYING * (np.abs(q).reshape(len(q), -1).sum(1) > 1)  # a last 1 is an update like others
        gain[y, :, x] = np.maximum(np.maximum(_best(own), 0), emptying[:, None, None])
        limit = best_near(gain.reshape(2 * h, 2 * w), *near).reshape(h, 2, w, 2)[y, :, x]
        q += _steps(own, up, limit)
        q[(emptying > 0) & (emptying >= np.maximum(limit, gain[y, :, x]).max((1, 2)))] = 0
        tokens[block] = q
    return out


def gains_of_emptying(q: np.ndarray, slope: np.ndarray, bits: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """By how many bits J falls where all values of a block become zero, flags apart: of blocks (n, 2, 2, c) -> (n,).

    bits: of the values themselves, which are saved.
    """
    # what their removal costs elsewhere: the slope times -q, and the curvature times q^2
    gain = bits - (curvature * q - slope) * q
    return gain.reshape(len(q), -1).sum(1)


def _changes(changes: np.ndarray, slope: np.ndarray, curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the better update of each value adds to J, and whether that is one more."""
    up, down = changes[..., UP] + slope, changes[..., DOWN] - slope
    best = np.minimum(up, down)
    best += curvature
    return best, up < down


def _best(change: np.ndarray) -> np.ndarray:
    """(..., c) -> the largest gain of a place's channels, (...)."""
    least = change[..., 0]
    for k in range(1, change.shape[-1]):
        least = np.minimum(least, change[..., k])
    return -least


def _steps(change: np.ndarray, up: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """The updates that are made, -1, 0 or 1: those that lower J, by at least the limit of their place."""
    chosen = (change < 0) & (-change >= limit[..., None])
    return np.where(chosen, np.where(up, 1, -1), 0).astype(np.int32)


def _saved_by_flags(state: State, level: int, flag_bits: np.ndarray) -> np.ndarray:
    """Bits that a block's luma flag, and its chroma flag, save where they are set no longer: (h, w, 2)."""
    # with the luma's flag changes what predicts the chroma's
    costs = flag_bits[flag_class(state.logits[level])]  # (h, w, 3, 2)
    luma, chroma = state.flags[level][..., 0], state.flags[level][..., 1]
    saved = costs[..., 1] - costs[..., 0]
    alone, beside = (np.where(chroma, costs[..., k, 1], costs[..., k, 0]) for k in (1, 2))
    return np.stack((saved[..., 0] + beside - alone, np.where(luma, saved[..., 2], saved[..., 1])), -1)


def best_near(gain: np.ndarray, side: int, outer: float, crowding: float | None = 1.0) -> np.ndarray:
    """What an update has to gain to be made, (H, W), where gains of at least 0 are possible, (H, W).

    side: of the square of neighbours, odd. outer: the factor, 0 to 1, on the gains of neighbours beyond the four next
    ones; at 0 only these count. crowding: as `update`.
    """
    if crowding is None:
        return np.zeros_like(gain)
    best = gain.copy()
    for axis in (0, 1) if crowding > 0 else ():
        np.maximum(best, crowding * _largest(gain, 3, axis), out=best)
    if outer * crowding > 0:
        np.maximum(best, outer * crowding * _largest(_largest(gain, side, 0), side, 1), out=best)
    return best


def _largest(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """The largest of `size` values around each along an axis."""
    out, n = x.copy(), x.shape[axis]
    for k in range(1, size // 2 + 1):
        if k >= n:
            break
        ahead, behind = [slice(None)] * 2, [slice(None)] * 2
        ahead[axis], behind[axis] = slice(k, None), slice(None, n - k)
        a, b = tuple(ahead), tuple(behind)
        np.maximum(out[b], x[a], out=out[b])
        np.maximum(out[a], x[b], out=out[a])
    return out


def skip_at_random(after: Subbands, before: Subbands, share: float, rng: np.random.Generator) -> Subbands:
    """`before` with that share of the changes to `after`, at random."""

    def mix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out, changed = b.copy(), np.nonzero(a != b)
        kept = rng.random(len(changed[0])) < share
        place = tuple(axis[kept] for axis in changed)
        out[place] = a[place]
        return out

    return after.combine(mix, before)
