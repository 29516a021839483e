"""Fitting the static tables, of values and of block flags, to what the coding pass predicts for tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from ..bitstream.tables import (
    BYPASS_BITS,
    LOG_SCALES,
    MEAN_UNIT,
    MEANS,
    NARROW,
    NARROW_SCALES,
    NEAR,
    PRECISION,
    SCALES,
    SHAPES,
    WIDE,
)
from ..coding.entropy import EntropyModel
from ..coding.prediction import NO_OFFSETS, FlagRecord, Recorder
from ..coding.tables import FLAG_CLASSES, CodingTables, logistic_flags, symbols
from ..context.density import probability
from ..subbands import Subbands

PRIOR = 24.0  # weight in counts of the float model's probabilities beside the counts of a table
SHAPE_CENTRES = -2.0, 0.0, 2.0  # mixture logits typical of the three shape classes
# log scale indices and largest magnitude of narrow and of wide tables
KINDS = (range(NARROW_SCALES), NARROW), (range(NARROW_SCALES, SCALES), WIDE)
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


def parametric(scales: range, largest: int) -> np.ndarray:
    """(SHAPES, MEANS, len(scales), 2 largest + 2): the float model's probabilities at the centre of each table's class.

    scales: log scale indices. The last symbol, the escape, gets what is left.
    """
    unit = 2.0 ** torch.from_numpy(BYPASS_BITS[scales.start : scales.stop]).double()
    means = torch.arange(MEANS).double() / MEAN_UNIT
    means[NEAR:] -= 1
    logs = torch.from_numpy(LOG_SCALES[scales.start : scales.stop]) - torch.log(unit)
    value = torch.arange(-largest, largest + 1).double()
    logits = torch.tensor(SHAPE_CENTRES).double()[:, None, None, None]
    p = probability(value, (means[:, None] / unit)[None, ..., None], logs[None, None, :, None], logits).clamp_min(1e-9)
    return torch.cat((p, (1 - p.sum(-1, keepdim=True)).clamp_min(1e-7)), -1).numpy()


def frequencies(probabilities: np.ndarray) -> np.ndarray:
    """(..., n) probabilities, in any unit -> uint16 frequencies of at least 1 that sum to 2^16 - 1."""
    total = (1 << PRECISION) - 1
    n = probabilities.shape[-1]
    p = probabilities / probabilities.sum(-1, keepdims=True)
    f = np.floor(p * (total - n)).astype(np.int64) + 1
    top = f.argmax(-1)[..., None]
    np.put_along_axis(f, top, np.take_along_axis(f, top, -1) + total - f.sum(-1, keepdims=True), -1)
    return f.astype(np.uint16)


def smoothed(counts: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Counts (any shape of the same size) and probabilities (..., n) -> frequencies (..., n)."""
    p = prior / prior.sum(-1, keepdims=True)
    return frequencies(counts.reshape(p.shape) + PRIOR * p)
