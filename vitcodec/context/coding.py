"""Coding the latents of one tile: the visitors that make the context model's walk write or read range-coded chunks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..bitstream.range_coder import Decoder, Encoder
from ..bitstream.tables import ESCAPE_BITS, Choice, Tables, centred, choose, symbols, uncentred
from ..errors import FormatError
from ..wavelet import LEVELS, Subbands
from .integer import COEFFICIENT_LIMIT, IntegerArithmetic
from .model import Coder, CodingGroup, ContextModel

ORDER = (0, *range(LEVELS, 0, -1))  # a chunk each: the low band, then the levels from coarse to fine
CHANNELS = {level: 9 if level else 3 for level in ORDER}

# A level begins with how far its predicted scales are off in this tile, of each band, in units of two quarters of a scale index
OFFSETS = np.arange(-4, 5, dtype=np.int32)
OFFSET_UNIT = 2
_OFFSET_TABLE = (3.0 ** (4 - np.abs(OFFSETS))).astype(np.float32)[None]  # 1, 3, 9, 27, 81, 27, 9, 3, 1
_OFFSET_BITS = -np.log2(_OFFSET_TABLE[0] / _OFFSET_TABLE.sum())
_IMPOSSIBLE = AssertionError, ValueError  # what constriction raises on impossible data
NO_OFFSETS = np.zeros((LEVELS + 1, 9), np.int32)


@dataclass(frozen=True)
class EntropyModel:
    """Everything that coding needs; all of it integers.

    rates: (100, 16), the features of each quality; bases: (100, 5, 9), where log scales start, in quarters of a scale index.
    """

    context: ContextModel
    arithmetic: IntegerArithmetic
    rates: Tensor
    bases: np.ndarray
    tables: Tables

    def predicted(
        self, quality: int, site: CodingGroup, parameters: Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The networks' answer for a group (1, h, w, 3n) -> mean, scale and shape of its values in raster order, int32, (h * w, n) each."""
        mean, scale, shape = (
            p.numpy().reshape(-1, p.shape[-1]) for p in parameters.clamp(-(2**22), 2**22).int().cpu().chunk(3, -1)
        )
        return mean, scale + by_channel(self.bases[quality - 1], site), shape

    def choice(self, quality: int, site: CodingGroup, parameters: Tensor, offsets: np.ndarray = NO_OFFSETS) -> Choice:
        """The tables of a group's values in raster order, (h * w * n,). offsets: (5, 9), added to the scales of each band."""
        mean, scale, shape = self.predicted(quality, site, parameters)
        return choose(mean.ravel(), (scale + by_channel(offsets, site)).ravel(), shape.ravel())

    def _walk(self, quality: int, height: int, width: int, visit: Coder, finest: int) -> Subbands:
        rate = self.rates[quality - 1 : quality]
        return self.context.autoregressive_pass(self.arithmetic, rate, height, width, visit, finest)

    @torch.no_grad()
    def encode(
        self, integers: Subbands, quality: int, erased: Tensor | None = None, fitted: bool = True
    ) -> tuple[dict[int, bytes], Subbands]:
        """integers: int32, (1, h, w, 3) and (1, ., ., 9) -> (payload of each level, the integers that were coded).

        erased: (1, h, w) bool, tokens to leave out. A value of theirs, or one that is next to certain to be zero, is not coded, and so becomes what
        is most expected. fitted: look first by how much the predicted scales are off in each band, which takes a walk more.
        """
        offsets = NO_OFFSETS
        if fitted:
            fitter = Fitter(self, quality, integers, _there(erased))
            self._walk(quality, integers.low.shape[1], integers.low.shape[2], fitter, 1)
            offsets = fitter.offsets()
        writer = _Writer(self, quality, integers, _there(erased), offsets)
        coded = self._walk(quality, integers.low.shape[1], integers.low.shape[2], writer, 1)
        return writer.finish(), coded

    @torch.no_grad()
    def decode(
        self,
        payloads: dict[int, bytes],
        quality: int,
        height: int,
        width: int,
        finest: int = 1,
        erased: Tensor | None = None,
    ) -> Subbands:
        """The mirror of encode; height and width are the low band's. Levels below `finest` are left out. Raises FormatError."""
        reader = _Reader(self, quality, payloads, _there(erased))
        latents = self._walk(quality, height, width, reader, finest)
        reader.finish()
        return latents


def _there(erased: Tensor | None) -> Subbands | None:
    """(1, h, w) bool -> which values of the subbands belong to a token that is not erased; None for all."""
    if erased is None:
        return None
    there = ~erased[..., None]
    details = [
        there.repeat_interleave(k, 1).repeat_interleave(k, 2)
        for k in (1 << LEVELS - level for level in range(1, LEVELS + 1))
    ]
    return Subbands(there.expand(-1, -1, -1, 3), tuple(d.expand(-1, -1, -1, 9) for d in details))


def by_channel(bands: np.ndarray, site: CodingGroup) -> np.ndarray:
    """(5, 9), a number for each band -> those of a group's values, (n,)."""
    return bands[site.level, site.channels] if site.phase else np.tile(bands[site.level, site.channels], 4)


def _taken(there: Subbands | None, site: CodingGroup) -> np.ndarray | bool:
    return True if there is None else site.gather(there).cpu().numpy().ravel()


class Fitter:
    """The visitor that learns by how much the predicted scales of each band are off, from all of its values."""

    def __init__(self, model: EntropyModel, quality: int, integers: Subbands, there: Subbands | None):
        self.model, self.quality, self.integers, self.there = model, quality, integers, there
        self.bits = np.zeros((LEVELS + 1, 9, len(OFFSETS)))

    def __call__(self, site: CodingGroup, parameters: Tensor) -> Tensor:
        q = site.gather(self.integers)
        mean, scale, shape = self.model.predicted(self.quality, site, parameters)
        top = choose(mean.ravel(), (scale + OFFSET_UNIT * OFFSETS[-1]).ravel(), shape.ravel())
        # most values are next to certain to be zero whatever the offset
        counted = (~self.model.tables.skipped[site.level, top.table] & _taken(self.there, site)).reshape(mean.shape)
        channels = site.channels.stop - site.channels.start
        channel = np.nonzero(counted)[1] % channels
        mean, scale, shape = mean[counted], scale[counted], shape[counted]
        values = centred(top.select(counted.ravel()), _clipped(q)[counted.ravel()])
        for k, offset in enumerate(OFFSETS):
            bits = self.model.tables.bits(choose(mean, scale + OFFSET_UNIT * offset, shape), values, site.level)
            self.bits[site.level, site.channels, k] += np.bincount(channel, bits, channels)
        return q

    def offsets(self) -> np.ndarray:
        """(5, 9) int32: what is added to the scales, zero where all of a level's bands would not save what they cost."""
        out = NO_OFFSETS.copy()
        for level, channels in CHANNELS.items():
            bits = self.bits[level, :channels]
            total = bits + _OFFSET_BITS
            if total.min(-1).sum() < bits[:, len(OFFSETS) // 2].sum():
                out[level, :channels] = OFFSET_UNIT * OFFSETS[total.argmin(-1)]
        return out


def _clipped(q: Tensor) -> np.ndarray:
    return np.clip(q.cpu().numpy().ravel(), -COEFFICIENT_LIMIT, COEFFICIENT_LIMIT)


class _Writer:
    def __init__(
        self, model: EntropyModel, quality: int, integers: Subbands, there: Subbands | None, offsets: np.ndarray
    ):
        self.model, self.quality, self.integers, self.there, self.offsets = model, quality, integers, there, offsets
        self.encoders = {level: Encoder() for level in ORDER}
        for level, encoder in self.encoders.items():
            own = offsets[level, : CHANNELS[level]]
            encoder.write_uniform(np.array([own.any()], np.int32), np.array([2]))
            if own.any():
                encoder.write(own // OFFSET_UNIT - OFFSETS[0], _OFFSET_TABLE, np.zeros(len(own), int))

    def __call__(self, site: CodingGroup, parameters: Tensor) -> Tensor:
        choice = self.model.choice(self.quality, site, parameters, self.offsets)
        q = site.gather(self.integers)
        values = centred(choice, _clipped(q))
        # what a table leaves no room for stays zero
        coded = np.zeros_like(values)
        coder = self.encoders[site.level]
        for place, tables, rows, largest in self.model.tables.split(choice, site.level, _taken(self.there, site)):
            coded[place] = values[place]
            self._write(coder, choice.select(place), values[place], tables, rows, largest)
        return torch.from_numpy(uncentred(choice, coded)).view(q.shape).to(q.device)

    @staticmethod
    def _write(
        coder: Encoder, choice: Choice, values: np.ndarray, tables: np.ndarray, rows: np.ndarray, largest: int
    ) -> None:
        bits = choice.low_bits
        high, symbol = symbols(choice, values, largest)
        escaped = np.abs(high) > largest
        coder.write(symbol, tables, rows)
        excess = np.abs(high[escaped]) - largest  # at least 1
        length = np.frexp(excess.astype(np.float64))[1]  # its number of binary digits
        coder.write_uniform((high[escaped] < 0).astype(np.int32), np.full(len(excess), 2))
        coder.write_uniform(length - 1, np.full(len(excess), ESCAPE_BITS))
        long = length > 1
        coder.write_uniform(excess[long] - (1 << (length[long] - 1)), 1 << (length[long] - 1))
        plain = bits > 0
        low = (values + ((1 << bits) >> 1)) & ((1 << bits) - 1)
        coder.write_uniform(low[plain], 1 << bits[plain])

    def finish(self) -> dict[int, bytes]:
        return {level: coder.finish() for level, coder in self.encoders.items()}


class _Reader:
    def __init__(self, model: EntropyModel, quality: int, payloads: dict[int, bytes], there: Subbands | None):
        self.model, self.quality, self.there = model, quality, there
        self.decoders = {level: Decoder(data) for level, data in payloads.items()}
        self.offsets = NO_OFFSETS.copy()
        try:
            for level, decoder in self.decoders.items():
                if decoder.read_uniform(np.array([2]))[0]:
                    read = decoder.read(_OFFSET_TABLE, np.zeros(CHANNELS[level], int))
                    self.offsets[level, : len(read)] = OFFSET_UNIT * (read + OFFSETS[0])
        except _IMPOSSIBLE as error:
            raise FormatError("token data are damaged") from error

    def __call__(self, site: CodingGroup, parameters: Tensor) -> Tensor:
        choice = self.model.choice(self.quality, site, parameters, self.offsets)
        coded = np.zeros(len(choice.table), np.int32)
        coder = self.decoders[site.level]
        try:
            for place, tables, rows, largest in self.model.tables.split(choice, site.level, _taken(self.there, site)):
                coded[place] = self._read(coder, choice.select(place), tables, rows, largest)
        except _IMPOSSIBLE as error:
            raise FormatError("token data are damaged") from error
        values = np.clip(uncentred(choice, coded), -COEFFICIENT_LIMIT, COEFFICIENT_LIMIT)
        shape = (*parameters.shape[:3], parameters.shape[3] // 3)
        return torch.from_numpy(values).view(shape).to(parameters.device)

    @staticmethod
    def _read(coder: Decoder, choice: Choice, tables: np.ndarray, rows: np.ndarray, largest: int) -> np.ndarray:
        symbol = coder.read(tables, rows)
        high = symbol - largest
        escaped = symbol == 2 * largest + 1
        count = int(escaped.sum())
        negative = coder.read_uniform(np.full(count, 2)).astype(bool)
        length = coder.read_uniform(np.full(count, ESCAPE_BITS)) + 1
        excess = (1 << (length - 1)).astype(np.int32)
        long = length > 1
        excess[long] += coder.read_uniform(1 << (length[long] - 1))
        high[escaped] = np.where(negative, -(largest + excess), largest + excess)
        bits = choice.low_bits
        plain = bits > 0
        low = np.zeros_like(high)
        low[plain] = coder.read_uniform(1 << bits[plain])
        # a hostile escape could leave int32
        wide = (high.astype(np.int64) << bits) + low - ((1 << bits) >> 1)
        return np.clip(wide, -(1 << 20), 1 << 20).astype(np.int32)

    def finish(self) -> None:
        for decoder in self.decoders.values():
            decoder.finish()
