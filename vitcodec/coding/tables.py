"""The static probability tables as the range coder takes them, and the symbols of values and block flags.

Which table a value has: bitstream/tables.py. A block flag's table is chosen by its logit alone.
"""

from __future__ import annotations

import numpy as np

from ..bitstream.range_coder import Model, Models, table_model
from ..bitstream.tables import (
    BYPASS_BITS,
    ESCAPE_SIGN_BITS,
    MEANS,
    NARROW,
    NARROW_SCALES,
    PRECISION,
    SCALES,
    SHAPES,
    WIDE,
)

FLAG_UNIT = 1 / 4  # of the logits of block flags
FLAG_CLASSES = 96  # logits from -12 to 11.75
BYPASS = np.tile(BYPASS_BITS, SHAPES * MEANS)  # by table
LARGEST = np.tile(np.where(np.arange(SCALES) < NARROW_SCALES, NARROW, WIDE).astype(np.int32), SHAPES * MEANS)


def flag_class(logits: np.ndarray) -> np.ndarray:
    """Logits in FLAG_UNIT, of any size -> 0..FLAG_CLASSES - 1."""
    return np.clip(logits + FLAG_CLASSES // 2, 0, FLAG_CLASSES - 1)


def logistic_flags() -> np.ndarray:
    """(FLAG_CLASSES,) uint16: how often of 2^16 - 1 times a flag is set, as the logits say."""
    logits = (np.arange(FLAG_CLASSES) - FLAG_CLASSES // 2) * FLAG_UNIT
    top = (1 << PRECISION) - 1
    return np.clip(np.round(top / (1 + np.exp(-logits))), 1, top - 1).astype(np.uint16)


def symbols(tables: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tables and residuals (N,) -> (the residuals' high bits, the table symbols), int32.

    A table's last symbol says that the high bits are beyond its largest magnitude.
    """
    bits, largest = BYPASS[tables], LARGEST[tables]
    high = (residuals + ((1 << bits) >> 1)) >> bits
    return high, np.where(np.abs(high) > largest, 2 * largest + 1, high + largest)


class CodingTables:
    """narrow, wide: as bitstream.tables.Tables; flags: (FLAG_CLASSES,), as logistic_flags."""

    def __init__(self, narrow: np.ndarray, wide: np.ndarray, flags: np.ndarray):
        shape = (SHAPES, MEANS, -1, 2 * WIDE + 2)
        padded = np.zeros((SHAPES, MEANS, SCALES, 2 * WIDE + 2), np.uint16)
        padded[:, :, :NARROW_SCALES, : 2 * NARROW + 2] = narrow.reshape(SHAPES, MEANS, -1, 2 * NARROW + 2)
        padded[:, :, NARROW_SCALES:] = wide.reshape(shape)
        self.frequencies = padded.reshape(-1, padded.shape[-1])
        top = (1 << PRECISION) - 1
        self.flag_frequencies = np.stack((top - flags.astype(np.int32), flags), 1).astype(np.uint16)
        self.value_models = Models(len(LARGEST), self._value_model)
        self.flag_models = Models(FLAG_CLASSES, lambda index: table_model(self.flag_frequencies[index]))
        with np.errstate(divide="ignore"):
            cost = PRECISION - np.log2(self.frequencies.astype(np.float32))
            self.flag_bits = PRECISION - np.log2(self.flag_frequencies.astype(np.float32))
        self._cost = (cost + BYPASS[:, None]).astype(np.float32)

    def _value_model(self, table: int) -> Model:
        return table_model(self.frequencies[table][: 2 * LARGEST[table] + 2])

    def bits(self, tables: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """About what coding each value takes, (N,)."""
        high, symbol = symbols(tables, residuals)
        bits = self._cost[tables, symbol]
        excess = np.abs(high) - LARGEST[tables]
        escaped = np.flatnonzero(excess > 0)
        bits[escaped] += ESCAPE_SIGN_BITS + np.log2(excess[escaped])
        return bits
