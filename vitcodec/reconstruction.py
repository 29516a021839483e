"""Tokens to pixels in integers: dequantisation, the synthesis network, the inverse wavelet. No torch.

Coefficients are int32 in parts of a quantisation step (STEP_BITS); after the network they are scaled to 8-bit levels
(fixed_point). Everything is computed where it is needed: `down` and `up` of the network see a few sites around each,
so any area comes out as in the whole. `middle` sees far, so that the format fixes the blocks it runs on: the pixels do
not depend on which region is decoded, or in which order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import fixed_point
from .adaptive_filter import REACH, AdaptiveFilter
from .blockwise import BlockMaps, Maps, crop_map
from .dequantiser import Dequantiser, spread
from .engines import Engine
from .enhancement import Enhancement
from .parallel import each
from .subbands import LEVELS, Subbands
from .tiles import SITE, Area, crop

CONTRAST_FACTOR, CONTRAST_BITS = 77, 8  # 0.3, by which the low band's contrast enters
MIDDLE = 64  # sites along a side of a block of `middle`
MIDDLE_HALO = 8  # sites around a block that it sees
MARGIN = 4  # sites around an area that `down` and `up` see
EDGE = 5  # sites around pixels: the wavelet sees less than four, filter and enhancement together less than two more
ROWS = 16  # rows of sites that are prepared at a time


def contrast(low: np.ndarray) -> np.ndarray:
    """A low band (1, h, w, 3) less its mean over 5x5 sites, borders replicated, times 0.3; int32."""
    _, h, w, _ = low.shape
    padded = np.pad(low, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge").astype(np.int64)
    rows = np.sum([padded[:, k : k + h] for k in range(5)], 0)
    total = np.sum([rows[:, :, k : k + w] for k in range(5)], 0)
    difference = (25 * low.astype(np.int64) - total) // 25
    return ((difference * CONTRAST_FACTOR + (1 << (CONTRAST_BITS - 1))) >> CONTRAST_BITS).astype(np.int32)


def space_to_depth(x: np.ndarray) -> np.ndarray:
    """(1, H, W, C) -> (1, H/2, W/2, 4C)."""
    _, H, W, C = x.shape
    return x.reshape(1, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 2, 4, 5).reshape(1, H // 2, W // 2, 4 * C)


def depth_to_space(x: np.ndarray) -> np.ndarray:
    """The inverse of space_to_depth."""
    _, H, W, C = x.shape
    return x.reshape(1, H, W, 2, 2, C // 4).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2 * H, 2 * W, C // 4)


def _with_border(planes: np.ndarray, inner: Area, border: int) -> np.ndarray:
    """Planes of some sites -> those of `inner` and `border` pixels around; beyond the end, the last are repeated."""
    spans = [(SITE * a - border, SITE * (a + n) + border) for a, n in ((inner.y, inner.h), (inner.x, inner.w))]
    sizes = planes.shape[1:]
    part = planes[:, *(slice(max(a, 0), b) for a, b in spans)]
    missing = [(max(-a, 0), max(b - size, 0)) for (a, b), size in zip(spans, sizes, strict=True)]
    return np.pad(part, [(0, 0), *missing], mode="edge")


def seen(area: Area, whole: Area, reach: int) -> Area:
    """The sites whose tokens the pixels of an area depend on. reach: as Reconstruction."""
    return features_needed(area, whole, reach).grown(MARGIN + 2, whole)


def features_needed(area: Area, whole: Area, reach: int) -> Area:
    """The sites whose features before the middle the pixels of an area depend on."""
    after = area.grown(EDGE + MARGIN, whole)
    return after.grown(reach, whole).overlap(after.aligned(MIDDLE, whole).grown(MIDDLE_HALO, whole))


@dataclass
class Reconstruction:
    """The pixels of a picture whose tokens can be asked for.

    tokens: an area of sites -> its tokens, Subbands of int32 (1, h, w, C). qualities: (h, w), of every site of the
    picture, or (1, 1), one for all. whole: all sites of the picture. shown: all whose pixels will be asked for; None:
    the whole picture. reach: sites around each that `middle` sees at most (integer.synthesis.middle_reach). reduce: how
    often the picture is halved. filter, enhancement: the picture's.
    """

    engine: Engine
    dequantiser: Dequantiser
    whole: Area
    qualities: np.ndarray
    tokens: Callable[[Area], Subbands]
    threads: int = 1
    shown: Area | None = None
    reach: int = MIDDLE
    reduce: int = 0
    filter: AdaptiveFilter | None = None
    enhancement: Enhancement | None = None

    def __post_init__(self) -> None:
        shown = self.shown or self.whole

        def maps(compute: Callable[[Area], Maps], limit: Area, lead: int) -> BlockMaps:
            return BlockMaps(compute, self.whole, limit, MIDDLE, lead, self.threads)

        # each is ahead of what is made of it, by the margin that this needs
        needed = features_needed(shown, self.whole, self.reach)
        self._down = maps(self._down_block, needed, MIDDLE_HALO)
        self._middle = maps(self._middle_block, shown.grown(EDGE + MARGIN, self.whole), 0)
        self._up = maps(self._up_block, shown.grown(EDGE, self.whole), -MARGIN)

    def strips(self) -> list[list[Area]]:
        """What is shown in blocks, row by row: to be asked for in this order, with `prepare` and `forget` before it."""
        shown = self.shown or self.whole
        blocks = BlockMaps(lambda _: (), self.whole, shown, MIDDLE, -EDGE - MARGIN).blocks(shown)
        return [[b for b in blocks if b.y == y] for y in sorted({b.y for b in blocks})]

    def next_tokens(self, area: Area) -> list[Area]:
        """The areas whose tokens the pixels of an area will ask for."""
        if self.reduce:
            return [area.grown(MARGIN, self.whole)]
        ahead, up = self._missing(area)
        return [*(block.grown(MARGIN + 2, self.whole) for block in self._down.missing(*ahead)), *up]

    def prepare(self, area: Area) -> None:
        """Compute all that pixels of an area need: then threads may ask for parts of it."""
        if self.reduce:
            return
        self._down.prepare(*self._missing(area)[0])
        self._middle.prepare(area.grown(EDGE + MARGIN, self.whole))
        self._up.prepare(area.grown(EDGE, self.whole))

    def _missing(self, area: Area) -> tuple[list[Area], list[Area]]:
        """For pixels of an area: where features before the middle are needed, and what is to be corrected."""
        middle = self._middle.missing(area.grown(EDGE + MARGIN, self.whole))
        up = self._up.missing(area.grown(EDGE, self.whole))
        return [*map(self._seen_by_middle, middle), *(block.grown(MARGIN, self.whole) for block in up)], up

    def pixels(self, area: Area, gray: bool = False) -> np.ndarray:
        """(16 h, 16 w, 3) uint8; at a reduced size as `_reduced`."""
        if self.reduce:
            return self._reduced(area, self.reduce, gray)
        around = area.grown(EDGE, self.whole)
        return fixed_point.to_rgb(self._finished(self.planes(around), area, around), gray=gray)

    def planes(self, area: Area) -> np.ndarray:
        """The colour axes of an area in fixed point, (3, 16 h, 16 w) int32, before filter and enhancement.

        They are those of the picture but for EDGE - 1 sites beside a border within it.
        """
        qualities = self._qualities(area)
        low, *details = (
            fixed_point.planar(self.dequantiser.levels(band, spread(qualities, band.shape[1] // area.h)))
            for band in self.corrected(area)
        )
        return fixed_point.inverse(low, details[::-1])

    def _finished(self, planes: np.ndarray, area: Area, around: Area) -> np.ndarray:
        """Planes of the sites around an area -> those of the area, filtered and enhanced."""
        seen = area.grown(1, self.whole) if self.enhancement else area
        planes = _with_border(planes, seen.within(around), 0 if self.filter is None else REACH)
        if self.filter is not None:
            planes = self.filter(planes, self.threads)
        if self.enhancement is None:
            return planes
        inner, reach = area.within(seen), self.enhancement.reach
        qualities = self._qualities(seen)
        if qualities.size > 1:
            qualities = _with_border(spread(qualities, SITE), inner, reach)[0, ::2, ::2]
        return self.enhancement(_with_border(planes, inner, reach), qualities)

    def _reduced(self, area: Area, reduce: int, gray: bool) -> np.ndarray:
        """The area at 1 / 2^reduce of its size, from the coarser levels alone, without the network."""
        around = area.grown(MARGIN, self.whole)
        tokens, qualities = self.tokens(around), self._qualities(around)
        planes = []
        for level in (0, *range(LEVELS, reduce, -1)):
            band = tokens[level]
            own = spread(qualities, band.shape[1] // around.h)
            coefficients = self.dequantiser.coefficients(band, level, own)
            planes.append(fixed_point.planar(self.dequantiser.levels(coefficients, own)))
        picture = fixed_point.inverse(planes[0], planes[1:])
        inner, size = area.within(around), 16 >> reduce
        part = picture[:, size * inner.y : size * (inner.y + inner.h), size * inner.x : size * (inner.x + inner.w)]
        return fixed_point.to_rgb(part, reduce, gray)

    def forget(self, above: int) -> None:
        """Drop what was kept of blocks that end above a row of sites, less what their neighbours see."""
        self._down.forget(above - EDGE - MARGIN)
        self._middle.forget(above - EDGE - MARGIN)
        self._up.forget(above - EDGE)

    def _qualities(self, area: Area) -> np.ndarray:
        if self.qualities.size == 1:
            return self.qualities
        return self.qualities[area.y : area.y + area.h, area.x : area.x + area.w]

    def _coefficients(self, area: Area) -> Subbands:
        tokens, qualities = self.tokens(area), self._qualities(area)
        bands = [
            self.dequantiser.coefficients(tokens[level], level, spread(qualities, tokens[level].shape[1] // area.h))
            for level in (0, *range(1, LEVELS + 1))
        ]
        return Subbands(bands[0], tuple(bands[1:]))

    def corrected(self, area: Area) -> Maps:
        """An area after the network, coefficients in 1024ths of a step: the low band, then details, finest first."""
        return self._up(area)

    def _up_block(self, block: Area) -> Maps:
        around = block.grown(MARGIN, self.whole)
        h4, h8 = self._down(around, 2)
        (h16,) = self._middle(around)
        corrections = self.engine.run("synthesis.up", h4, h8, h16)
        o4, o8, o16 = (crop_map(o, around, block).astype(np.int32) for o in corrections)
        low, d1, d2, d3, d4 = self._coefficients(block)
        d1 += depth_to_space(np.ascontiguousarray(o4[..., :36]))
        d2 += o4[..., 36:]
        d3 += o8
        d4 += o16[..., :9]
        low += o16[..., 9:]
        return low, d1, d2, d3, d4

    def _down_block(self, block: Area) -> Maps:
        around = block.grown(MARGIN, self.whole)
        return tuple(crop_map(m, around, block) for m in self.engine.run("synthesis.down", *self._inputs(around)))

    def _middle_block(self, block: Area) -> Maps:
        """Of a block of the format, or of the part of one that is needed: then on as much as that depends on."""
        around = self._seen_by_middle(block)
        h16 = self._down(around)[2]
        return (crop_map(self.engine.run("synthesis.middle", h16)[0], around, block),)

    def _seen_by_middle(self, block: Area) -> Area:
        within = block.aligned(MIDDLE, self.whole).grown(MIDDLE_HALO, self.whole)
        return block.grown(self.reach, self.whole).overlap(within)

    def _inputs(self, area: Area) -> Maps:
        """The network's inputs at strides 4, 8 and 16."""
        seen = area.grown(2, self.whole)  # by the contrast
        low, d1, d2, d3, d4 = self._coefficients(seen)
        inner = area.within(seen)
        own = self._qualities(area)
        shown = crop(Subbands(contrast(low), (d1, d2, d3, d4)), inner)
        f = self.dequantiser.features
        coefficients = (
            np.concatenate((space_to_depth(np.ascontiguousarray(shown[1])), shown[2]), -1),
            shown[3],
            np.concatenate((shown[4], shown.low), -1),
        )

        def prepared(work: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            return f(*work)

        out = []
        for c in coefficients:
            scale = c.shape[1] // area.h
            q = spread(own, scale)
            rows = range(0, c.shape[1], ROWS * scale)
            parts = [(c[:, a : a + ROWS * scale], q[:, a : a + ROWS * scale] if q.size > 1 else q) for a in rows]
            out.append(np.concatenate(each(prepared, parts, self.threads), 1))
        return tuple(out)
