"""Regions of interest: boxes and masks to the quality of every tile, and to the weight of every pixel in the search.

A tile is the smallest part of a picture with a quality of its own, so a region is rounded up to the tiles it touches.
Within these the search weighs the error of other pixels as the background's quality does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .errors import UsageError
from .options import TILE_SIDES, EncodeOptions, resolved_quality
from .tiles import PAD, SITE, Area, Region, TileGrid

# at most so many tiles, unless the largest make more: small ones follow regions better, and take more bytes themselves
MOST_TILES = 32
FALL = 16  # pixels around a region over which weights fall to those of the background
AROUND = 8  # sites around tiles of one quality that the search sees; a multiple of every attention window


@dataclass(frozen=True)
class Part:
    """Tiles of one quality that are encoded together: `tiles`, within the sites of `area`."""

    area: Area
    quality: int
    tiles: Sequence[int]


@dataclass(frozen=True)
class Plan:
    """What is asked of each part of a picture.

    qualities: of every tile, (tiles,) int, or (1,), one for all. roi: regions of interest. background: the quality that
    is asked for outside these.
    """

    grid: TileGrid
    qualities: np.ndarray
    roi: Sequence[Region] = ()
    background: int = 0

    def parts(self, block: Area) -> list[Part]:
        """A block of whole tiles, a part for each quality in it."""
        tiles = self.grid.under(block)
        own = self.qualities[[tile % len(self.qualities) for tile in tiles]]
        found = np.unique(own)
        if len(found) == 1:
            return [Part(block, int(found[0]), tiles)]
        parts = []
        for quality in found:
            chosen = [tile for tile, q in zip(tiles, own, strict=True) if q == quality]
            bounds = _bounds([self.grid.area(tile) for tile in chosen])
            parts.append(Part(bounds.grown(AROUND, block), int(quality), chosen))
        return parts

    def inside(self, area: Area) -> np.ndarray:
        """The sites of an area that a region touches, (h, w) bool."""
        found = np.zeros((area.h, area.w), bool)
        for region in self.roi:
            y, x, h, w = self.grid.touched(region).overlap(area).within(area)
            found[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = True
        return found

    def kept(self, area: Area, share: float) -> float:
        """The share of an area's tokens to keep where the picture keeps `share` of all, those in regions first."""
        if not self.roi:
            return share
        inside, own = self.inside(self.grid.whole), self.inside(area)
        erased, outside = (1 - share) * inside.size, int((~inside).sum())
        first = min(erased / outside, 1) if outside else 0.0
        then = (erased - first * outside) / max(inside.size - outside, 1)
        return 1 - float(np.where(own, then, first).mean())

    def pixel_weights(self, area: Area, outside: float) -> np.ndarray:
        """(16 h, 16 w) float32: 1 in regions, `outside` from FALL pixels around them on, in between in between."""
        top, left, height, width = (SITE * n for n in area)
        nearness = np.zeros((height, width), np.float32)
        for region in self.roi:
            # what lies beyond the picture's end is padding, and goes with its last pixels
            right, bottom = region.x + region.width, region.y + region.height
            right, bottom = right + PAD * (right == self.grid.width), bottom + PAD * (bottom == self.grid.height)
            y, rows = _distances(region.y - top, bottom - top, height)
            x, columns = _distances(region.x - left, right - left, width)
            window = nearness[y, x]
            np.maximum(window, 1 - np.hypot(rows[:, None], columns) / FALL, out=window, casting="same_kind")
        return np.float32(outside) ** (1 - nearness)


def _distances(start: int, end: int, length: int) -> tuple[slice, np.ndarray]:
    """Of places 0 to length - 1 those within FALL of an interval, and how far each is from it."""
    places = np.arange(max(start - FALL, 0), max(min(end + FALL, length), 0))
    near = slice(places[0], places[-1] + 1) if len(places) else slice(0)
    return near, np.maximum(np.maximum(start - places, places - (end - 1)), 0)


def tile_side(options: EncodeOptions, width: int, height: int) -> int:
    """Pixels along a side of the tiles of a picture with regions of interest."""
    if options.tile is not None:
        return options.tile
    few = (side for side in TILE_SIDES if TileGrid(width, height, side).count <= MOST_TILES)
    return next(few, TILE_SIDES[-1])


def plan(options: EncodeOptions, grid: TileGrid) -> Plan:
    """Raises UsageError for a region outside the picture."""
    if not options.roi:
        return Plan(grid, np.array([options.quality]))
    roi = [region.clipped(grid.width, grid.height) for region in options.roi]
    return Plan(grid, tile_qualities(options, grid), roi, qualities(options)[1])


def qualities(options: EncodeOptions) -> tuple[int, int]:
    """The quality of the tiles that a region touches, and of the others."""
    inside, outside = (
        options.quality if value is None else resolved_quality(value, options.quality)
        for value in (options.roi_quality, options.background_quality)
    )
    return inside, outside


def tile_qualities(options: EncodeOptions, grid: TileGrid) -> np.ndarray:
    """The quality of every tile, (tiles,) int. Raises UsageError for a region outside the picture."""
    inside, outside = qualities(options)
    found = np.full(grid.count, outside)
    for region in options.roi:
        touched = grid.under(grid.touched(region.clipped(grid.width, grid.height)))
        found[touched] = inside
    return found


def touch_every_tile(options: EncodeOptions, width: int, height: int) -> bool:
    """Whether regions leave no tile of a picture for the background. Raises UsageError as tile_qualities does."""
    grid = TileGrid(width, height, tile_side(options, width, height))
    return bool((tile_qualities(replace(options, roi_quality=2, background_quality=1), grid) == 2).all())


def _bounds(areas: Sequence[Area]) -> Area:
    """The smallest area around others."""
    y, x = min(a.y for a in areas), min(a.x for a in areas)
    return Area(y, x, max(a.y + a.h for a in areas) - y, max(a.x + a.w for a in areas) - x)


def of_box(x: float, y: float, width: float, height: float) -> Region:
    """The pixels that a box touches. Raises UsageError for a box of no area, and for numbers that are not finite."""
    if not (all(map(math.isfinite, (x, y, width, height))) and width > 0 and height > 0):
        raise UsageError(f"box {x:g},{y:g},{width:g},{height:g} has no area; give a width and height of more than 0")
    left, top = math.floor(x), math.floor(y)
    return Region(left, top, math.ceil(x + width) - left, math.ceil(y + height) - top)


def of_mask(mask: np.ndarray, width: int, height: int) -> Sequence[Region]:
    """(H, W) bool -> the sites where it is set somewhere, as rectangles.

    Raises UsageError where the mask has not the size of the picture.
    """
    if mask.shape != (height, width):
        raise UsageError(
            f"the mask has {mask.shape[1]}x{mask.shape[0]} pixels, the picture {width}x{height}; give one of its size"
        )
    rows, columns = (-(-n // SITE) for n in (height, width))
    padded = np.pad(mask, ((0, rows * SITE - height), (0, columns * SITE - width)))
    sites = padded.reshape(rows, SITE, columns, SITE).any((1, 3))
    found, open_runs = list[Region](), dict[tuple[int, int], int]()  # (first, end) of a run -> the row it began in
    for row, line in enumerate(np.pad(sites, ((0, 1), (0, 0)))):
        edges = np.flatnonzero(np.diff(line, prepend=False, append=False)).reshape(-1, 2)
        runs = {(int(a), int(b)) for a, b in edges}
        for run in [run for run in open_runs if run not in runs]:
            (a, b), top = run, open_runs.pop(run)
            whole = Region(a * SITE, top * SITE, (b - a) * SITE, (row - top) * SITE)
            found.append(whole.clipped(width, height))
        for run in sorted(runs - open_runs.keys()):
            open_runs[run] = row
    return found
