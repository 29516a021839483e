"""Coding groups: which values, or which block flags, are coded together.

The context model's pass calls a coder callback for each group, in a fixed order, with the parameters predicted for its
values; the callback returns the values. In training and encoding it knows them, in decoding it reads them.

A block is 2x2 positions of a level, which is one site of the level's features. Two block flags at levels 1 and 2 say
whether any of its luma and of its chroma values is not zero. They are coded before the level's values; values of
unflagged blocks are zero and not coded, and what is predicted for them means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..layers import depth_to_space, space_to_depth
from ..subbands import Subbands
from .phases import overdue_symbols

LUMA, CHROMA = slice(0, 3), slice(3, 9)  # channels of details
FLAGGED_LEVELS = 1, 2  # levels whose blocks have flags


@dataclass(frozen=True)
class CodingGroup:
    """Values of one level that are coded together."""

    level: int  # 0: the low band; 1 (finest) to 4: details
    channels: slice
    phase: tuple[int, int] | None  # the position in each block; None: all four of 2x2, as channels
    stride: int = 2  # side of a block
    # which blocks are overdue (phases.py): (B, h, w, 1) bool, of any meaning where a block is not flagged; None: none
    overdue: Tensor | None = field(default=None, compare=False)

    @property
    def flag(self) -> int | None:
        """Which of a block's two flags is about the group's values: 0 or 1; None at levels without flags.

        The group has its n values of a block at the block's own site: values (B, h, w, n), flags (B, h, w, 2).
        """
        return int(self.channels.start >= CHROMA.start) if self.level in FLAGGED_LEVELS else None

    def gather(self, bands: Subbands) -> Tensor:
        """The group's values, (B, h, w, n), out of whole subbands."""
        x = bands[self.level][..., self.channels]
        if self.phase is None:
            return space_to_depth(x.contiguous())
        return x[:, self.phase[0] :: self.stride, self.phase[1] :: self.stride]

    def symbols(self, values: Tensor) -> Tensor:
        """What is coded in place of the group's values, (B, h, w, n)."""
        return values if self.overdue is None else torch.where(self.overdue, overdue_symbols(values), values)

    def scatter(self, bands: Subbands, values: Tensor) -> None:
        """The inverse of gather: write values (B, h, w, n) into whole subbands."""
        x = bands[self.level][..., self.channels]
        if self.phase is None:
            x.copy_(depth_to_space(values))
        else:
            x[:, self.phase[0] :: self.stride, self.phase[1] :: self.stride] = values

    def per_channel(self, table: np.ndarray) -> np.ndarray:
        """(5, 9), a number for each level and channel -> those of the group's n values at a place."""
        row = table[self.level, self.channels]
        return row if self.phase else np.tile(row, 4)


def block_flags(details: Tensor) -> Tensor:
    """A level's values (B, 2h, 2w, 9) -> bool (B, h, w, 2): whether any luma, and any chroma, of a block is not 0."""
    B, H, W, _ = details.shape
    blocks = (details != 0).view(B, H // 2, 2, W // 2, 2, -1)
    return torch.stack([blocks[..., channels].any(-1).any(4).any(2) for channels in (LUMA, CHROMA)], -1)


@dataclass(frozen=True)
class FlagGroup:
    """The block flags of a level that are coded together: those of one position of every 2x2 blocks.

    Three logits are predicted for each block: that its luma is flagged; that its chroma is, where its luma is not; that
    its chroma is, where its luma is.
    """

    level: int  # of FLAGGED_LEVELS
    phase: tuple[int, int]

    def select(self, flags: Tensor) -> Tensor:
        """The group's flags, (B, h/2, w/2, 2), out of a level's, (B, h, w, 2)."""
        return flags[:, self.phase[0] :: 2, self.phase[1] :: 2]

    def gather(self, bands: Subbands) -> Tensor:
        """The group's flags, (B, h/2, w/2, 2), 0 or 1 in the type of the values, out of whole subbands."""
        values = bands[self.level]
        return self.select(block_flags(values)).to(values.dtype)


# a CodingGroup and the parameters predicted for it, (B, h, w, parameters * n) -> the group's integers, (B, h, w, n); or
# a FlagGroup and its logits, (B, h, w, 3) -> its flags, (B, h, w, 2). Any: who codes without flags knows no FlagGroup
Coder = Callable[[Any, Tensor], Tensor]
