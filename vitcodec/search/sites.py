"""What every site costs, and the best tokens that a search has seen, site by site.

A round of updates lowers J on the whole, but not at every site: some updates were promised more than they brought. The
cost of a site is its own bits and its own error. What its tokens change elsewhere is left out, but hardly matters when
a site is taken from one state or another: at coarse steps that lowers J by 1 % more, at fine ones by 0.1 %.
"""

from __future__ import annotations

import numpy as np

from ..coding.tables import flag_class
from ..subbands import Subbands
from ..tiles import SITE
from .costs import BITS
from .state import State, Weights


def site_costs(state: State, weights: Weights, flag_bits: np.ndarray) -> np.ndarray:
    """Bits of J at each site, (h, w) float32. flag_bits: as CodingTables."""
    rows, columns = state.tokens.grid
    total = weights.error * state.squares

    def add(places: np.ndarray) -> None:
        k = places.shape[0] // rows
        total[...] += places.reshape(rows, k, columns, k).sum((1, 3))

    for changes in state.changes:
        add(changes[0, ..., BITS].sum(-1))
    for level, flags in state.flags.items():
        costs = flag_bits[flag_class(state.logits[level])]  # (h, w, 3, 2): as FlagGroup has logits
        luma, chroma = flags[..., 0], flags[..., 1]
        alone, empty, beside = (
            np.where(f, costs[..., k, 1], costs[..., k, 0]) for k, f in enumerate((luma, chroma, chroma))
        )
        add(alone + np.where(luma, beside, empty))
    return total


class BestSites:
    """Of all tokens that were seen, those with the lowest cost at each site, and the error of the pixels there.

    That error is close to the one of these tokens together, not equal: the decoder looks at neighbouring sites.
    """

    def __init__(self, flag_bits: np.ndarray):
        self.flag_bits = flag_bits
        self.tokens: Subbands | None = None
        self.pixels: np.ndarray | None = None
        self.costs: np.ndarray | None = None

    def add(self, state: State, weights: Weights) -> None:
        """Take over the sites at which a state costs less than what was seen before."""
        costs = site_costs(state, weights, self.flag_bits)
        if self.tokens is None or self.pixels is None or self.costs is None:
            self.tokens, self.pixels, self.costs = state.tokens.map(np.copy), state.pixels.copy(), costs
            return
        better = costs < self.costs
        self.costs = np.minimum(costs, self.costs)
        np.copyto(self.pixels, state.pixels, where=better.repeat(SITE, 0).repeat(SITE, 1))
        for own, new in self.tokens.zip(state.tokens):
            k = own.shape[1] // len(better)
            np.copyto(own, new, where=better.repeat(k, 0).repeat(k, 1)[None, ..., None])
