"""Tiles: which part of a picture each is, what a transform sees around it, and how parts are cut out and put together.

Lengths are in sites, the 16x16 pixels of one sample of the low band, so that a part of a picture is a part of every subband. Two kinds of tiles
divide a picture: those of the tokens, which the file's header gives and which are coded independently, and the blocks in which the transforms run,
which the model gives. A transform sees a halo of real surroundings, so that blocks leave no seams.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from .bitstream.container import Header
from .errors import UsageError
from .wavelet import LEVELS, Subbands

PAD = 32  # sides of a picture are padded to multiples of this, in pixels
SITE = 1 << LEVELS  # pixels along a side of a site


class Area(NamedTuple):
    y: int
    x: int
    h: int
    w: int

    def overlap(self, other: Area) -> Area:
        """What lies in both; h or w may come out as 0 or less."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        return Area(y, x, min(self.y + self.h, other.y + other.h) - y, min(self.x + self.w, other.x + other.w) - x)

    def grown(self, margin: int, whole: Area) -> Area:
        return Area(self.y - margin, self.x - margin, self.h + 2 * margin, self.w + 2 * margin).overlap(whole)

    def rounded(self, unit: int, whole: Area) -> Area:
        """The smallest area around this one that begins and ends at multiples of `unit`, or where `whole` ends."""
        y, x = self.y // unit * unit, self.x // unit * unit
        bottom, right = (-(-n // unit) * unit for n in (self.y + self.h, self.x + self.w))
        return Area(y, x, bottom - y, right - x).overlap(whole)

    def within(self, outer: Area) -> Area:
        """The same area, counted from the corner of another."""
        return Area(self.y - outer.y, self.x - outer.x, self.h, self.w)

    def blocks(self, side: int) -> list[Area]:
        """This area in squares of `side` sites whose corners are multiples of `side`, or what of them lies in it, in raster order."""
        rows, columns = (range(a // side * side, a + n, side) for a, n in ((self.y, self.h), (self.x, self.w)))
        return [Area(y, x, side, side).overlap(self) for y in rows for x in columns]


class Region(NamedTuple):
    """A part of a picture in pixels."""

    x: int
    y: int
    width: int
    height: int

    def clipped(self, header: Header) -> Region:
        """The part of it that lies in the picture. Raises UsageError if there is none."""
        x, y = max(self.x, 0), max(self.y, 0)
        width, height = min(self.x + self.width, header.width) - x, min(self.y + self.height, header.height) - y
        if width < 1 or height < 1:
            raise UsageError(
                f"region {','.join(map(str, self))} lies outside the picture of {header.width}x{header.height} pixels"
            )
        return Region(x, y, width, height)

    def area(self, header: Header) -> Area:
        """The sites that it touches."""
        y, x = self.y // SITE, self.x // SITE
        return Area(y, x, -(-(self.y + self.height) // SITE) - y, -(-(self.x + self.width) // SITE) - x).overlap(
            whole_area(header)
        )

    def reduced(self, reduce: int) -> Region:
        """The pixels of the picture halved `reduce` times that show it."""
        n = 1 << reduce
        x, y = self.x // n, self.y // n
        return Region(x, y, -(-(self.x + self.width) // n) - x, -(-(self.y + self.height) // n) - y)


def whole_area(header: Header) -> Area:
    rows, columns = (-(-n // PAD) * PAD // SITE for n in (header.height, header.width))
    return Area(0, 0, rows, columns)


def token_tile(header: Header, index: int) -> Area:
    side = header.tile // SITE
    row, column = divmod(index, header.tile_columns)
    return Area(row * side, column * side, side, side).overlap(whole_area(header))


def tiles_under(header: Header, area: Area) -> list[int]:
    """The token tiles that an area touches, in raster order."""
    side = header.tile // SITE
    rows, columns = (range(a // side, -(-(a + n) // side)) for a, n in ((area.y, area.h), (area.x, area.w)))
    return [row * header.tile_columns + column for row in rows for column in columns]


def pixels(rgb: np.ndarray, area: Area) -> np.ndarray:
    """The pixels of an area, (16 h, 16 w, 3), the last row and column of the picture repeated beyond its end."""
    part = rgb[area.y * SITE : (area.y + area.h) * SITE, area.x * SITE : (area.x + area.w) * SITE]
    return np.pad(part, ((0, area.h * SITE - part.shape[0]), (0, area.w * SITE - part.shape[1]), (0, 0)), mode="edge")


def view(t: Tensor, rows: int, area: Area) -> Tensor:
    """The part of a subband that belongs to an area, where the low band has `rows` rows."""
    k = t.shape[1] // rows
    return t[:, area.y * k : (area.y + area.h) * k, area.x * k : (area.x + area.w) * k]


def cut(bands: Subbands, area: Area) -> Subbands:
    return bands.map(lambda t: view(t, bands.low.shape[1], area))


def gather(parts: Mapping[int, Subbands], header: Header, wanted: Area) -> Subbands:
    """The tokens of an area out of those of the tiles under it."""
    first = next(iter(parts.values()))
    rows = first.low.shape[1]
    out = first.map(
        lambda t: t.new_empty(1, wanted.h * (t.shape[1] // rows), wanted.w * (t.shape[1] // rows), t.shape[3])
    )
    for index in tiles_under(header, wanted):
        tile = token_tile(header, index)
        common = wanted.overlap(tile)
        for target, source in zip(_flat(out), _flat(parts[index]), strict=True):
            view(target, wanted.h, common.within(wanted)).copy_(view(source, tile.h, common.within(tile)))
    return out


def _flat(bands: Subbands) -> Iterable[Tensor]:
    return bands.low, *bands.details
