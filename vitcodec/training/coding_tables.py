"""Fitting the static tables of format 1, of values and of block flags, to what the coding pass predicts for tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..bitstream.tables import MEANS, NARROW, NARROW_SCALES, SCALES, SHAPES, WIDE
from ..coding.entropy import EntropyModel
from ..coding.prediction import NO_OFFSETS, FlagRecord, Recorder
from ..coding.tables import FLAG_CLASSES, CodingTables, logistic_flags, symbols
from ..subbands import Subbands
from .tables import KINDS, PRIOR, frequencies, parametric, smoothed

_WIDTH = 2 * WIDE + 2


class Counts:
    """How often each symbol of each table, and each flag of each class of logits, occurs."""

    def __init__(self) -> None:
        self.values = np.zeros(SHAPES * MEANS * SCALES * _WIDTH)
        self.flags = np.zeros(2 * FLAG_CLASSES)

    def add(self, recorder: Recorder) -> None:
        """Count all that was coded in a pass."""
        for record in recorder.records:
            if isinstance(record, FlagRecord):
                self.flags += np.bincount(2 * record.classes + record.flags, minlength=len(self.flags))
            elif record.residuals.size:
                tables = record.tables(NO_OFFSETS)
                _, symbol = symbols(tables, record.only(record.residuals))
                self.values += np.bincount(tables * _WIDTH + symbol, minlength=len(self.values))

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Narrow and wide tables and those of the flags, as CodingTables takes them."""
        counts = self.values.reshape(SHAPES, MEANS, SCALES, _WIDTH)
        parts = counts[:, :, :NARROW_SCALES, : 2 * NARROW + 2], counts[:, :, NARROW_SCALES:]
        narrow, wide = (
            smoothed(part, parametric(scales, largest)) for part, (scales, largest) in zip(parts, KINDS, strict=True)
        )
        share = logistic_flags() / float((1 << 16) - 1)
        flags = frequencies(self.flags.reshape(-1, 2) + PRIOR * np.stack((1 - share, share), 1))
        return narrow, wide, flags[:, 1]


def fit_coding_tables(
    model: EntropyModel, samples: Iterator[tuple[Subbands, int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tables for what the encoder writes: narrow, wide, and those of the flags.

    model: with any tables. samples: tokens, int32 (1, h, w, c), and their quality.
    """
    counts = Counts()
    for tokens, quality in samples:
        point = model.point(quality)
        recorder = Recorder(tokens, point.base_scales)
        model.run(point, *tokens.grid, recorder)
        counts.add(recorder)
    return counts.tables()


def with_tables(model: EntropyModel, narrow: np.ndarray, wide: np.ndarray, flags: np.ndarray) -> EntropyModel:
    """The model with other tables."""
    return replace(model, tables=CodingTables(narrow, wide, flags))
