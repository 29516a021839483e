"""Phases: the four positions of every 2x2 block are coded one after another. No torch here, for coding without it.

Of a position's neighbours those are known that belong to an earlier phase.

A block is overdue when it is flagged and all its luma values so far are zero, up to and with the first channel of the
last phase. What follows is then hardly ever zero, but 1 or -1, which no table says that has its peak at one place. So
such values are coded as symbols: zero trades places with 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PHASES = (0, 0), (1, 1), (0, 1), (1, 0)  # row and column in the block, in the order of coding


def overdue_symbols(values: Any) -> Any:
    """Whole numbers, NumPy or torch, of any shape -> their symbols: 1, 2, 0 become 0, 1, 2."""
    return values - 1 * ((values == 1) | (values == 2)) + 2 * (values == 0)


def overdue_values(symbols: Any) -> Any:
    """The inverse."""
    return symbols + 1 * ((symbols == 0) | (symbols == 1)) - 2 * (symbols == 2)


@dataclass(frozen=True)
class Rectangle:
    """The known neighbours that one phase holds, for a position of a later phase.

    phase: which one. top, left: where they begin on the grid of blocks, counted from the position's own block.
    """

    phase: int
    top: int
    left: int
    height: int
    width: int


def known_rectangles(phase: int, size: int) -> list[Rectangle]:
    """The known ones of a position's size x size neighbours; phase: the position's."""
    r = size // 2

    def blocks(own: int, other: int) -> tuple[int, int]:
        """Along one side, where own and other are 0 or 1: the first block and how many."""
        found = [(own + d - other) // 2 for d in range(-r, r + 1) if (own + d - other) % 2 == 0]
        return found[0], len(found)

    rectangles = []
    for k, earlier in enumerate(PHASES[:phase]):
        (top, height), (left, width) = map(blocks, PHASES[phase], earlier)
        rectangles.append(Rectangle(k, top, left, height, width))
    return rectangles


def known_places(phase: int, size: int) -> list[int]:
    """The same as indices into the size x size neighbours in raster order, in the order of the rectangles."""
    places = []
    for r in known_rectangles(phase, size):
        row, column = (size // 2 + PHASES[r.phase][d] - PHASES[phase][d] for d in (0, 1))
        places += [
            (row + 2 * y) * size + column + 2 * x
            for y in range(r.top, r.top + r.height)
            for x in range(r.left, r.left + r.width)
        ]
    return places
