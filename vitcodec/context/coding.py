"""Entropy coding of one tile's tokens: context model, tables and range coder together.

Coder callbacks write or read a payload for each level.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..bitstream.range_coder import IMPOSSIBLE, Decoder, Encoder
from ..bitstream.tables import ESCAPE_BITS, OMITTING, TableIndex, Tables, symbols, table_index
from ..errors import FormatError
from ..quality import QualityPoint
from ..subbands import CHANNELS, CODING_ORDER, LEVELS, Subbands
from .groups import Coder, CodingGroup
from .integer import COEFFICIENT_LIMIT, IntegerArithmetic
from .model import ContextModel

# A payload begins with scale offsets: by how much the predicted scales of each channel are off in this tile, in units
# of two quarters of an index
OFFSETS = np.arange(-4, 5, dtype=np.int32)
OFFSET_UNIT = 2
_OFFSET_TABLE = (3.0 ** (4 - np.abs(OFFSETS))).astype(np.float32)[None]  # 1, 3, 9, 27, 81, 27, 9, 3, 1
_OFFSET_BITS = -np.log2(_OFFSET_TABLE[0] / _OFFSET_TABLE.sum())
NO_OFFSETS = np.zeros((LEVELS + 1, 9), np.int32)
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

    def predicted(
        self, point: QualityPoint, group: CodingGroup, parameters: Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the networks predict for a group: mean, scale and shape of its values, int32, (h * w, n) each.

        parameters: (1, h, w, 3n). Values are in raster order.
        """
        integers = parameters.clamp(-(2**22), 2**22).int().cpu().chunk(3, -1)
        mean, scale, shape = (p.numpy().reshape(-1, p.shape[-1]) for p in integers)
        return mean, scale + group.per_channel(point.base_scales), shape

    def index(
        self, point: QualityPoint, group: CodingGroup, parameters: Tensor, offsets: np.ndarray = NO_OFFSETS
    ) -> TableIndex:
        """The tables of a group's values in raster order, (h * w * n,).

        offsets: (5, 9), added to the scales of each level and channel.
        """
        mean, scale, shape = self.predicted(point, group, parameters)
        return table_index(mean.ravel(), (scale + group.per_channel(offsets)).ravel(), shape.ravel())

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
        received, offsets = _received(erased), NO_OFFSETS
        if fit_scales:
            fitter = OffsetFitter(self, point, tokens, received)
            self.run(point, *tokens.grid, fitter)
            offsets = fitter.offsets()
        omitting = frozenset(OMITTING)
        while True:
            writer = PayloadWriter(self, point, tokens, received, offsets, omitting)
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
        reader = PayloadReader(self, point, payloads, _received(erased), native)
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


def _mask(received: Subbands | None, group: CodingGroup) -> np.ndarray | bool:
    return True if received is None else group.gather(received).cpu().numpy().ravel()


def _clipped(q: Tensor) -> np.ndarray:
    return np.clip(q.cpu().numpy().ravel(), -COEFFICIENT_LIMIT, COEFFICIENT_LIMIT)


class OffsetFitter:
    """The coder callback that measures by how much the predicted scales of each channel are off in a tile."""

    def __init__(self, model: EntropyModel, point: QualityPoint, tokens: Subbands, received: Subbands | None):
        self.model, self.point, self.tokens, self.received = model, point, tokens, received
        self.bits = np.zeros((LEVELS + 1, 9, len(OFFSETS)))

    def __call__(self, group: CodingGroup, parameters: Tensor) -> Tensor:
        q, tables = group.gather(self.tokens), self.model.tables
        mean, scale, shape = self.model.predicted(self.point, group, parameters)
        top = table_index(mean.ravel(), (scale + OFFSET_UNIT * OFFSETS[-1]).ravel(), shape.ravel())
        certain = tables.certain_zero[group.level]
        # most values are certain zeros whatever the offset
        counted = ~certain[top.table] & _mask(self.received, group)
        residuals = top.select(counted).residual(_clipped(q)[counted])
        counted = counted.reshape(mean.shape)
        channels = group.channels.stop - group.channels.start
        channel = np.nonzero(counted)[1] % channels
        mean, scale, shape = mean[counted], scale[counted], shape[counted]
        for k, offset in enumerate(OFFSETS):
            index = table_index(mean, scale + OFFSET_UNIT * offset, shape)
            bits = tables.bits(index, residuals, ~certain[index.table])
            self.bits[group.level, group.channels, k] += np.bincount(channel, bits, channels)
        return q

    def offsets(self) -> np.ndarray:
        """(5, 9) int32: added to the scales; zero where a level's offsets would save less than they cost."""
        out = NO_OFFSETS.copy()
        for level, channels in CHANNELS.items():
            bits = self.bits[level, :channels]
            total = bits + _OFFSET_BITS
            if total.min(-1).sum() < bits[:, len(OFFSETS) // 2].sum():
                out[level, :channels] = OFFSET_UNIT * OFFSETS[total.argmin(-1)]
        return out


class PayloadWriter:
    """The coder callback that range-codes a tile's tokens and returns them as they will be decoded.

    omitting: the levels whose certain zeros are left out. What that saves and loses is counted on the way.
    """

    def __init__(
        self,
        model: EntropyModel,
        point: QualityPoint,
        tokens: Subbands,
        received: Subbands | None,
        offsets: np.ndarray,
        omitting: Collection[int],
    ):
        self.model, self.point, self.tokens, self.received, self.offsets = model, point, tokens, received, offsets
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
                encoder.write(own // OFFSET_UNIT - OFFSETS[0], _OFFSET_TABLE, np.zeros(len(own), int))

    def __call__(self, group: CodingGroup, parameters: Tensor) -> Tensor:
        index = self.model.index(self.point, group, parameters, self.offsets)
        q = group.gather(self.tokens)
        residuals = index.residual(_clipped(q))
        coded = np.zeros_like(residuals)
        encoder, mask = self.encoders[group.level], _mask(self.received, group)
        if group.level in self.omitting:
            certain = self.model.tables.certain_zero[group.level, index.table] & mask
            self._count(group, index, residuals, certain)
            mask = mask & ~certain
        for place, tables, rows, largest in self.model.tables.split(index, mask):
            coded[place] = residuals[place]
            self._write(encoder, index.select(place), residuals[place], tables, rows, largest)
        return torch.from_numpy(index.restore(coded)).view(q.shape).to(q.device)

    def _count(self, group: CodingGroup, index: TableIndex, residuals: np.ndarray, certain: np.ndarray) -> None:
        """Add up what leaving certain zeros out saves and loses."""
        left_out = residuals[certain]
        self.saved[group.level] += self.model.tables.bits(index.select(certain), left_out).sum()
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
        model: EntropyModel,
        point: QualityPoint,
        payloads: dict[int, bytes],
        received: Subbands | None,
        native: bool = True,
    ):
        self.model, self.point, self.received = model, point, received
        self.decoders = {level: Decoder(data) for level, data in payloads.items()}
        self.offsets = NO_OFFSETS.copy()
        self.omitting = set(OMITTING)
        try:
            for level, decoder in self.decoders.items():
                if native and level in OMITTING and not decoder.read_uniform(np.array([2]))[0]:
                    self.omitting.remove(level)
                if decoder.read_uniform(np.array([2]))[0]:
                    read = decoder.read(_OFFSET_TABLE, np.zeros(CHANNELS[level], int))
                    self.offsets[level, : len(read)] = OFFSET_UNIT * (read + OFFSETS[0])
        except IMPOSSIBLE as error:
            raise FormatError("token data are damaged") from error

    def __call__(self, group: CodingGroup, parameters: Tensor) -> Tensor:
        index = self.model.index(self.point, group, parameters, self.offsets)
        residuals = np.zeros(len(index.table), np.int32)
        decoder, mask = self.decoders[group.level], _mask(self.received, group)
        if group.level in self.omitting:
            mask = mask & ~self.model.tables.certain_zero[group.level, index.table]
        try:
            for place, tables, rows, largest in self.model.tables.split(index, mask):
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
