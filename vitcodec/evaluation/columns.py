"""The columns of figures in the tables of a report: headings, values to sort by, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .measures import MEASURES
from .results import Mean, Row


@dataclass(frozen=True)
class Column:
    heading: str
    value: Callable[[Row | Mean], float | None]  # None or NaN: there is none
    write: Callable[[float], str]
    needs_file: bool = True  # whether pictures that were decoded elsewhere have no such figure

    def text(self, result: Row | Mean) -> str:
        value = self.sort_key(result)
        return "-" if value is None else self.write(value)

    def sort_key(self, result: Row | Mean) -> float | None:
        value = self.value(result)
        return None if value is None or math.isnan(value) else value


def quality_text(quality: float | None) -> str:
    return "-" if quality is None else f"{quality:.4g}"


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.{1 if count < 9.95e6 else 0}f}"


def _of_measure(key: str) -> Column:
    measure = MEASURES[key]
    return Column(measure.title, lambda r: r.values[key], measure.number, needs_file=False)


_RATE = (
    Column("quality", lambda r: r.quality, quality_text),
    Column("bytes", lambda r: r.bytes, "{:,}".format),
    Column("bpp", lambda r: r.bpp, "{:.4f}".format),
)
_COST = (
    Column("enc MP/s", lambda r: r.encode_mps, "{:.2f}".format),
    Column("dec MP/s", lambda r: r.decode_mps, "{:.2f}".format),
    Column("enc MB", lambda r: r.encode_memory, _megabytes),
    Column("dec MB", lambda r: r.decode_memory, _megabytes),
)


def columns(measured: Iterable[str], with_files: bool) -> list[Column]:
    """Those for the measures of these keys, and all others, or those alone that pictures without files have."""
    return [c for c in (*_RATE, *map(_of_measure, measured), *_COST) if with_files or not c.needs_file]
