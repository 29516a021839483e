"""What coding every value of known tokens takes, and would take if it were one higher or one lower."""

from __future__ import annotations

import numpy as np

from ..bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SCALE_LOW, SHAPE_UNIT
from ..coding.groups import FlagGroup, Group, block_flags
from ..coding.prediction import Prediction, flag_logits, predict
from ..coding.tables import CodingTables, flag_class
from ..context.phases import overdue_symbols
from ..subbands import Subbands

NO_OFFSETS = np.zeros((1, 1), np.int32)
REACH = 32  # residuals up to this magnitude are looked up; there are few others
# what is noted for each value: its bits, and the bits that one more and one less would add; and what is predicted for
# it: the mean as a signed logarithm, the scale as a natural one, the shape as the mixture logit
BITS, UP, DOWN = range(3)
MEAN, SCALE, SHAPE = range(3)


class StepCosts:
    """Bits of residuals, and how they change by steps, for every table of a model."""

    def __init__(self, tables: CodingTables):
        self.tables = tables
        residuals = np.arange(-REACH - 1, REACH + 2)
        count = len(tables.frequencies)
        keys = np.repeat(np.arange(count), len(residuals))
        bits = tables.bits(keys, np.tile(residuals, count)).reshape(count, -1)
        middle = bits[:, 1:-1]
        more, less = bits[:, 2:] - middle, bits[:, :-2] - middle
        # where the mean is negative, values are mirrored: one more is one less of the residual
        self._rows = np.stack([np.stack((middle, *pair), -1) for pair in ((more, less), (less, more))]).reshape(-1, 3)
        self._mirrored = middle.size

    def __call__(self, keys: np.ndarray, residuals: np.ndarray, negative: np.ndarray) -> np.ndarray:
        """keys: tables of values (N,); residuals (N,) int32; negative (N,) bool, as Prediction.

        Returns (N, 3): bits, and what one more and one less of the value add to them.
        """
        place = np.clip(residuals, -REACH, REACH)
        out = self._rows[keys * (2 * REACH + 1) + (place + REACH) + negative * np.int32(self._mirrored)]
        far = np.flatnonzero(place != residuals)
        if len(far):
            sign = np.where(negative[far], -1, 1)
            bits, up, down = (self.tables.bits(keys[far], residuals[far] + step * sign) for step in (0, 1, -1))
            out[far] = np.stack((bits, up - bits, down - bits), -1)
        return out


class CostCoder:
    """The coder of known tokens, int32 (1, h, w, C) in C order, that notes what they cost.

    changes, predicted: of each value, (1, h, w, C, 3) float32, zero where nothing is coded. logits: of each flagged
    level, of its blocks, (h * w, 3) int32, as FlagGroup. flags_of: of each flagged level, (h * w, 2) bool. rate: all
    bits.
    """

    def __init__(self, tokens: Subbands, base_scales: np.ndarray, costs: StepCosts):
        self.tokens, self.costs, self.rate = tokens, costs, 0.0
        self.base_scales = base_scales
        self.changes, self.predicted = (tokens.map(lambda t: np.zeros((*t.shape, 3), np.float32)) for _ in range(2))
        self.logits: dict[int, np.ndarray] = {}
        self.flags_of: dict[int, np.ndarray] = {}

    def values(self, group: Group, parameters: np.ndarray) -> np.ndarray:
        """Coder.values."""
        prediction, values = predict(parameters, group.per_channel(self.base_scales)), group.gather(self.tokens)
        keys, residuals = prediction.tables(NO_OFFSETS), prediction.residuals(group.symbols(values))
        changes = self.costs(keys.ravel(), residuals.ravel(), prediction.negative.ravel())
        if group.overdue is not None and group.overdue.any():
            self._set_overdue(changes.reshape(*values.shape, 3), group, prediction, values)
        self.rate += float(changes[:, BITS].sum(dtype=np.float64))
        mean, _, shape = np.split(parameters, 3)
        predicted = np.empty((*values.shape, 3), np.float32)
        predicted[..., MEAN] = signed_log(mean.astype(np.float32) / MEAN_UNIT)
        predicted[..., SCALE] = SCALE_LOW + LOG_SCALE_UNIT * prediction.scale
        predicted[..., SHAPE] = np.clip(shape, -2, 2) * SHAPE_UNIT
        _put(self.changes, group, changes)
        _put(self.predicted, group, predicted)
        return values

    def _set_overdue(self, changes: np.ndarray, group: Group, prediction: Prediction, values: np.ndarray) -> None:
        """There one more or one less of a value may be another step of its symbol. changes: (M, N, 3), as StepCosts."""
        assert group.overdue is not None
        sites = np.flatnonzero(group.overdue)
        own, keys = prediction.of(sites), prediction.tables(NO_OFFSETS)[:, sites].ravel()
        bits, up, down = (
            self.costs.tables.bits(keys, own.residuals(overdue_symbols(values[:, sites] + step)).ravel())
            for step in (0, 1, -1)
        )
        changes[:, sites] = np.stack((bits, up - bits, down - bits), -1).reshape(len(values), -1, 3)

    def flags(self, group: FlagGroup, logits: np.ndarray) -> np.ndarray:
        """Coder.flags."""
        if group.level not in self.flags_of:
            known = self.flags_of[group.level] = block_flags(self.tokens[group.level])
            self.logits[group.level] = np.zeros((len(known), 3), np.int32)
        self.logits[group.level][group.blocks] = logits
        flags = self.flags_of[group.level][group.blocks]
        bits = self.costs.tables.flag_bits
        for part, logit in enumerate(flag_logits(logits, flags[:, 0])):
            self.rate += float(bits[flag_class(logit), flags[:, part].astype(int)].sum(dtype=np.float64))
        return flags


def _put(bands: Subbands[np.ndarray], group: Group, found: np.ndarray) -> None:
    """Write three numbers of each of a group's values, float32, in the group's order, into whole subbands."""
    band, (sites, places) = bands[group.level], group.places.shape
    first, end = 3 * group.channels.start, 3 * group.channels.stop
    rows = band.reshape(-1, 3 * band.shape[3])[:, first:end]
    values = np.ascontiguousarray(found.reshape(places, -1, sites, 3).transpose(0, 2, 1, 3)).reshape(places, sites, -1)
    item = f"V{values.shape[2] * values.itemsize}"  # a row is copied as one item
    rows.view(item)[group.places.T, 0] = values.view(item)[..., 0]


def signed_log(x: np.ndarray) -> np.ndarray:
    """sign(x) log(1 + |x|), float32."""
    return np.copysign(np.log1p(np.abs(x)), x)
