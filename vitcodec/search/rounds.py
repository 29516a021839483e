"""The search: rounds of updates from rounded tokens on; of every site the best that was seen is kept.

J = lambda D + R is true in every round: the decoder and the coder's tables, forward. What differs is where slopes come
from: proposals.py, or the gradient (gradient.py). A distortion other than the squared error is seen as importance.py
says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..subbands import Subbands
from ..tiles import SITE
from .efforts import SearchConfig
from .importance import Perceived, PixelSlope
from .measures import Target, Weights
from .moves import skip_at_random, update
from .sites import BestSites
from .state import Evaluator, State

SEED = 0  # of what is skipped: the same picture gives the same file

# what a change of each token adds to J, but for the token's own bits
Slopes = Callable[[Target, State, Weights], Subbands]


@dataclass(frozen=True)
class Found:
    """tokens: int32. pixels: about the error of their pixels, as in Felt; None where nothing was searched."""

    tokens: Subbands
    pixels: np.ndarray | None = None


@dataclass(frozen=True)
class Search:
    """The search of one effort.

    exact: proposals that know the distortion's slope; None: `proposals` serve. gradients: needed where the
    configuration has rounds by gradient. slope: of a distortion other than the squared error; None: the squared error.
    """

    evaluate: Evaluator
    config: SearchConfig
    proposals: Slopes
    gradients: Slopes | None = None
    exact: Slopes | None = None
    slope: PixelSlope | None = None

    def __call__(self, target: Target, tokens: Subbands) -> Subbands:
        """Tokens of the target's area, int32 -> better ones."""
        return self.find(target, tokens).tokens

    def find(self, target: Target, tokens: Subbands) -> Found:
        """Tokens of the target's area, int32 -> better ones, and their error."""
        config, tuning = self.config, self.evaluate.tuning
        rows, columns = tokens.grid
        if not config.rounds or SITE * min(rows, columns) < tuning.smallest_side:
            return Found(tokens)
        step, weights = self.evaluate.step(target.quality), self.evaluate.weights(target.quality)
        perceived = None
        if self.slope:
            perceived = Perceived(self.slope, target, self.evaluate.errors(target, tokens), step)
            target = perceived.target
        neighbourhood, rng = tuning.neighbourhood(step), np.random.default_rng(SEED)
        flag_bits, threads = self.evaluate.entropy.tables.flag_bits, self.evaluate.threads
        best, lowest, sites = Found(tokens), float("inf"), BestSites(flag_bits)
        for k in range(config.rounds + 1):
            state = self.evaluate(target, tokens)
            sites.add(state, weights)
            if state.cost < lowest:
                best, lowest = Found(tokens), state.cost
            if k == config.rounds:
                break
            if perceived:
                state = perceived.steered(state)
            slopes = self._source(k)(target, state, weights)
            crowding = config.crowding_in(k) if tuning.crowding is None else tuning.crowding
            curvature = weights.curvature_at(state.curvature)
            after = update(state, slopes, curvature, flag_bits, neighbourhood, crowding, threads)
            if (kept := config.kept(k)) < 1:
                after = skip_at_random(after, tokens, kept, rng)
            tokens = after
            del state, slopes  # hundreds of megabytes, and the next state needs as much
        assert sites.tokens is not None
        together = Found(sites.tokens, sites.pixels)
        if self._needs_no_check(lowest, rows * columns * SITE**2):
            return together
        return together if self.evaluate(target, sites.tokens).cost < lowest else best

    def _source(self, round: int) -> Slopes:
        if round < self.config.proposals + self.config.exact:
            return self.proposals if round < self.config.proposals or self.exact is None else self.exact
        assert self.gradients is not None
        return self.gradients

    def _needs_no_check(self, cost: float, pixels: int) -> bool:
        """Whether the best of all sites together are certain to cost less than the best state."""
        config = self.config
        return config.rounds <= config.unchecked_rounds and cost > self.evaluate.tuning.check_threshold * pixels
