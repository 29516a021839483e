"""From tokens to coefficients, and to what the networks see of them, in integers: what belongs to each quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import fixed_point

# Coefficients are held in 1024ths of a step: at the coarsest quality a fifth of an 8-bit level. With 64ths, rounding
# left grain in flat areas
STEP_BITS = 10
GAIN_BITS = 12  # of the decoder's factor on each band
STEP_FACTOR_BITS = 7  # of a quantisation step in 8-bit levels
LINEAR_BITS = 6  # what the linear input loses of STEP_BITS
LOG_UNIT = 16  # the other input is 16 log(1 + |c|)
LOG_LIMIT = 1 << 16  # entries of its table, beyond its largest value


def log_table() -> np.ndarray:
    """(LOG_LIMIT,) int32: the logarithmic input for |c| in the unit of the linear one; stored with the weights."""
    unit = 1 << (STEP_BITS - LINEAR_BITS)
    return np.minimum(np.rint(LOG_UNIT * np.log1p(np.arange(LOG_LIMIT) / unit)), 127).astype(np.int32)


@dataclass(frozen=True)
class Dequantiser:
    """What belongs to each quality; row q - 1 is quality q."""

    gains: np.ndarray  # (100, 5, 9) int32, 12-bit fractions: the decoder's factor on each band
    steps: np.ndarray  # (100,) int32, 7-bit fractions of an 8-bit level
    positions: np.ndarray  # (100,) uint8, the network's input for the quality, with its zero point
    logs: np.ndarray  # log_table()

    def coefficients(self, tokens: np.ndarray, level: int, qualities: np.ndarray) -> np.ndarray:
        """Tokens (1, H, W, C) of a level -> 1024ths of a step. qualities: as `spread` gives them."""
        gains = self.gains[qualities - 1, level, : tokens.shape[-1]]
        shift = GAIN_BITS - STEP_BITS
        out = tokens * gains
        out += 1 << (shift - 1)
        out >>= shift
        return out

    def levels(self, coefficients: np.ndarray, qualities: np.ndarray) -> np.ndarray:
        """1024ths of a step -> parts of an 8-bit level (fixed_point.FRACTION_BITS)."""
        steps = self.steps[qualities - 1][..., None]
        shift = STEP_BITS + STEP_FACTOR_BITS - fixed_point.FRACTION_BITS
        limit = (fixed_point.LIMIT << shift) // steps
        out = np.clip(coefficients, -limit, limit)
        out *= steps
        out += 1 << (shift - 1)
        out >>= shift
        return out

    def features(self, coefficients: np.ndarray, qualities: np.ndarray) -> np.ndarray:
        """Coefficients (1, h, w, n) -> the network's input, (1, h, w, 2n + 1) uint8, signed with a zero point."""
        n = coefficients.shape[-1]
        out = np.empty((*coefficients.shape[:3], 2 * n + 1), np.uint8)
        linear = (coefficients + (1 << (LINEAR_BITS - 1))) >> LINEAR_BITS
        logs = self.logs[np.minimum(np.abs(linear), LOG_LIMIT - 1)]
        np.negative(logs, out=logs, where=linear < 0)
        out[..., :n] = np.clip(linear, -128, 127) + 128
        out[..., n:-1] = logs + 128
        out[..., -1] = self.positions[qualities - 1]
        return out


def spread(qualities: np.ndarray, factor: int) -> np.ndarray:
    """Qualities of sites (h, w), or one for all (1, 1) -> of the sites of a finer band, (1, H, W) or (1, 1, 1)."""
    if qualities.size > 1:
        qualities = qualities.repeat(factor, 0).repeat(factor, 1)
    return qualities[None].astype(np.int64)
