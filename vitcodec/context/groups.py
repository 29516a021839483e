"""Coding groups: which values are coded together. And the layers that are computed for each group.

The context model's pass calls a coder callback for each group, in a fixed order, with the parameters predicted for its values; the callback returns
the values. In training and encoding it knows them, in decoding it reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..layers import depth_to_space, space_to_depth
from ..subbands import Subbands

PHASES = (0, 0), (1, 1), (0, 1), (1, 0)  # the order of the four positions of each 2x2 block
LUMA, CHROMA = slice(0, 3), slice(3, 9)  # channels of details


@dataclass(frozen=True)
class CodingGroup:
    """Values of one level that are coded together."""

    level: int  # 0: the low band; 1 (finest) to 4: details
    channels: slice
    phase: tuple[int, int] | None  # the position in each block; None: all four of 2x2, as channels
    stride: int = 2  # side of a block

    def gather(self, bands: Subbands) -> Tensor:
        """The group's values, (B, h, w, n), out of whole subbands."""
        x = bands[self.level][..., self.channels]
        if self.phase is None:
            return space_to_depth(x.contiguous())
        return x[:, self.phase[0] :: self.stride, self.phase[1] :: self.stride]

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


# a group and the parameters predicted for it, (B, h, w, parameters * n) -> the group's integers, (B, h, w, n)
Coder = Callable[[CodingGroup, Tensor], Tensor]
