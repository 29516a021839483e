"""Entropy coding of one tile's tokens: context model, tables and range coder together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import fixed_point
from ..subbands import LEVELS, Subbands
from .context_pass import Networks, empty_bands
from .details import DetailPass
from .groups import Coder
from .low_band import code_low_band
from .maps import FRACTION_BITS
from .offsets import fit_offsets
from .payloads import PayloadReader, write_payloads
from .prediction import NO_OFFSETS, PredictionMaps, Received, Recorder
from .tables import CodingTables


@dataclass(frozen=True)
class CodingPoint:
    """What belongs to a quality."""

    features: np.ndarray  # (16,) uint8: the networks' input
    base_scales: np.ndarray  # (5, 9): where log scales start, in quarters of a scale index


@dataclass(frozen=True)
class EntropyModel:
    """Everything that coding needs. features: (100, 16) uint8, base_scales: (100, 5, 9) int16, by quality."""

    networks: Networks
    features: np.ndarray
    base_scales: np.ndarray
    tables: CodingTables

    def point(self, quality: int) -> CodingPoint:
        """quality: 1..100."""
        return CodingPoint(self.features[quality - 1], self.base_scales[quality - 1].astype(np.int32))

    def run(self, point: CodingPoint, rows: int, columns: int, coder: Coder, finest: int = 1) -> Subbands:
        """The context model's pass over one tile; rows and columns are the low band's, even.

        Codes every value once: the low band, then the details of levels 4 to `finest`. Returns all values, int32.
        """
        nets = self.networks
        bands = empty_bands(rows, columns, finest)
        bands.low[...] = code_low_band(nets, point.features, rows, columns, coder)
        low, parent = fixed_point.planar(bands.low) << FRACTION_BITS, None
        inherited: np.ndarray | None = np.tile(point.features, (rows * columns // 4, 1))
        for level in range(LEVELS, finest - 1, -1):
            assert inherited is not None
            if parent is not None:
                low = fixed_point.merge(low, fixed_point.planar(parent) << FRACTION_BITS)
            values = bands[level]
            inherited = DetailPass(nets, level, inherited, low, parent, coder, values).run(level > finest)
            parent = values
        return bands

    def encode(
        self, tokens: Subbands, point: CodingPoint, erased: np.ndarray | None = None, fit_scales: bool = True
    ) -> tuple[dict[int, bytes], Subbands]:
        """tokens: int32 (1, h, w, c) -> (payload of each level, the tokens as the decoder will read them).

        erased: (1, h, w) bool, tokens to leave out of the payloads; their values come back as what is most probable.
        fit_scales: whether to measure and write scale offsets.
        """
        recorder = Recorder(tokens, point.base_scales, _received(erased))
        coded = self.run(point, *tokens.grid, recorder)
        offsets = fit_offsets(recorder.records, self.tables) if fit_scales else NO_OFFSETS
        return write_payloads(recorder.records, offsets, self.tables), coded

    def decode(
        self,
        payloads: dict[int, bytes],
        point: CodingPoint,
        rows: int,
        columns: int,
        finest: int = 1,
        erased: np.ndarray | None = None,
    ) -> Subbands:
        """The mirror of encode. Levels below `finest` are not read. Raises FormatError."""
        reader = PayloadReader(payloads, self.tables, point.base_scales, _received(erased))
        tokens = self.run(point, rows, columns, reader, finest)
        reader.finish()
        return tokens

    def predict(self, tokens: Subbands, point: CodingPoint) -> PredictionMaps:
        """What is predicted for every value and flag of known tokens, for the encoder's search."""
        maps = PredictionMaps(tokens, point.base_scales)
        self.run(point, *tokens.grid, maps)
        return maps


def _received(erased: np.ndarray | None) -> Received | None:
    return None if erased is None or not erased.any() else Received(~erased[0])
