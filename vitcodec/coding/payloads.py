"""Payloads of one tile, one for each level, written and read.

A payload holds the level's scale offsets, then its groups in the order of the pass: block flags first where the level
has them. Within a group, values of one table come together: see range_coder.Runs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..bitstream.range_coder import IMPOSSIBLE, Decoder, Encoder, Models, Runs, uniform_model
from ..bitstream.tables import ESCAPE_BITS
from ..errors import FormatError
from ..subbands import CHANNELS, CODING_ORDER
from .groups import FlagGroup, Group
from .offsets import OFFSET_MODELS, OFFSET_UNIT, OFFSETS
from .prediction import NO_OFFSETS, FlagRecord, Received, ValueRecord, flag_logits, predict
from .tables import BYPASS, LARGEST, CodingTables, flag_class, symbols

# by the number of bits that a value of equal probabilities has
_BITS = Models(ESCAPE_BITS, lambda bits: uniform_model(1 << bits))
_LENGTH = Models(1, lambda _: uniform_model(ESCAPE_BITS))
LARGEST_RESIDUAL = 1 << 20  # what a hostile escape is clipped to


def write_payloads(
    records: Iterable[ValueRecord | FlagRecord], offsets: np.ndarray, tables: CodingTables
) -> dict[int, bytes]:
    """All that a Recorder noted -> the payload of each level. offsets: (5, 9)."""
    encoders = {level: Encoder() for level in CODING_ORDER}
    for level, encoder in encoders.items():
        own = offsets[level, : CHANNELS[level]]
        encoder.write_grouped(np.array([own.any()], np.int32), np.ones(1, int), _BITS)
        if own.any():
            encoder.write_grouped(own // OFFSET_UNIT - OFFSETS[0], np.zeros(len(own), int), OFFSET_MODELS)
    for record in records:
        if isinstance(record, FlagRecord):
            encoders[record.level].write_grouped(record.flags.astype(np.int32), record.classes, tables.flag_models)
        else:
            values = record.tables(offsets), record.only(record.residuals)
            _write_values(encoders[record.group.level], *values, tables)
    return {level: encoder.finish() for level, encoder in encoders.items()}


def _write_values(encoder: Encoder, keys: np.ndarray, residuals: np.ndarray, tables: CodingTables) -> None:
    """keys: tables of the values, (K,). After all symbols come the escapes' rests, then the bypass bits."""
    runs = Runs(keys, tables.value_models.count)
    keys, residuals = keys[runs.order], residuals[runs.order]
    high, symbol = symbols(keys, residuals)
    encoder.write_runs(symbol, runs, tables.value_models)
    escaped = np.flatnonzero(np.abs(high) > LARGEST[keys])
    if len(escaped):
        excess = np.abs(high[escaped]) - LARGEST[keys[escaped]]  # at least 1
        length = np.frexp(excess.astype(np.float64))[1]  # its number of binary digits
        one = np.ones(len(excess), int)
        encoder.write_grouped((high[escaped] < 0).astype(np.int32), one, _BITS)
        encoder.write_grouped(length - 1, one - 1, _LENGTH)
        long = length > 1
        encoder.write_grouped(excess[long] - (1 << (length[long] - 1)), length[long] - 1, _BITS)
    bits = BYPASS[keys]
    bypass = np.flatnonzero(bits)
    if len(bypass):
        bits = bits[bypass]
        encoder.write_grouped((residuals[bypass] + ((1 << bits) >> 1)) & ((1 << bits) - 1), bits, _BITS)


class PayloadReader:
    """The coder that decodes a tile's payloads. Raises FormatError."""

    def __init__(
        self,
        payloads: dict[int, bytes],
        tables: CodingTables,
        base_scales: np.ndarray,
        received: Received | None = None,
    ):
        self.tables, self.received = tables, received
        self.decoders = {level: Decoder(data) for level, data in payloads.items()}
        offsets = NO_OFFSETS.copy()
        try:
            for level, decoder in self.decoders.items():
                if decoder.read_grouped(np.ones(1, int), _BITS)[0]:
                    read = decoder.read_grouped(np.zeros(CHANNELS[level], int), OFFSET_MODELS)
                    offsets[level, : len(read)] = OFFSET_UNIT * (read + OFFSETS[0])
        except IMPOSSIBLE as error:
            raise FormatError("token data are damaged") from error
        self.base, self.offsets = base_scales, offsets

    def flags(self, group: FlagGroup, logits: np.ndarray) -> np.ndarray:
        """Coder.flags."""
        flags = np.zeros((len(logits), 2), bool)
        coded = slice(None) if self.received is None else self.received.of_blocks(group)
        decoder = self.decoders[group.level]
        try:
            for part in (0, 1):
                classes = flag_class(flag_logits(logits, flags[:, 0])[part][coded])
                flags[coded, part] = decoder.read_grouped(classes, self.tables.flag_models)
        except IMPOSSIBLE as error:
            raise FormatError("token data are damaged") from error
        return flags

    def values(self, group: Group, parameters: np.ndarray) -> np.ndarray:
        """Coder.values."""
        prediction = predict(parameters, group.per_channel(self.base))
        keys = prediction.tables(group.per_channel(self.offsets))
        try:
            if self.received is None:
                residuals = self._read(self.decoders[group.level], keys.ravel()).reshape(keys.shape)
            else:
                mask, residuals = self.received.at(group), np.zeros(keys.shape, np.int32)
                residuals[mask] = self._read(self.decoders[group.level], keys[mask])
        except IMPOSSIBLE as error:
            raise FormatError("token data are damaged") from error
        return group.values(prediction.restore(residuals))

    def _read(self, decoder: Decoder, keys: np.ndarray) -> np.ndarray:
        """The mirror of _write_values."""
        runs, out = Runs(keys, self.tables.value_models.count), np.empty(len(keys), np.int32)
        symbol = decoder.read_runs(runs, self.tables.value_models)
        largest = np.repeat(LARGEST[runs.keys], runs.counts)
        high = symbol - largest
        escaped = np.flatnonzero(high > largest)
        if len(escaped):
            one = np.ones(len(escaped), int)
            negative = decoder.read_grouped(one, _BITS) > 0
            length = decoder.read_grouped(one - 1, _LENGTH) + 1
            excess = np.int32(1) << (length - 1)
            long = length > 1
            excess[long] += decoder.read_grouped(length[long] - 1, _BITS)
            magnitude = largest[escaped] + excess
            high[escaped] = np.where(negative, -magnitude, magnitude)
        if BYPASS[runs.keys].any():
            bits = np.repeat(BYPASS[runs.keys], runs.counts)
            bypass = np.flatnonzero(bits)
            bits = bits[bypass]
            wide = (high[bypass].astype(np.int64) << bits) + decoder.read_grouped(bits, _BITS) - ((1 << bits) >> 1)
            high[bypass] = np.clip(wide, -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
        out[runs.order] = high
        return out

    def finish(self) -> None:
        """Raise FormatError unless every payload ends where its last value does."""
        for decoder in self.decoders.values():
            decoder.finish()
