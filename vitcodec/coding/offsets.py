"""Scale offsets: by how much the predicted scales of each channel are off in a tile. A payload begins with them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..bitstream.range_coder import Models, table_model
from ..subbands import CHANNELS, LEVELS
from .prediction import NO_OFFSETS, FlagRecord, ValueRecord, scale_index
from .tables import CodingTables

OFFSETS = np.arange(-4, 5, dtype=np.int32)
OFFSET_UNIT = 2  # quarters of an index
OFFSET_TABLE = 3 ** (4 - np.abs(OFFSETS))  # 1, 3, 9, 27, 81, 27, 9, 3, 1
OFFSET_MODELS = Models(1, lambda _: table_model(OFFSET_TABLE))
_OFFSET_BITS = -np.log2(OFFSET_TABLE / OFFSET_TABLE.sum())
SAMPLE = 2048  # about how many values of a group are looked at


def fit_offsets(records: Iterable[ValueRecord | FlagRecord], tables: CodingTables) -> np.ndarray:
    """(5, 9) int32: added to the scales; zero where a level's offsets would save less than they cost."""
    bits = np.zeros((LEVELS + 1, 9, len(OFFSETS)))
    for record in records:
        if isinstance(record, FlagRecord) or not record.residuals.size:
            continue
        group = record.group
        channels = group.channels.stop - group.channels.start
        every = max(1, record.residuals.size // SAMPLE)
        some = slice(None, None, every)
        channel = np.arange(len(record.residuals)) % channels
        channel = record.only(np.repeat(channel[:, None], record.residuals.shape[1], 1))
        residuals, channel = record.only(record.residuals)[some], channel[some]
        classes, scale = (record.only(x)[some] for x in (record.prediction.classes, record.prediction.scale))
        for k, offset in enumerate(OFFSETS):
            cost = tables.bits(classes + scale_index(scale + OFFSET_UNIT * offset), residuals)
            bits[group.level, group.channels, k] += every * np.bincount(channel, cost, channels)
    out = NO_OFFSETS.copy()
    for level, channels in CHANNELS.items():
        own = bits[level, :channels]
        total = own + _OFFSET_BITS
        if total.min(-1).sum() < own[:, len(OFFSETS) // 2].sum():
            out[level, :channels] = OFFSET_UNIT * OFFSETS[total.argmin(-1)]
    return out
