"""Payloads of one tile, written and read: the coder callbacks around the range coder."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from ..bitstream.range_coder import IMPOSSIBLE, Decoder, Encoder
from ..bitstream.tables import ESCAPE_BITS, OMITTING, TableIndex, symbols
from ..errors import FormatError
from ..subbands import CHANNELS, CODING_ORDER, LEVELS, Subbands
from .groups import CodingGroup
from .integer import COEFFICIENT_LIMIT
from .offsets import OFFSET_TABLE, OFFSET_UNIT, OFFSETS, clipped, mask_of
from .prediction import NO_OFFSETS, Predictor


class PayloadWriter:
    """The coder callback that range-codes a tile's tokens and returns them as they will be decoded.

    omitting: the levels whose certain zeros are left out. What that saves and loses is counted on the way.
    """

    def __init__(
        self,
        predictor: Predictor,
        tokens: Subbands,
        received: Subbands | None,
        offsets: np.ndarray,
        omitting: Collection[int],
    ):
        self.predictor, self.tokens, self.received, self.offsets = predictor, tokens, received, offsets
        self.omitting = omitting
        self.saved = np.zeros(LEVELS + 1)  # bits
        self.lost = np.zeros((LEVELS + 1, 9))  # the sum of squared errors
        self.encoders = {level: Encoder() for level in CODING_ORDER}
        for level, encoder in self.encoders.items():
            if level in OMITTING:
                encoder.write_uniform(np.array([level in omitting], np.int32), np.array([2]))
            own = offsets[level, : CHANNELS[level]]
            encoder.write_uniform(np.array([own.any()], np.int32), np.array([2]))
            if own.any():
                encoder.write(own // OFFSET_UNIT - OFFSETS[0], OFFSET_TABLE, np.zeros(len(own), int))

    def __call__(self, group: CodingGroup, parameters: Tensor) -> Tensor:
        index = self.predictor.index(group, parameters, self.offsets)
        q = group.gather(self.tokens)
        residuals = index.residual(clipped(q))
        coded = np.zeros_like(residuals)
        encoder, mask = self.encoders[group.level], mask_of(self.received, group)
        if group.level in self.omitting:
            certain = self.predictor.tables.certain_zero[group.level, index.table] & mask
            self._count(group, index, residuals, certain)
            mask = mask & ~certain
        for place, tables, rows, largest in self.predictor.tables.split(index, mask):
            coded[place] = residuals[place]
            self._write(encoder, index.select(place), residuals[place], tables, rows, largest)
        return torch.from_numpy(index.restore(coded)).view(q.shape).to(q.device)

    def _count(self, group: CodingGroup, index: TableIndex, residuals: np.ndarray, certain: np.ndarray) -> None:
        """Add up what leaving certain zeros out saves and loses."""
        left_out = residuals[certain]
        self.saved[group.level] += self.predictor.tables.bits(index.select(certain), left_out).sum()
        place = np.flatnonzero(certain)[left_out != 0]
        channels = group.channels.stop - group.channels.start
        squares = residuals[place].astype(np.float64) ** 2
        self.lost[group.level, group.channels] += np.bincount(place % channels, squares, channels)

    def costly(self, loss: np.ndarray) -> frozenset[int]:
        """The levels at which leaving certain zeros out saves less than it loses. loss: as in EntropyModel.encode."""
        cost = np.where(self.lost > 0, loss, 0) * self.lost
        return frozenset(level for level in self.omitting if cost[level].sum() > self.saved[level])

    @staticmethod
    def _write(
        encoder: Encoder, index: TableIndex, residuals: np.ndarray, tables: np.ndarray, rows: np.ndarray, largest: int
    ) -> None:
        bits = index.bypass_bits
        high, symbol = symbols(index, residuals, largest)
        escaped = np.abs(high) > largest
        encoder.write(symbol, tables, rows)
        excess = np.abs(high[escaped]) - largest  # at least 1
        length = np.frexp(excess.astype(np.float64))[1]  # its number of binary digits
        encoder.write_uniform((high[escaped] < 0).astype(np.int32), np.full(len(excess), 2))
        encoder.write_uniform(length - 1, np.full(len(excess), ESCAPE_BITS))
        long = length > 1
        encoder.write_uniform(excess[long] - (1 << (length[long] - 1)), 1 << (length[long] - 1))
        bypass = bits > 0
        low = (residuals + ((1 << bits) >> 1)) & ((1 << bits) - 1)
        encoder.write_uniform(low[bypass], 1 << bits[bypass])

    def finish(self) -> dict[int, bytes]:
        return {level: encoder.finish() for level, encoder in self.encoders.items()}


class PayloadReader:
    """The coder callback that decodes a tile's payloads, the mirror of PayloadWriter. Raises FormatError."""

    def __init__(
        self,
        predictor: Predictor,
        payloads: dict[int, bytes],
        received: Subbands | None,
        native: bool = True,
    ):
        self.predictor, self.received = predictor, received
        self.decoders = {level: Decoder(data) for level, data in payloads.items()}
        self.offsets = NO_OFFSETS.copy()
        self.omitting = set(OMITTING)
        try:
            for level, decoder in self.decoders.items():
                if native and level in OMITTING and not decoder.read_uniform(np.array([2]))[0]:
                    self.omitting.remove(level)
                if decoder.read_uniform(np.array([2]))[0]:
                    read = decoder.read(OFFSET_TABLE, np.zeros(CHANNELS[level], int))
                    self.offsets[level, : len(read)] = OFFSET_UNIT * (read + OFFSETS[0])
        except IMPOSSIBLE as error:
            raise FormatError("token data are damaged") from error

    def __call__(self, group: CodingGroup, parameters: Tensor) -> Tensor:
        index = self.predictor.index(group, parameters, self.offsets)
        residuals = np.zeros(len(index.table), np.int32)
        decoder, mask = self.decoders[group.level], mask_of(self.received, group)
        if group.level in self.omitting:
            mask = mask & ~self.predictor.tables.certain_zero[group.level, index.table]
        try:
            for place, tables, rows, largest in self.predictor.tables.split(index, mask):
                residuals[place] = self._read(decoder, index.select(place), tables, rows, largest)
        except IMPOSSIBLE as error:
            raise FormatError("token data are damaged") from error
        values = np.clip(index.restore(residuals), -COEFFICIENT_LIMIT, COEFFICIENT_LIMIT)
        shape = (*parameters.shape[:3], parameters.shape[3] // 3)
        return torch.from_numpy(values).view(shape).to(parameters.device)

    @staticmethod
    def _read(decoder: Decoder, index: TableIndex, tables: np.ndarray, rows: np.ndarray, largest: int) -> np.ndarray:
        symbol = decoder.read(tables, rows)
        high = symbol - largest
        escaped = symbol == 2 * largest + 1
        count = int(escaped.sum())
        negative = decoder.read_uniform(np.full(count, 2)).astype(bool)
        length = decoder.read_uniform(np.full(count, ESCAPE_BITS)) + 1
        excess = (1 << (length - 1)).astype(np.int32)
        long = length > 1
        excess[long] += decoder.read_uniform(1 << (length[long] - 1))
        high[escaped] = np.where(negative, -(largest + excess), largest + excess)
        bits = index.bypass_bits
        bypass = bits > 0
        low = np.zeros_like(high)
        low[bypass] = decoder.read_uniform(1 << bits[bypass])
        # a hostile escape could leave int32
        wide = (high.astype(np.int64) << bits) + low - ((1 << bits) >> 1)
        return np.clip(wide, -(1 << 20), 1 << 20).astype(np.int32)

    def finish(self) -> None:
        for decoder in self.decoders.values():
            decoder.finish()
