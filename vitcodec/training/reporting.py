"""How far an export is, told to whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

# what is being done, how much of it is done, and how much there is in all
Report = Callable[[str, int, int], None]
T = TypeVar("T")


def silent(phase: str, done: int, total: int) -> None:
    """Tell nobody."""


def followed(items: Iterable[T], phase: str, total: int, report: Report) -> Iterator[T]:
    """The items, each reported after it was used."""
    report(phase, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        report(phase, done, total)
