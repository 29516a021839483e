"""What a damaged file lacks, drawn from the learned prior: invented details in place of none.

A level of details that was not received is drawn given the coarser ones, as Codec.sample does. A low band that was not
received is interpolated from the tiles around, as without drawing, and all details on it are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bitstream.container import Contents
from ..coding.entropy import CodingPoint, EntropyModel
from ..coding.sampling import Random, Sampler, SamplingTables
from ..subbands import LEVELS, Subbands
from ..tiles import Area


@dataclass(frozen=True)
class Imagination:
    """A seed gives the same tokens on every machine, whatever part of a picture is decoded, at every reduction.

    low: int32 (1, h, w, 3), of the whole picture, where the low band of a tile was not received.
    """

    entropy: EntropyModel
    tables: SamplingTables
    seed: int
    low: np.ndarray | None

    def from_nothing(self, area: Area) -> Subbands:
        """What is known of a tile whose low band was not received."""
        assert self.low is not None
        return Subbands(self.low[:, area.y : area.y + area.h, area.x : area.x + area.w], (), LEVELS + 1)

    def complete(self, tile: int, known: Subbands, point: CodingPoint, finest: int) -> Subbands:
        """Known tokens of a tile, int32 (1, h, w, C), and those of finer levels down to `finest`, drawn."""
        if known.finest <= finest:
            return known
        sampler = Sampler(self.tables, point.base_scales, Random(self.seed, tile), known.map(np.ascontiguousarray))
        return self.entropy.run(point, *known.grid, sampler, finest)


def incomplete_tiles(contents: Contents, finest: int) -> set[int]:
    """The tiles of which something was not received, of the low band or of levels from `finest` on."""
    return {tile for level, tile in contents.erased if level == 0 or level >= finest}


def note(tiles: int, all_tiles: int, seed: int) -> str:
    """What people are told of invented details in so many tiles of all."""
    where = "everywhere" if tiles == all_tiles else f"in {tiles} of {all_tiles} tiles"
    return f"fine details {where} are invented (seed {seed}): they are no evidence of what was there"
