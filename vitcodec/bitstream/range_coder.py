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

IMPOSSIBLE = AssertionError, ValueError  # what constriction raises on data that no encoder wrote
Model = Any  # constriction's model of one table, made once


def table_model(frequencies: np.ndarray) -> Model:
    """The model of a table, (n,), n of at least 2, of which each is at least 1."""
    return constriction.stream.model.Categorical(frequencies.astype(np.float32), perfect=False)


def uniform_model(size: int) -> Model:
    """The model of 0..size - 1, size of at least 2."""
    return constriction.stream.model.Uniform(size)


class Models:
    """The models of many tables, each made when it is first used. make: of a key, 0..count - 1."""

    def __init__(self, count: int, make: Callable[[int], Model]):
        self.count, self._make = count, make
        self._made: list[Model | None] = [None] * count

    def of(self, keys: list[int]) -> list[Model]:
        """The models of some keys."""
        models = [self._made[key] for key in keys]
        if None in models:
            for key in keys:
                self._made[key] = self._made[key] or self._make(key)
            models = [self._made[key] for key in keys]
        return models


class Runs:
    """In which order symbols are coded: those of the smallest key first, else as they come.

    keys: (N,), of the symbols' models, 0..count - 1. One call for each model takes a tenth of the time of a table's row
    for each symbol.
    """

    def __init__(self, keys: np.ndarray, count: int):
        counts = np.bincount(keys, minlength=count)
        self.keys = np.flatnonzero(counts)  # those that occur
        self.counts = counts[self.keys]
        self.order = np.argsort(keys.astype(np.uint16), kind="stable")  # of 16 bits: a radix sort


class Encoder:
    """symbols (N,) int32 with their tables -> bytes."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def write_runs(self, symbols: np.ndarray, runs: Runs, models: Models) -> None:
        """Symbols (N,), in the order of the runs."""
        symbols, start = symbols.astype(np.int32), 0
        for model, count in zip(models.of(runs.keys.tolist()), runs.counts.tolist(), strict=True):
            self._coder.encode(symbols[start : start + count], model)
            start += count

    def write_grouped(self, symbols: np.ndarray, keys: np.ndarray, models: Models) -> None:
        """Symbols (N,) and the keys of their models, in any order."""
        runs = Runs(keys, models.count)
        self.write_runs(symbols[runs.order], runs, models)

    def finish(self) -> bytes:
        return self._coder.get_compressed().astype(">u4").tobytes().rstrip(b"\0")


class Decoder:
    """The mirror of Encoder."""

    def __init__(self, data: bytes):
        words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def read_runs(self, runs: Runs, models: Models) -> np.ndarray:
        """The mirror of write_runs."""
        if not len(runs.keys):
            return np.zeros(0, np.int32)
        return np.concatenate(list(map(self._coder.decode, models.of(runs.keys.tolist()), runs.counts.tolist())))

    def read_grouped(self, keys: np.ndarray, models: Models) -> np.ndarray:
        """The mirror of write_grouped."""
        runs, out = Runs(keys, models.count), np.empty(len(keys), np.int32)
        out[runs.order] = self.read_runs(runs, models)
        return out

    def finish(self) -> None:
        """Raise FormatError unless the data end here."""
        if not self._coder.maybe_exhausted():
            raise FormatError("token data do not end where the last value does")
