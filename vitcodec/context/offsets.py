"""Scale offsets: by how much the predicted scales of each channel are off in a tile."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..bitstream.tables import table_index
from ..subbands import CHANNELS, LEVELS, Subbands
from .groups import CodingGroup
from .integer import COEFFICIENT_LIMIT
from .prediction import NO_OFFSETS, Predictor

# A payload begins with scale offsets: by how much the predicted scales of each channel are off in this tile, in units
# of two quarters of an index
OFFSETS = np.arange(-4, 5, dtype=np.int32)
OFFSET_UNIT = 2
OFFSET_TABLE = (3.0 ** (4 - np.abs(OFFSETS))).astype(np.float32)[None]  # 1, 3, 9, 27, 81, 27, 9, 3, 1
_OFFSET_BITS = -np.log2(OFFSET_TABLE[0] / OFFSET_TABLE.sum())


def mask_of(received: Subbands | None, group: CodingGroup) -> np.ndarray | bool:
    """Which values of a group, in raster order, belong to tokens that are not erased; True for all."""
    return True if received is None else group.gather(received).cpu().numpy().ravel()


def clipped(q: Tensor) -> np.ndarray:
    """A group's integers in raster order, within what a file can hold."""
    return np.clip(q.cpu().numpy().ravel(), -COEFFICIENT_LIMIT, COEFFICIENT_LIMIT)


class OffsetFitter:
    """The coder callback that measures by how much the predicted scales of each channel are off in a tile."""

    def __init__(self, predictor: Predictor, tokens: Subbands, received: Subbands | None):
        self.predictor, self.tokens, self.received = predictor, tokens, received
        self.bits = np.zeros((LEVELS + 1, 9, len(OFFSETS)))

    def __call__(self, group: CodingGroup, parameters: Tensor) -> Tensor:
        q, tables = group.gather(self.tokens), self.predictor.tables
        mean, scale, shape = self.predictor.predicted(group, parameters)
        top = table_index(mean.ravel(), (scale + OFFSET_UNIT * OFFSETS[-1]).ravel(), shape.ravel())
        certain = tables.certain_zero[group.level]
        # most values are certain zeros whatever the offset
        counted = ~certain[top.table] & mask_of(self.received, group)
        residuals = top.select(counted).residual(clipped(q)[counted])
        counted = counted.reshape(mean.shape)
        channels = group.channels.stop - group.channels.start
        channel = np.nonzero(counted)[1] % channels
        mean, scale, shape = mean[counted], scale[counted], shape[counted]
        for k, offset in enumerate(OFFSETS):
            index = table_index(mean, scale + OFFSET_UNIT * offset, shape)
            bits = tables.bits(index, residuals, ~certain[index.table])
            self.bits[group.level, group.channels, k] += np.bincount(channel, bits, channels)
        return q

    def offsets(self) -> np.ndarray:
        """(5, 9) int32: added to the scales; zero where a level's offsets would save less than they cost."""
        out = NO_OFFSETS.copy()
        for level, channels in CHANNELS.items():
            bits = self.bits[level, :channels]
            total = bits + _OFFSET_BITS
            if total.min(-1).sum() < bits[:, len(OFFSETS) // 2].sum():
                out[level, :channels] = OFFSET_UNIT * OFFSETS[total.argmin(-1)]
        return out
