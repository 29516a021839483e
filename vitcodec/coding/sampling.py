"""The coder that draws: what a file would say is taken from the predicted distributions by a seeded generator.

Everything is integer arithmetic on the tables that files are coded with, and the generator gives raw 64-bit numbers,
which NumPy promises to keep. So one seed gives the same tokens on every machine, at every temperature.
"""

from __future__ import annotations

import functools
from decimal import Decimal, localcontext

import numpy as np

from ..subbands import Subbands
from .groups import FlagGroup, Group, block_flags
from .prediction import flag_logits, predict
from .tables import BYPASS, LARGEST, CodingTables, flag_class

_TOTAL_BITS = 16  # a row of a table's frequencies has no more than this in all
_LOG_BITS, _POWER_BITS = 24, 12  # fractions of logarithms, as they are computed and as powers are looked up


class SamplingTables:
    """Cumulated frequencies of a model's tables at a temperature: p^(1/temperature), rounded to whole numbers.

    temperature: 0.01 or more; 1 leaves the tables as they are. Escapes, which stand for all that is too large for a
    table, are never drawn: how large they are is not modelled.
    """

    def __init__(self, tables: CodingTables, temperature: float = 1.0):
        values = tables.frequencies.astype(np.int64)
        values[np.arange(len(values)), 2 * LARGEST + 1] = 0
        self._values = _cumulated(_reweighted(values, temperature))
        self._flags = _cumulated(_reweighted(tables.flag_frequencies.astype(np.int64), temperature))

    def values(self, keys: np.ndarray, random: Random) -> np.ndarray:
        """Tables (...) -> residuals that they describe, int32."""
        high = _draw(self._values, keys, random) - LARGEST[keys]
        bits = BYPASS[keys]
        low = random.below(np.left_shift(1, bits, dtype=np.int64)) if bits.any() else 0
        return ((high << bits) + low - ((1 << bits) >> 1)).astype(np.int32)

    def flags(self, classes: np.ndarray, random: Random) -> np.ndarray:
        """Classes of logits (N,) -> flags, bool."""
        return _draw(self._flags, classes, random) > 0


class Random:
    """Whole numbers from a seed, of at least 0, and the number of a stream."""

    def __init__(self, seed: int, stream: int = 0):
        self._raw = np.random.PCG64(np.random.SeedSequence([seed, stream]))

    def below(self, totals: np.ndarray) -> np.ndarray:
        """Numbers from 0 to totals - 1, each of 1 to 2^31, as the totals are arranged, int64."""
        raw = np.asarray(self._raw.random_raw(totals.size), np.uint64).reshape(totals.shape) >> np.uint64(32)
        return ((raw * totals.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


class Sampler:
    """The coder that draws all tokens, or, of known ones, those of the levels that these lack.

    base_scales: (5, 9). known: int32, (1, h, w, c); None: nothing is known.
    """

    def __init__(self, tables: SamplingTables, base_scales: np.ndarray, random: Random, known: Subbands | None = None):
        self.tables, self.base_scales, self.random, self.known = tables, base_scales, random, known

    def values(self, group: Group, parameters: np.ndarray) -> np.ndarray:
        """Coder.values."""
        if self.known is not None and self._is_known(group.level):
            return group.gather(self.known)
        prediction = predict(parameters, group.per_channel(self.base_scales))
        return group.values(prediction.restore(self.tables.values(prediction.classes + prediction.index, self.random)))

    def flags(self, group: FlagGroup, logits: np.ndarray) -> np.ndarray:
        """Coder.flags."""
        if self.known is not None and self._is_known(group.level):
            return block_flags(self.known[group.level])[group.blocks]
        flags = np.zeros((len(logits), 2), bool)
        for part in (0, 1):
            flags[:, part] = self.tables.flags(flag_class(flag_logits(logits, flags[:, 0])[part]), self.random)
        return flags

    def _is_known(self, level: int) -> bool:
        return self.known is not None and (level == 0 or level in self.known.levels)


def _draw(cumulated: np.ndarray, rows: np.ndarray, random: Random) -> np.ndarray:
    """A symbol of each of the rows' tables, (...) int64. cumulated: as _cumulated gives it."""
    size = cumulated.shape[1]
    start = rows.astype(np.int64) << _TOTAL_BITS
    drawn = start + random.below(cumulated[rows, -1] - start)
    return np.searchsorted(cumulated.ravel(), drawn, side="right") - rows * size


def _cumulated(frequencies: np.ndarray) -> np.ndarray:
    """(rows, n) -> sums from each row's start, which is its number << _TOTAL_BITS, so that all together are sorted."""
    return np.cumsum(frequencies, 1) + (np.arange(len(frequencies))[:, None] << _TOTAL_BITS)


def _reweighted(frequencies: np.ndarray, temperature: float) -> np.ndarray:
    """(rows, n) int64 -> the same to the power of 1 / temperature, each row with a sum of 1 to 2^16, whole numbers."""
    if temperature == 1:
        return frequencies
    exponent = round((1 << _LOG_BITS) / temperature)
    logarithms = _log2(np.maximum(frequencies, 1)) * exponent >> (2 * _LOG_BITS - _POWER_BITS)
    logarithms[frequencies == 0] = -(1 << 60)
    below = logarithms.max(1, keepdims=True) - logarithms  # of the most probable
    weights = _powers()[below & ((1 << _POWER_BITS) - 1)] >> np.minimum(below >> _POWER_BITS, 63)
    return (weights << _TOTAL_BITS) // weights.sum(1, keepdims=True)


def _log2(numbers: np.ndarray) -> np.ndarray:
    """Logarithms of whole numbers from 1 to 2^16, in units of 2^-_LOG_BITS, int64, without floating point.

    Bit by bit: squaring a number doubles its logarithm.
    """
    found = np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 1
    y = (numbers << (31 - found)).astype(np.uint64)  # from 2^31 to 2^32
    for _ in range(_LOG_BITS):
        y = (y * y) >> np.uint64(31)
        bit = y >> np.uint64(32)
        y >>= bit
        found = 2 * found + bit.astype(np.int64)
    return found


@functools.cache
def _powers() -> np.ndarray:
    """2^(40 - k / 2^_POWER_BITS), rounded down, int64. Decimal rounds powers of e correctly, as others need not."""
    with localcontext(prec=30):
        step = Decimal(2).ln() / (1 << _POWER_BITS)
        return np.array([int((-k * step).exp() * (1 << 40)) for k in range(1 << _POWER_BITS)], np.int64)
