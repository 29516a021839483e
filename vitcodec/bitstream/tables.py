"""From predicted parameters to a static probability table, and from an integer to the symbols of that table.

A value's table is chosen by three whole numbers: the shape class (of the mixture logit), the mean class and the scale
index. Tables are fitted to counts after training; they hold 16-bit frequencies, so nothing is computed in floating
point when files are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SHAPES = 3
SHAPE_UNIT = 1.4  # of the mixture logit: rounded and clamped to -1, 0, 1
MEAN_UNIT = 8  # means come in eighths
# means below two (in eighths) have tables of their own, as the dead zone shapes the values near zero; others are
# shifted by whole numbers
NEAR = 16
MEANS = NEAR + MEAN_UNIT
MEAN_LIMIT = MEAN_UNIT << 15
SCALES = 64
SCALE_LOW, SCALE_HIGH = -3.0, 7.0  # log of the scale at index 0 and 63
SCALE_UNIT = 4  # the networks predict quarters of an index
LOG_SCALE_UNIT = (SCALE_HIGH - SCALE_LOW) / (SCALES - 1) / SCALE_UNIT
NARROW, WIDE = 7, 31  # largest magnitude in a table; beyond it the escape symbol, the last
NARROW_SCALES = 20  # scale indices below this have narrow tables
PRECISION = 16  # bits of a frequency
# A value whose table gives zero at least this frequency is a certain zero: a payload may leave it out. By level. At
# coarse levels all are coded: that costs next to nothing, and the finer ones are predicted from what is coded there, so
# that whole lines would vanish
CERTAIN_ZERO = (1 << PRECISION) - np.array([0, 1 << 7, 1 << 5, 0, 0])
OMITTING = 1, 2  # the levels whose payloads may leave certain zeros out
ESCAPE_BITS = 20  # of the longest escape
ESCAPE_SIGN_BITS = 1 + math.log2(ESCAPE_BITS)  # of every escape: its sign and its length

LOG_SCALES = np.linspace(SCALE_LOW, SCALE_HIGH, SCALES)
# Values of large scale are coded as a table symbol for the high bits and this many bypass bits (of equal probability),
# so that the scale left is at most 4
BYPASS_BITS = np.maximum(0, np.ceil(LOG_SCALES / np.log(2) - 2)).astype(np.int32)


@dataclass(frozen=True)
class TableIndex:
    """Which tables N values are coded with, known before they are; all arrays (N,)."""

    table: np.ndarray  # int32, index into the flattened (SHAPES, MEANS, SCALES)
    sign: np.ndarray  # int32, 1 or -1: values are mirrored where the mean is negative
    shift: np.ndarray  # int32, whole part of the mean that is taken off, after mirroring

    @property
    def bypass_bits(self) -> np.ndarray:
        return BYPASS_BITS[self.table % SCALES]

    def select(self, mask: np.ndarray) -> TableIndex:
        return TableIndex(self.table[mask], self.sign[mask], self.shift[mask])

    def residual(self, q: np.ndarray) -> np.ndarray:
        """Integers -> what the tables describe: mirrored and less the whole part of the mean."""
        return self.sign * q - self.shift

    def restore(self, residual: np.ndarray) -> np.ndarray:
        """The inverse of residual."""
        return self.sign * (residual + self.shift)


def table_index(mean: np.ndarray, scale: np.ndarray, shape: np.ndarray) -> TableIndex:
    """mean in eighths, scale in quarters of an index, shape in units of SHAPE_UNIT: integers (N,) of any size."""
    sign = np.where(mean < 0, -1, 1).astype(np.int32)
    a = np.minimum(np.abs(mean), MEAN_LIMIT).astype(np.int32)
    shift = np.where(a < NEAR, 0, (a >> 3) - 1).astype(np.int32)
    mean_class = np.where(a < NEAR, a, NEAR + (a & 7))
    index = np.clip((scale.astype(np.int32) + SCALE_UNIT // 2) >> 2, 0, SCALES - 1)
    shape_class = np.clip(shape.astype(np.int32) + 1, 0, SHAPES - 1)
    return TableIndex(((shape_class * MEANS + mean_class) * SCALES + index).astype(np.int32), sign, shift)


def symbols(index: TableIndex, residuals: np.ndarray, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Residuals -> (their high bits, the table symbols), int32.

    A table's last symbol says that the high bits are beyond `largest`.
    """
    bits = index.bypass_bits
    high = (residuals + ((1 << bits) >> 1)) >> bits
    return high, np.where(np.abs(high) > largest, 2 * largest + 1, high + largest).astype(np.int32)


class Tables:
    """The frequencies of a model, uint16.

    narrow (SHAPES, MEANS, NARROW_SCALES, 2 NARROW + 2), wide (SHAPES, MEANS, SCALES - NARROW_SCALES, 2 WIDE + 2).
    """

    def __init__(self, narrow: np.ndarray, wide: np.ndarray):
        self.narrow = narrow.reshape(-1, narrow.shape[-1]).astype(np.float32)
        self.wide = wide.reshape(-1, wide.shape[-1]).astype(np.float32)
        certain = np.zeros((len(CERTAIN_ZERO), SHAPES, MEANS, SCALES), bool)
        certain[:, :, :NEAR, :NARROW_SCALES] = narrow[:, :NEAR, :, NARROW] >= CERTAIN_ZERO[:, None, None, None]
        self.certain_zero = certain.reshape(len(CERTAIN_ZERO), -1)  # by level and table
        self._bits = [PRECISION - np.log2(t) for t in (self.narrow, self.wide)]

    def bits(self, index: TableIndex, residuals: np.ndarray, coded: np.ndarray | bool = True) -> np.ndarray:
        """About what coding each value takes, (N,).

        coded: (N,) bool; the others take nothing, or PRECISION bits if they are not zero and so are lost.
        """
        out = np.where(residuals == 0, 0, PRECISION).astype(np.float32)
        for (place, _, rows, largest), cost in zip(self.split(index, coded), self._bits, strict=True):
            part = index.select(place)
            high, symbol = symbols(part, residuals[place], largest)
            excess = np.maximum(np.abs(high) - largest, 0)
            escape = np.where(excess > 0, ESCAPE_SIGN_BITS + np.log2(np.maximum(excess, 1)), 0)
            out[place] = cost[rows, symbol] + part.bypass_bits + escape
        return out

    def split(
        self, index: TableIndex, coded: np.ndarray | bool = True
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
        """Values are coded in two parts, those with narrow tables first: (positions, tables, rows, largest magnitude)
        of each.

        coded: (N,) bool, which values are in the payload.
        """
        scale, rest = index.table % SCALES, index.table // SCALES
        narrow = scale < NARROW_SCALES
        near, far = np.flatnonzero(narrow & coded), np.flatnonzero(~narrow & coded)
        near_rows = rest[near] * NARROW_SCALES + scale[near]
        far_rows = rest[far] * (SCALES - NARROW_SCALES) + scale[far] - NARROW_SCALES
        return [(near, self.narrow, near_rows, NARROW), (far, self.wide, far_rows, WIDE)]
