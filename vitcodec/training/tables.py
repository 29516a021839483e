"""Fitting the static tables of the entropy coder: symbol counts of real tokens and the float model's probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

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
    TableIndex,
    Tables,
    symbols,
)
from ..context.coding import EntropyModel
from ..context.density import probability
from ..context.groups import CodingGroup
from ..context.prediction import Predictor
from ..distortion import Distortion
from ..models.autoencoder import Autoencoder
from ..options import EncodeOptions
from ..quality import round_tokens
from ..rdo import EFFORTS, RDOSearch
from ..subbands import Subbands

PRIOR = 24.0  # weight in counts of the float model's probabilities beside the counts of a table
SHAPE_CENTRES = -2.0, 0.0, 2.0  # mixture logits typical of the three shape classes
# log scale indices and largest magnitude of narrow and of wide tables
KINDS = (range(NARROW_SCALES), NARROW), (range(NARROW_SCALES, SCALES), WIDE)


def uniform_tables() -> Tables:
    """Tables without certain zeros, so that a pass for counting leaves no value out."""
    return Tables(*(np.ones((SHAPES, MEANS, len(scales), 2 * largest + 2), np.uint16) for scales, largest in KINDS))


class SymbolCounts:
    """How often each symbol of each table occurs.

    narrow (SHAPES * MEANS * NARROW_SCALES, 2 NARROW + 2), wide (SHAPES * MEANS * (SCALES - NARROW_SCALES), 2 WIDE + 2),
    float64.
    """

    def __init__(self) -> None:
        self.narrow, self.wide = (
            np.zeros((SHAPES * MEANS * len(scales), 2 * largest + 2)) for scales, largest in KINDS
        )

    def add(self, index: TableIndex, residuals: np.ndarray, tables: Tables) -> None:
        """Count N values by their tables and residuals, (N,). tables: the model's, which split them."""
        parts = tables.split(index)
        for counts, (place, _, rows, largest) in zip((self.narrow, self.wide), parts, strict=True):
            _, symbol = symbols(index.select(place), residuals[place], largest)
            width = 2 * largest + 2
            counts += np.bincount(rows * width + symbol, minlength=counts.size).reshape(counts.shape)


class CountingCoder:
    """The coder callback that counts the symbols of known tokens, a batch of int32."""

    def __init__(self, predictor: Predictor, tokens: Subbands, counts: SymbolCounts):
        self.predictor, self.tokens, self.counts = predictor, tokens, counts

    def __call__(self, group: CodingGroup, parameters: Tensor) -> Tensor:
        q = group.gather(self.tokens)
        index = self.predictor.index(group, parameters)
        self.counts.add(index, index.residual(q.numpy().ravel()), self.predictor.tables)
        return q


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


@torch.no_grad()
def fit_tables(
    autoencoder: Autoencoder,
    model: EntropyModel,
    samples: Iterator[tuple[Tensor, int]],
    dead_zone: float,
    distortion: Distortion,
) -> tuple[np.ndarray, np.ndarray]:
    """The narrow and the wide tables for what the encoder writes at its default effort, as Tables takes them.

    model: with uniform tables. samples: (images (B, H, W, 3) in 0..255, quality). dead_zone: of the rounding before the
    search.
    """
    counts = SymbolCounts()
    for image, quality in samples:
        point = model.point(quality, autoencoder.steps)
        tokens = round_tokens(autoencoder.encode(image, point.step.expand(len(image))), dead_zone)
        search = RDOSearch(autoencoder, model, point, distortion, EFFORTS[EncodeOptions.effort])
        tokens = search.search(image, tokens)
        features = point.features.expand(len(image), -1)
        coder = CountingCoder(Predictor(model.tables, point), tokens, counts)
        model.context.autoregressive_pass(model.arithmetic, features, *tokens.grid, coder)
    narrow, wide = (
        smoothed(c, parametric(scales, largest))
        for c, (scales, largest) in zip((counts.narrow, counts.wide), KINDS, strict=True)
    )
    return narrow, wide
