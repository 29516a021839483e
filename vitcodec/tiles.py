"""Geometry: the sites, areas, regions and tiles of a picture, and how subbands are cut out and put together.

Lengths of areas are in sites: a site is the 16x16 pixels of one sample of the low band, so that an area of a picture is
an area of every subband. Two grids divide a picture: the tiles that are entropy-coded by themselves, whose side the
file states, and the blocks that the transforms work on, whose side the model states. A transform sees a halo of real
surroundings, so that blocks leave no seams.

Nothing here knows of the file format, and torch is needed for types only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import UsageError
from .subbands import LEVELS, Subbands

if TYPE_CHECKING:
    from torch import Tensor

SITE = 1 << LEVELS  # pixels along a side of a site
PAD = 32  # sides of a picture are padded to multiples of this, in pixels


class Area(NamedTuple):
    """A rectangle of sites: top, left, height, width."""

    y: int
    x: int
    h: int
    w: int

    def overlap(self, other: Area) -> Area:
        """What lies in both; h or w may come out as 0 or less."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        return Area(y, x, min(self.y + self.h, other.y + other.h) - y, min(self.x + self.w, other.x + other.w) - x)

    def grown(self, margin: int, whole: Area) -> Area:
        """The area with a margin on all sides, as far as `whole` reaches."""
        return Area(self.y - margin, self.x - margin, self.h + 2 * margin, self.w + 2 * margin).overlap(whole)

    def aligned(self, unit: int, whole: Area) -> Area:
        """The smallest area around this one that begins and ends at multiples of `unit`, or where `whole` ends."""
        y, x = self.y // unit * unit, self.x // unit * unit
        bottom, right = (-(-n // unit) * unit for n in (self.y + self.h, self.x + self.w))
        return Area(y, x, bottom - y, right - x).overlap(whole)

    def within(self, outer: Area) -> Area:
        """The same area, counted from the corner of another."""
        return Area(self.y - outer.y, self.x - outer.x, self.h, self.w)

    def blocks(self, side: int) -> list[Area]:
        """This area in squares of `side` sites, in raster order.

        Their corners are multiples of `side`; they are smaller where the area ends.
        """
        rows, columns = (range(a // side * side, a + n, side) for a, n in ((self.y, self.h), (self.x, self.w)))
        return [Area(y, x, side, side).overlap(self) for y in rows for x in columns]


class Region(NamedTuple):
    """A rectangle of pixels: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int

    def clipped(self, width: int, height: int) -> Region:
        """The part of it that lies in a picture of that size. Raises UsageError if there is none."""
        x, y = max(self.x, 0), max(self.y, 0)
        right, bottom = min(self.x + self.width, width), min(self.y + self.height, height)
        if right <= x or bottom <= y:
            raise UsageError(f"region {','.join(map(str, self))} lies outside the picture of {width}x{height} pixels")
        return Region(x, y, right - x, bottom - y)

    def reduced(self, reduce: int) -> Region:
        """The pixels of the picture halved `reduce` times that show it."""
        n = 1 << reduce
        x, y = self.x // n, self.y // n
        return Region(x, y, -(-(self.x + self.width) // n) - x, -(-(self.y + self.height) // n) - y)


@dataclass(frozen=True)
class TileGrid:
    """A picture of width x height pixels in square tiles of `tile` pixels, numbered in raster order."""

    width: int
    height: int
    tile: int  # a multiple of SITE

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile)

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile)

    @property
    def count(self) -> int:
        return self.rows * self.columns

    @property
    def whole(self) -> Area:
        """All sites of the padded picture."""
        rows, columns = (-(-n // PAD) * PAD // SITE for n in (self.height, self.width))
        return Area(0, 0, rows, columns)

    def area(self, index: int) -> Area:
        """The sites of a tile."""
        side = self.tile // SITE
        row, column = divmod(index, self.columns)
        return Area(row * side, column * side, side, side).overlap(self.whole)

    def under(self, area: Area) -> list[int]:
        """The tiles that an area touches, in raster order."""
        side = self.tile // SITE
        rows, columns = (range(a // side, -(-(a + n) // side)) for a, n in ((area.y, area.h), (area.x, area.w)))
        return [row * self.columns + column for row in rows for column in columns]

    def touched(self, region: Region) -> Area:
        """The sites that a region touches."""
        y, x = region.y // SITE, region.x // SITE
        bottom, right = -(-(region.y + region.height) // SITE), -(-(region.x + region.width) // SITE)
        return Area(y, x, bottom - y, right - x).overlap(self.whole)


def crop_map(t: Tensor, rows: int, area: Area) -> Tensor:
    """The part of a map (B, k * rows, ..., C) that belongs to an area of a picture of so many rows of sites; a view."""
    k = t.shape[1] // rows
    return t[:, area.y * k : (area.y + area.h) * k, area.x * k : (area.x + area.w) * k]


def crop(bands: Subbands, area: Area) -> Subbands:
    """The subbands of an area; views."""
    return bands.map(lambda t: crop_map(t, bands.grid[0], area))


def assemble(parts: Mapping[int, Subbands], grid: TileGrid, wanted: Area) -> Subbands:
    """The subbands of an area out of those of the tiles under it. parts: tile -> its subbands, torch's or NumPy's."""
    first = next(iter(parts.values()))
    rows = first.grid[0]

    def empty(t: Any) -> Any:
        import numpy as np  # here, as the options' geometry is needed before anything else

        shape = (1, wanted.h * (t.shape[1] // rows), wanted.w * (t.shape[1] // rows), t.shape[3])
        return np.empty(shape, t.dtype) if isinstance(t, np.ndarray) else t.new_empty(shape)

    out = first.map(empty)
    for index in grid.under(wanted):
        tile = grid.area(index)
        common = wanted.overlap(tile)
        target, source = crop(out, common.within(wanted)), crop(parts[index], common.within(tile))
        for a, b in target.zip(source):
            a[...] = b
    return out
