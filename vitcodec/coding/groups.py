"""Coding groups: which values, or which block flags, are coded together, and where they are.

The pass calls a coder for each group, in a fixed order, with what is predicted; the coder returns the values. In
encoding it knows them, in decoding it reads them. What a group, a block and a flag are: context/groups.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..context.phases import overdue_symbols, overdue_values
from ..subbands import LEVELS, Subbands

LUMA, CHROMA = slice(0, 3), slice(3, 9)  # channels of details
FLAGGED_LEVELS = 1, 2  # levels whose blocks have flags


@dataclass(frozen=True)
class Group:
    """Values of one level that are coded together, at N sites: P places of each, with the same C channels.

    Their order is that of places, then channels, then sites. places: (N, P), indices into the level's flattened rows
    and columns.
    """

    level: int  # 0: the low band; 1 (finest) to 4: details
    channels: slice
    places: np.ndarray
    overdue: np.ndarray | None = None  # (N,) bool: which sites' blocks are overdue (context/phases.py); None: none

    def symbols(self, values: np.ndarray) -> np.ndarray:
        """What is coded in place of the group's values, (P * C, N) int32."""
        return (
            values if self.overdue is None else np.where(self.overdue, overdue_symbols(values), values).astype(np.int32)
        )

    def values(self, symbols: np.ndarray) -> np.ndarray:
        """The inverse."""
        return (
            symbols
            if self.overdue is None
            else np.where(self.overdue, overdue_values(symbols), symbols).astype(np.int32)
        )

    def gather(self, bands: Subbands) -> np.ndarray:
        """The group's values, (P * C, N), out of whole subbands (1, h, w, c)."""
        x = bands[self.level]
        return (
            x.reshape(-1, x.shape[-1])[:, self.channels][self.places.T].transpose(0, 2, 1).reshape(-1, len(self.places))
        )

    def scatter(self, bands: Subbands, values: np.ndarray) -> None:
        """The inverse: write values (P * C, N) into whole subbands (1, h, w, c), in C order."""
        x = bands[self.level]
        count, each = self.places.shape
        x.reshape(-1, x.shape[-1])[:, self.channels][self.places.T] = values.reshape(each, -1, count).transpose(0, 2, 1)

    def per_channel(self, table: np.ndarray) -> np.ndarray:
        """(5, 9), a number for each level and channel -> those of the values of a site, (P * C, 1)."""
        return np.tile(table[self.level, self.channels], self.places.shape[1])[:, None]


@dataclass(frozen=True)
class FlagGroup:
    """Block flags of a level that are coded together.

    Three logits are predicted for each block: that its luma is flagged; that its chroma is, where its luma is not; that
    its chroma is, where its luma is. blocks: (N,), indices into the flattened grid of the level's 2x2 blocks.
    """

    level: int  # of FLAGGED_LEVELS
    blocks: np.ndarray


class Coder(Protocol):
    """What the pass calls for each group."""

    def values(self, group: Group, parameters: np.ndarray) -> np.ndarray:
        """parameters: (3 * P * C, N) int32, all means, all scales, all shapes -> values (P * C, N) int32."""
        ...

    def flags(self, group: FlagGroup, logits: np.ndarray) -> np.ndarray:
        """logits: (N, 3) int32 -> flags (N, 2) bool."""
        ...


def block_flags(details: np.ndarray) -> np.ndarray:
    """A level's values (1, 2h, 2w, 9) -> (h * w, 2) bool: whether any luma, and any chroma, of a block is not 0."""
    _, H, W, _ = details.shape
    filled = details[0] != 0
    parts = np.stack([filled[..., channels].any(-1) for channels in (LUMA, CHROMA)], -1)
    return parts.reshape(H // 2, 2, W // 2, 2, 2).any((1, 3)).reshape(-1, 2)


def level_grid(level: int, rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of a level's values, from those of the low band."""
    shift = LEVELS - level if level else 0
    return rows << shift, columns << shift
