"""One round of updates: which tokens change by one, and which blocks are emptied, given what changes cost elsewhere.

The bits of a changed value itself are exact, by the tables. All else, the distortion and the bits of what is coded in
its context, is linear in the change (slopes), with the curvature of the distortion. Of neighbouring updates only the
best is made: they would count the same gain twice.
"""

from __future__ import annotations

import numpy as np

from ..coding.groups import CHROMA, LUMA
from ..coding.tables import flag_class
from ..parallel import each
from ..subbands import LEVELS, Subbands
from .costs import BITS, DOWN, UP
from .state import State

PARTS = LUMA, CHROMA
LOW_PARTS = slice(0, 1), slice(1, 3)  # of the low band


def update(
    state: State,
    slopes: Subbands,
    curvature: np.ndarray,
    flag_bits: np.ndarray,
    neighbourhood: tuple[int, float],
    threads: int = 1,
) -> Subbands:
    """The tokens after one round of updates, int32.

    slopes: float32, of each token, the bits that all but itself would add per change by one. curvature: (5, 9), as
    Weights. flag_bits: as CodingTables. neighbourhood: as SearchTuning.neighbourhood gives it.
    """

    def work(level: int) -> np.ndarray:
        return _update_level(state, level, slopes[level], curvature[level], flag_bits, neighbourhood)

    # the finest first: it takes as long as all others
    details = each(work, [*range(1, LEVELS + 1), 0], threads)
    return Subbands(details.pop(), tuple(details))


def _update_level(
    state: State,
    level: int,
    slope: np.ndarray,
    curvature: np.ndarray,
    flag_bits: np.ndarray,
    neighbourhood: tuple[int, float],
) -> np.ndarray:
    tokens, facts = state.tokens[level], state.facts[level]
    curved = curvature[: tokens.shape[-1]]
    up, down = facts[..., UP] + slope, facts[..., DOWN] - slope
    change = np.minimum(up, down)
    change += curved
    emptied, flags = None, state.flags.get(level)
    if flags is not None:
        emptied = _gains_of_emptying(state, level, slope, curved, flag_bits)
        for k, channels in enumerate(PARTS):  # what is not coded cannot change
            change[0, ..., channels] *= _by_place(flags[..., k])[..., None]
    out = tokens.copy()
    for k, channels in enumerate(LOW_PARTS if level == 0 else PARTS):
        own = change[0, ..., channels]
        gain = -own.min(-1)
        best = gain if emptied is None else np.maximum(gain, _by_place(emptied[..., k]))
        limit = best_near(np.maximum(best, 0), *neighbourhood)
        chosen = (own < 0) & (-own >= limit[..., None])
        place = out[0, ..., channels]
        place[chosen] += np.where(up[0, ..., channels][chosen] < down[0, ..., channels][chosen], 1, -1).astype(np.int32)
        if emptied is not None:
            h, w = emptied.shape[:2]
            most = limit.reshape(h, 2, w, 2).max((1, 3))
            empty = (emptied[..., k] > 0) & (emptied[..., k] >= most)
            place[_by_place(empty)] = 0
    return out


def _gains_of_emptying(
    state: State, level: int, slope: np.ndarray, curvature: np.ndarray, flag_bits: np.ndarray
) -> np.ndarray:
    """By how many bits J falls where a block's luma, or its chroma, becomes zero: (h, w, 2); 0 where it is."""
    q, flags = state.tokens[level][0].astype(np.float32), state.flags[level]
    # what the values' removal costs elsewhere, less their own bits
    loss = (curvature * q - slope[0]) * q - state.facts[level][0, ..., BITS]
    h, w = flags.shape[:2]
    blocks = loss.reshape(h, 2, w, 2, -1).sum((1, 3))
    values = np.stack([blocks[..., channels].sum(-1) for channels in PARTS], -1)
    # flags: with the luma's, what predicts the chroma's changes
    costs = flag_bits[flag_class(state.logits[level])]  # (h, w, 3, 2)
    luma, chroma = flags[..., 0], flags[..., 1]
    saved = costs[..., 1] - costs[..., 0]  # by a flag that is no longer set
    of_chroma = np.where(luma, saved[..., 2], saved[..., 1])
    alone, beside = (np.where(chroma, costs[..., k, 1], costs[..., k, 0]) for k in (1, 2))
    of_luma = saved[..., 0] + beside - alone
    return (np.stack((of_luma, of_chroma), -1) - values) * flags


def _by_place(blocks: np.ndarray) -> np.ndarray:
    """(h, w) of blocks -> (2h, 2w), of the places in them."""
    return blocks.repeat(2, 0).repeat(2, 1)


def best_near(gain: np.ndarray, side: int, outer: float) -> np.ndarray:
    """What a gain must reach to be the best of its neighbourhood, (H, W), for gains (H, W) of at least 0.

    side: of the square of neighbours, odd. outer: the factor, 0 to 1, on the gains of neighbours beyond the four next
    ones; at 0 only these count.
    """
    best = gain.copy()
    for axis in (0, 1):
        np.maximum(best, _largest(gain, 3, axis), out=best)
    if outer > 0:
        wide = _largest(_largest(gain, side, 0), side, 1)
        wide *= outer
        np.maximum(best, wide, out=best)
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
