"""Where the search stands: some tokens, the error that the decoder makes of them, and what they cost.

The distortion is that of the pixels before they are rounded and clipped (measures.py). The cost is J = lambda D + R in
bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..coding.entropy import EntropyModel
from ..parallel import each
from ..subbands import LEVELS, Subbands
from ..tiles import Area, crop
from ..transform import Transform
from .costs import CostCoder, StepCosts
from .measures import Felt, Target, Weights, squared_error
from .tuning import ENERGY, LAGRANGIAN, SearchTuning


@dataclass(frozen=True)
class State:
    """tokens: int32. felt, squares, pixels: as Felt. changes, predicted, logits and flags: as CostCoder notes them, of
    the whole area. curvature: that of the distortion, as a multiple of Weights.curvature, as Felt.

    distortion, rate: bits.
    """

    tokens: Subbands
    felt: Subbands
    squares: np.ndarray
    pixels: np.ndarray
    changes: Subbands
    predicted: Subbands
    logits: dict[int, np.ndarray]  # (h, w, 3), on the grid of blocks
    flags: dict[int, np.ndarray]  # (h, w, 2)
    distortion: float
    rate: float
    curvature: float | Subbands = 1.0

    @property
    def cost(self) -> float:
        """J in bits."""
        return self.distortion + self.rate


class Evaluator:
    """Makes states: the decoder, forward, and the tables.

    weight: multiplier on distortion, beside that of the tuning. costs: of the entropy model's tables, where they were
    made before.
    """

    def __init__(
        self,
        entropy: EntropyModel,
        transform: Transform,
        tuning: SearchTuning,
        weight: float = 1.0,
        threads: int = 1,
        costs: StepCosts | None = None,
    ):
        self.entropy, self.transform = entropy, transform
        self.tuning, self.weight, self.threads = tuning, weight, threads
        self.costs = costs or StepCosts(entropy.tables)

    def step(self, quality: int) -> float:
        """In 8-bit levels."""
        return self.transform.step(quality)

    def gains(self, quality: int) -> np.ndarray:
        """The decoder's factor on each band, (5, 9) float32."""
        return self.transform.gains(quality)

    def weights(self, quality: int) -> Weights:
        """What counts at a quality."""
        error = np.float32(LAGRANGIAN * self.weight * self.tuning.weight_at(self.step(quality)))
        gains = self.gains(quality)
        return Weights(float(error), 2 * error * gains, error * np.tile(ENERGY, 3) * gains**2)

    def __call__(self, target: Target, tokens: Subbands) -> State:
        """tokens: int32, of the target's area."""
        # the decoder's picture and the coder's bits know nothing of each other
        works: list[Callable[[], Any]] = [lambda: self._bits(target, tokens), lambda: self._felt(target, tokens)]
        coders, felt = each(lambda work: work(), works, self.threads)
        whole = Area(0, 0, *tokens.grid)
        changes, predicted = (
            _joined(whole, target.tiles, parts)
            for parts in ([c.changes for c in coders], [c.predicted for c in coders])
        )
        logits, flags = (
            _joined_blocks(whole, target.tiles, parts)
            for parts in ([c.logits for c in coders], [c.flags_of for c in coders])
        )
        rate = sum(coder.rate for coder in coders)
        return State(
            tokens,
            felt.error,
            felt.squares,
            felt.pixels,
            changes,
            predicted,
            logits,
            flags,
            felt.distortion,
            rate,
            felt.curvature,
        )

    def _felt(self, target: Target, tokens: Subbands) -> Felt:
        return squared_error(target, self.errors(target, tokens), self.weights(target.quality))

    def _bits(self, target: Target, tokens: Subbands) -> list[CostCoder]:
        """What each tile costs."""
        point, whole = self.entropy.point(target.quality), Area(0, 0, *tokens.grid)
        coders = []
        for tile in target.tiles:
            own = tokens if tile == whole else crop(tokens, tile).map(np.ascontiguousarray)
            coders.append(CostCoder(own, point.base_scales, self.costs))
            self.entropy.run(point, tile.h, tile.w, coders[-1])
        return coders

    def errors(self, target: Target, tokens: Subbands) -> Subbands:
        """What the decoder makes of tokens less the original, in steps: float32 (1, h, w, C)."""
        return self.transform.corrected(tokens, target.quality).combine(np.subtract, target.original)


def _joined(whole: Area, tiles: Sequence[Area], parts: Sequence[Subbands]) -> Subbands:
    """Subbands of tiles as those of the whole area."""
    if len(tiles) == 1 and tiles[0] == whole:
        return parts[0]

    def empty(t: np.ndarray) -> np.ndarray:
        k = t.shape[1] // tiles[0].h
        return np.empty((1, k * whole.h, k * whole.w, *t.shape[3:]), t.dtype)

    out = parts[0].map(empty)
    for tile, part in zip(tiles, parts, strict=True):
        for target, source in crop(out, tile).zip(part):
            target[...] = source
    return out


def _joined_blocks(whole: Area, tiles: Sequence[Area], parts: Sequence[dict[int, np.ndarray]]) -> dict[int, np.ndarray]:
    """Maps of the blocks of tiles, (h * w, C) for each level, as those of the whole area, (h, w, C)."""
    out = {}
    for level, first in parts[0].items():
        k = 1 << (LEVELS - level - 1)  # blocks along a side of a site
        out[level] = np.empty((whole.h * k, whole.w * k, first.shape[-1]), first.dtype)
        for tile, part in zip(tiles, parts, strict=True):
            place = out[level][tile.y * k : (tile.y + tile.h) * k, tile.x * k : (tile.x + tile.w) * k]
            place[...] = part[level].reshape(place.shape)
    return out
