"""Regions of interest: boxes and masks to the quality of every tile.

A tile is the smallest part of a picture with a quality of its own, so a region is rounded up to the tiles it touches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .errors import UsageError
from .options import TILE_SIDES, EncodeOptions, resolved_quality
from .tiles import Region, TileGrid


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
    grid = TileGrid(width, height, options.tile or TILE_SIDES[0])
    return bool((tile_qualities(replace(options, roi_quality=2, background_quality=1), grid) == 2).all())


def of_box(x: float, y: float, width: float, height: float) -> Region:
    """The pixels that a box touches. Raises UsageError for a box of no area, and for numbers that are not finite."""
    if not (all(map(math.isfinite, (x, y, width, height))) and width > 0 and height > 0):
        raise UsageError(f"box {x:g},{y:g},{width:g},{height:g} has no area; give a width and height of more than 0")
    left, top = math.floor(x), math.floor(y)
    return Region(left, top, math.ceil(x + width) - left, math.ceil(y + height) - top)


def of_mask(mask: np.ndarray, width: int, height: int) -> Sequence[Region]:
    """(H, W) bool -> regions that touch the same tiles, whatever the tiles' side.

    Raises UsageError where the mask has not the size of the picture.
    """
    if mask.shape != (height, width):
        raise UsageError(
            f"the mask has {mask.shape[1]}x{mask.shape[0]} pixels, the picture {width}x{height}; give one of its size"
        )
    side = TILE_SIDES[0]
    corners = [(x, y) for y in range(0, height, side) for x in range(0, width, side)]
    return [
        Region(x, y, side, side).clipped(width, height) for x, y in corners if mask[y : y + side, x : x + side].any()
    ]
