"""Where the search stands: some tokens, the error that the decoder makes of them, and what they cost.

The distortion is the squared error of the pixels before they are rounded and clipped. The cost is J = lambda D + R in
bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..coding.entropy import EntropyModel
from ..engines import Engine
from ..parallel import each
from ..reconstruction import GAIN_BITS, STEP_BITS, STEP_FACTOR_BITS, Dequantiser, Reconstruction
from ..subbands import LEVELS, Subbands
from ..tiles import Area, crop
from . import pixel_error
from .costs import CostCoder, StepCosts
from .tuning import ENERGY, LAGRANGIAN, SearchTuning


@dataclass(frozen=True)
class Target:
    """What is searched for: tokens of an area of a picture, at one quality.

    original, latents: float32 (1, h, w, C) in steps, the wavelet coefficients of the picture and what the analysis made
    of them. tiles: the parts of the area that are coded by themselves, counted from its corner.
    """

    original: Subbands
    latents: Subbands
    quality: int
    tiles: Sequence[Area]


@dataclass(frozen=True)
class Weights:
    """What an error and a token's change mean for lambda D.

    error: bits per squared step. The others are (5, 9) float32, of each level and channel. slope: bits that a token's
    change by one adds per step of State.felt, were the decoder linear. curvature: bits that it adds by itself.
    """

    error: float
    slope: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True)
class State:
    """tokens: int32. felt: float32, in steps: the error as each coefficient contributes to it (pixel_error.gradient).
    squares: (h, w) float32, the squared error of each site, in squared steps. changes, predicted, logits and
    flags: as CostCoder notes them, of the whole area.

    distortion, rate: bits.
    """

    tokens: Subbands
    felt: Subbands
    squares: np.ndarray
    changes: Subbands
    predicted: Subbands
    logits: dict[int, np.ndarray]  # (h, w, 3), on the grid of blocks
    flags: dict[int, np.ndarray]  # (h, w, 2)
    distortion: float
    rate: float

    @property
    def cost(self) -> float:
        """J in bits."""
        return self.distortion + self.rate


class Evaluator:
    """Makes states: the decoder's networks, forward, and the tables.

    engine: runs the synthesis. weight: multiplier on distortion, beside that of the tuning. costs: of the entropy
    model's tables, where they were made before.
    """

    def __init__(
        self,
        entropy: EntropyModel,
        engine: Engine,
        dequantiser: Dequantiser,
        tuning: SearchTuning,
        weight: float = 1.0,
        threads: int = 1,
        costs: StepCosts | None = None,
    ):
        self.entropy, self.engine, self.dequantiser = entropy, engine, dequantiser
        self.tuning, self.weight, self.threads = tuning, weight, threads
        self.costs = costs or StepCosts(entropy.tables)

    def step(self, quality: int) -> float:
        """In 8-bit levels."""
        return float(self.dequantiser.steps[quality - 1]) / (1 << STEP_FACTOR_BITS)

    def gains(self, quality: int) -> np.ndarray:
        """The decoder's factor on each band, (5, 9) float32."""
        return self.dequantiser.gains[quality - 1].astype(np.float32) / (1 << GAIN_BITS)

    def weights(self, quality: int) -> Weights:
        """What counts at a quality."""
        error = np.float32(LAGRANGIAN * self.weight * self.tuning.weight_at(self.step(quality)))
        gains = self.gains(quality)
        return Weights(float(error), 2 * error * gains, error * np.tile(ENERGY, 3) * gains**2)

    def __call__(self, target: Target, tokens: Subbands) -> State:
        """tokens: int32, of the target's area."""
        # the decoder's picture and the coder's bits know nothing of each other
        works: list[Callable[[], Any]] = [lambda: self._bits(target, tokens), lambda: self._felt(target, tokens)]
        coders, (felt, squares) = each(lambda work: work(), works, self.threads)
        distortion = self.weights(target.quality).error * float(squares.sum(dtype=np.float64))
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
        return State(tokens, felt, squares, changes, predicted, logits, flags, distortion, rate)

    def _felt(self, target: Target, tokens: Subbands) -> tuple[Subbands, np.ndarray]:
        """State.felt and State.squares."""
        planes = pixel_error.in_pixels(self.errors(target, tokens))
        return pixel_error.gradient(planes), pixel_error.of_sites(planes)

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
        whole = Area(0, 0, *tokens.grid)
        decoder = Reconstruction(
            self.engine, self.dequantiser, whole, np.array([[target.quality]]), lambda a: crop(tokens, a), self.threads
        )
        unit = np.float32(1 / (1 << STEP_BITS))
        low, *details = (
            band.astype(np.float32) * unit - original
            for band, original in zip(decoder.corrected(whole), target.original, strict=True)
        )
        return Subbands(low, tuple(details))


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
