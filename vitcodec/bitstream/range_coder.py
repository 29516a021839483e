"""The range coder: constriction's, with static tables only.

Its parametric models compute probabilities in floating point and are never used. Words are written most significant
byte first without trailing zero bytes, which the reader puts back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import constriction
import numpy as np

from ..errors import FormatError

_TABLE = constriction.stream.model.Categorical(perfect=False)
_UNIFORM = constriction.stream.model.Uniform()
IMPOSSIBLE = AssertionError, ValueError  # what constriction raises on data that no encoder wrote
Model = Any  # constriction's model of one table, made once
BLOCK = 1 << 15  # values handed over at once, to bound the memory of their table rows


def table_model(frequencies: np.ndarray) -> Model:
    """The model of a table, (n,), n of at least 2, of which each is at least 1."""
    return constriction.stream.model.Categorical(frequencies.astype(np.float32), perfect=False)


def uniform_model(size: int) -> Model:
    """The model of 0..size - 1, size of at least 2."""
    return constriction.stream.model.Uniform(size)


def runs(sorted_keys: np.ndarray) -> list[tuple[int, int, int]]:
    """Ascending whole numbers (N,) -> (number, start, stop) of each run of equal ones."""
    if not len(sorted_keys):
        return []
    starts = np.flatnonzero(np.diff(sorted_keys, prepend=sorted_keys[0] - 1))
    return list(
        zip(sorted_keys[starts].tolist(), starts.tolist(), [*starts[1:].tolist(), len(sorted_keys)], strict=True)
    )


class Encoder:
    """symbols (N,) int32 with their tables -> bytes."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def write(self, symbols: np.ndarray, tables: np.ndarray, rows: np.ndarray) -> None:
        """symbols[i] is coded with tables[rows[i]], a row of frequencies."""
        for a in range(0, len(symbols), BLOCK):
            self._coder.encode(symbols[a : a + BLOCK], _TABLE, tables[rows[a : a + BLOCK]])

    def write_uniform(self, values: np.ndarray, sizes: np.ndarray) -> None:
        """values[i] in 0..sizes[i] - 1, sizes of at least 2."""
        if len(values):
            self._coder.encode(values.astype(np.int32), _UNIFORM, sizes.astype(np.int32))

    def write_grouped(self, symbols: np.ndarray, keys: np.ndarray, model: Callable[[int], Model]) -> None:
        """Symbols (N,) int32 with their models' keys: those of the smallest key first, else in their order.

        That makes one call for each model, not a table's row for each symbol.
        """
        order = np.argsort(keys.astype(np.uint16), kind="stable")  # a radix sort
        ordered = symbols[order]
        for key, start, stop in runs(keys[order]):
            self._coder.encode(ordered[start:stop], model(key))

    def finish(self) -> bytes:
        return self._coder.get_compressed().astype(">u4").tobytes().rstrip(b"\0")


class Decoder:
    """The mirror of Encoder."""

    def __init__(self, data: bytes):
        words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def read(self, tables: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if not len(rows):
            return np.zeros(0, np.int32)
        return np.concatenate(
            [self._coder.decode(_TABLE, tables[rows[a : a + BLOCK]]) for a in range(0, len(rows), BLOCK)]
        )

    def read_uniform(self, sizes: np.ndarray) -> np.ndarray:
        if not len(sizes):
            return np.zeros(0, np.int32)
        return self._coder.decode(_UNIFORM, sizes.astype(np.int32))

    def read_grouped(self, keys: np.ndarray, model: Callable[[int], Model]) -> np.ndarray:
        """The mirror of write_grouped."""
        order = np.argsort(keys.astype(np.uint16), kind="stable")  # a radix sort
        out = np.empty(len(keys), np.int32)
        ordered = np.empty(len(keys), np.int32)
        for key, start, stop in runs(keys[order]):
            ordered[start:stop] = self._coder.decode(model(key), stop - start)
        out[order] = ordered
        return out

    def finish(self) -> None:
        """Raise FormatError unless the data end here."""
        if not self._coder.maybe_exhausted():
            raise FormatError("token data do not end where the last value does")
