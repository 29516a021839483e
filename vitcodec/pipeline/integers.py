"""The transforms of a model of integers, as the pipeline asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..adaptive_filter import AdaptiveFilter, FilterNumbers
from ..dequantiser import GAIN_BITS, STEP_BITS, STEP_FACTOR_BITS, Dequantiser
from ..engines import Engine
from ..enhancement import Enhancement, no_enhancement
from ..reconstruction import MARGIN, MIDDLE, Reconstruction, seen
from ..subbands import Subbands
from ..tiles import Area, crop
from ..transform import Tokens
from .filling import filled, low_units


@dataclass(frozen=True)
class IntegerTransform:
    """As Transform. engine: runs the synthesis. reach: as Reconstruction. enhancements: the model's, by number."""

    engine: Engine
    dequantiser: Dequantiser
    filters: FilterNumbers
    threads: int = 1
    reach: int = MIDDLE
    enhancements: Callable[[int], Enhancement | None] = no_enhancement

    def step(self, quality: int) -> float:
        """As Transform."""
        return float(self.dequantiser.steps[quality - 1]) / (1 << STEP_FACTOR_BITS)

    def gains(self, quality: int) -> np.ndarray:
        """As Transform."""
        return self.dequantiser.gains[quality - 1].astype(np.float32) / (1 << GAIN_BITS)

    def filter(self, quality: int) -> AdaptiveFilter | None:
        """As Transform."""
        return self.filters.at(quality)

    def enhancement(self, number: int) -> Enhancement | None:
        """As Transform."""
        return self.enhancements(number)

    def corrected(self, tokens: Subbands, quality: int) -> Subbands:
        """As Transform."""
        whole, qualities = Area(0, 0, *tokens.grid), np.array([[quality]])
        decoder = Reconstruction(
            self.engine, self.dequantiser, whole, qualities, lambda a: crop(tokens, a), self.threads
        )
        unit = np.float32(1 / (1 << STEP_BITS))
        low, *details = (band.astype(np.float32) * unit for band in decoder.corrected(whole))
        return Subbands(low, tuple(details))

    def needed(self, shown: Area, whole: Area, reduce: int) -> Area:
        """As Transform."""
        return shown.grown(MARGIN, whole) if reduce else seen(shown, whole, self.reach)

    def picture(
        self,
        tokens: Tokens,
        whole: Area,
        shown: Area,
        qualities: np.ndarray,
        erased: np.ndarray | None,
        reduce: int,
        filter: AdaptiveFilter | None,
        enhancement: Enhancement | None,
    ) -> Reconstruction:
        """As Transform."""
        if erased is not None:
            tokens = filled(tokens, erased, low_units(self, qualities))
        return Reconstruction(
            self.engine,
            self.dequantiser,
            whole,
            qualities,
            tokens,
            self.threads,
            shown,
            self.reach,
            reduce,
            filter,
            enhancement,
        )
