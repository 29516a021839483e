"""Entropy coding of one tile's tokens: context model, tables and range coder together.

Coder callbacks write or read a payload for each level: see payloads.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..bitstream.tables import OMITTING, Tables
from ..quality import QualityPoint
from ..subbands import LEVELS, Subbands
from .groups import Coder
from .integer import IntegerArithmetic
from .model import ContextModel
from .offsets import NO_OFFSETS, OffsetFitter
from .payloads import PayloadReader, PayloadWriter
from .prediction import Predictor

NO_LOSS = np.full((LEVELS + 1, 9), np.inf)


@dataclass(frozen=True)
class EntropyModel:
    """Everything that coding needs; all of it integers.

    features: (100, 16), the context model's input for each quality; base_scales: (100, 5, 9), where log scales start,
    in quarters of a scale index.
    """

    context: ContextModel
    arithmetic: IntegerArithmetic
    features: Tensor
    base_scales: np.ndarray
    tables: Tables

    def point(self, quality: int, steps: Tensor) -> QualityPoint:
        """What belongs to a quality of 1..100. steps: (100,), the autoencoder's."""
        row = slice(quality - 1, quality)
        return QualityPoint(quality, steps[row], self.features[row], self.base_scales[quality - 1])

    def run(self, point: QualityPoint, rows: int, columns: int, coder: Coder, finest: int = 1) -> Subbands:
        """The context model's pass over one tile."""
        return self.context.autoregressive_pass(self.arithmetic, point.features, rows, columns, coder, finest)

    @torch.no_grad()
    def encode(
        self,
        tokens: Subbands,
        point: QualityPoint,
        erased: Tensor | None = None,
        fit_scales: bool = True,
        loss: np.ndarray | None = None,
    ) -> tuple[dict[int, bytes], Subbands]:
        """tokens: int32, a batch of one -> (payload of each level, the tokens as the decoder will read them).

        erased: (1, h, w) bool, tokens to leave out of the payloads; their values come back as what is most probable.
        fit_scales: first fit the scale offsets, which takes one more pass. loss: (5, 9), what a squared error of one in
        a value of each level and channel costs, in bits. A level's certain zeros are left out where that saves more
        bits than what is lost with them costs; None: only where nothing is lost.
        """
        received, offsets, predictor = _received(erased), NO_OFFSETS, Predictor(self.tables, point)
        if fit_scales:
            fitter = OffsetFitter(predictor, tokens, received)
            self.run(point, *tokens.grid, fitter)
            offsets = fitter.offsets()
        omitting = frozenset(OMITTING)
        while True:
            writer = PayloadWriter(predictor, tokens, received, offsets, omitting)
            coded = self.run(point, *tokens.grid, writer)
            if not (costly := writer.costly(NO_LOSS if loss is None else loss)):
                return writer.finish(), coded
            omitting -= costly

    @torch.no_grad()
    def decode(
        self,
        payloads: dict[int, bytes],
        point: QualityPoint,
        rows: int,
        columns: int,
        finest: int = 1,
        erased: Tensor | None = None,
        native: bool = True,
    ) -> Subbands:
        """The mirror of encode; rows and columns are the low band's. Levels below `finest` are not read.

        native: as in the file's header: whether payloads say if they leave certain zeros out. Raises FormatError.
        """
        reader = PayloadReader(Predictor(self.tables, point), payloads, _received(erased), native)
        tokens = self.run(point, rows, columns, reader, finest)
        reader.finish()
        return tokens


def _received(erased: Tensor | None) -> Subbands | None:
    """(1, h, w) bool -> which values of the subbands belong to a token that is not erased; None for all."""
    if erased is None:
        return None
    received = ~erased[..., None]
    factors = (1 << LEVELS - level for level in range(1, LEVELS + 1))
    details = [received.repeat_interleave(k, 1).repeat_interleave(k, 2) for k in factors]
    return Subbands(received.expand(-1, -1, -1, 3), tuple(d.expand(-1, -1, -1, 9) for d in details))
