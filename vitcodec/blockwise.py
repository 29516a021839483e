"""Maps of a picture that are computed block by block, when they are first asked for, and kept for their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .parallel import each
from .tiles import Area

Maps = tuple[np.ndarray, ...]  # (1, k h, k w, C) each, k of its own


@dataclass
class BlockMaps:
    """What `compute` makes of areas of a picture.

    compute: an area -> its maps. whole: all sites of the picture. limit: what can be asked for; no more is computed.
    side: of the blocks, sites. lead: by how many rows of sites the blocks are ahead of a grid of that side, if the
    picture goes on: so that what is made of other maps and needs a margin of them does not need their next row.
    """

    compute: Callable[[Area], Maps]
    whole: Area
    limit: Area
    side: int
    lead: int = 0
    threads: int = 1
    kept: dict[Area, Maps] = field(default_factory=dict)

    def blocks(self, area: Area) -> list[Area]:
        """The blocks under an area, in raster order."""
        rows, columns = _parts(self.whole.h, self.side, self.lead), _parts(self.whole.w, self.side, 0)
        found = (Area(top, left, h, w).overlap(self.limit) for top, h in rows for left, w in columns)
        return [block for block in found if min(block.h, block.w) > 0 and min(block.overlap(area)[2:]) > 0]

    def missing(self, *areas: Area) -> list[Area]:
        """The blocks under areas that were not computed yet."""
        blocks = dict.fromkeys(block for area in areas for block in self.blocks(area))
        return [block for block in blocks if block not in self.kept]

    def prepare(self, *areas: Area) -> None:
        """Compute what is missing, blocks shared among threads. Not to be called by two threads at once."""
        missing = self.missing(*areas)
        self.kept.update(zip(missing, each(self.compute, missing, self.threads), strict=True))

    def __call__(self, area: Area, count: int | None = None) -> Maps:
        """The first `count` maps of an area."""
        self.prepare(area)
        parts = [(block, self.kept[block][:count]) for block in self.blocks(area)]
        if len(parts) == 1:
            return tuple(crop_map(m, parts[0][0], area) for m in parts[0][1])
        out = []
        for k, first in enumerate(parts[0][1]):
            scale = first.shape[1] // parts[0][0].h
            whole = np.empty((1, area.h * scale, area.w * scale, first.shape[3]), first.dtype)
            for block, maps in parts:
                common = block.overlap(area)
                place = _place(whole, scale, common.within(area))
                place[...] = _place(maps[k], scale, common.within(block))
            out.append(whole)
        return tuple(out)

    def forget(self, above: int) -> None:
        """Drop the blocks that end above a row of sites."""
        for block in [b for b in self.kept if b.y + b.h <= above]:
            del self.kept[block]


def crop_map(x: np.ndarray, outer: Area, inner: Area) -> np.ndarray:
    """The part of a map of `outer` that belongs to `inner`, in C order."""
    return np.ascontiguousarray(_place(x, x.shape[1] // outer.h, inner.within(outer)))


def _place(x: np.ndarray, k: int, area: Area) -> np.ndarray:
    return x[:, k * area.y : k * (area.y + area.h), k * area.x : k * (area.x + area.w)]


def _parts(length: int, side: int, lead: int) -> list[tuple[int, int]]:
    """Where parts begin, and their lengths: of `side` each, but for a first that is longer by `lead`, and the last."""
    starts = [0, *(a for a in range(side + lead, (-(-length // side) - 1) * side + lead + 1, side) if a < length)]
    return [(a, b - a) for a, b in zip(starts, [*starts[1:], length], strict=True)]
