"""A .vitc file to a picture: the plan of what is needed -> payloads of tiles -> tokens -> pixels.

A Plan says once which sites are shown and which are needed for them, and so which tiles. The file's reader takes the
tiles from it, so that no others are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ..bitstream.container import Contents
from ..bitstream.header import Header
from ..bitstream.metadata import site_qualities, tile_qualities, unpack_erasures, unpack_filter, unpack_picture
from ..coding.entropy import EntropyModel
from ..coding.sampling import SamplingTables
from ..errors import UsageError
from ..options import DecodeOptions
from ..parallel import each
from ..picture import Picture
from ..progress import report
from ..reconstruction import MIDDLE
from ..subbands import CODING_ORDER, LEVELS, Subbands
from ..tiles import SITE, Area, Region, TileGrid, assemble, crop
from ..tokens import Tokens, check_bands
from ..transform import Transform
from .filling import interpolated, low_units
from .imagining import Imagination, incomplete_tiles, note


@dataclass(frozen=True)
class Plan:
    """What is decoded."""

    grid: TileGrid
    region: Region  # in pixels of the whole picture, within it
    reduce: int
    shown: Area  # the sites under the region
    needed: Area  # the sites whose tokens its pixels depend on

    @property
    def finest(self) -> int:
        """The finest level that is read; above LEVELS: the low band alone."""
        return self.reduce + 1

    @property
    def tiles(self) -> set[int]:
        """All tiles that are read."""
        return set(self.grid.under(self.needed))


@dataclass
class TileTokens:
    """The tokens of a file, tile by tile, decoded when they are asked for and kept until `forget`.

    imagination: makes those that were not received; None: they are 0.
    """

    contents: Contents
    entropy: EntropyModel
    finest: int
    threads: int
    imagination: Imagination | None = None
    _tiles: dict[int, Subbands] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.erasures = unpack_erasures(self.contents)
        if self.imagination:  # tiles that were not received are not empty
            self.erasures = replace(self.erasures, to_fill=self.erasures.by_encoder)
        self.qualities = tile_qualities(self.contents)

    def prepare(self, areas: Iterable[Area]) -> None:
        """Decode the tiles under areas, shared among threads. Raises FormatError."""
        wanted = dict.fromkeys(tile for area in areas for tile in self.contents.header.grid.under(area))
        missing = [tile for tile in wanted if tile not in self._tiles]
        self._tiles |= dict(zip(missing, each(self._read, missing, self.threads), strict=True))

    def __call__(self, area: Area) -> Subbands:
        """int32 (1, h, w, C). Raises FormatError."""
        grid = self.contents.header.grid
        self.prepare([area])
        return assemble({tile: self._tiles[tile] for tile in grid.under(area)}, grid, area)

    def forget(self, above: int) -> None:
        """Drop the tiles that end above a row of sites."""
        grid = self.contents.header.grid
        for tile in list(self._tiles):
            area = grid.area(tile)
            if area.y + area.h <= above:
                del self._tiles[tile]

    def _read(self, tile: int) -> Subbands:
        area = self.contents.header.grid.area(tile)
        levels = [level for level in CODING_ORDER if level == 0 or level >= self.finest]
        # a level is predicted from the coarser ones: without one of them it cannot be read
        point = self.entropy.point(int(self.qualities[tile % len(self.qualities)]))
        received = list(itertools.takewhile(lambda level: (level, tile) not in self.contents.erased, levels))
        if received:
            mask = self.erasures.by_encoder
            erased = None if mask is None else mask[None, area.y : area.y + area.h, area.x : area.x + area.w]
            read = self.entropy.decode(
                {level: self.contents.payloads[level, tile] for level in received},
                point,
                area.h,
                area.w,
                received[-1] or LEVELS + 1,
                erased,
            )
        elif self.imagination:
            read = self.imagination.from_nothing(area)
        else:
            read = Subbands(np.zeros((1, area.h, area.w, 3), np.int32), (), LEVELS + 1)
        if self.imagination:
            return self.imagination.complete(tile, read, point, self.finest)
        shifts = (LEVELS - level for level in range(self.finest, read.finest))
        zeros = [np.zeros((1, area.h << s, area.w << s, 9), np.int32) for s in shifts]
        return Subbands(read.low, (*zeros, *read.details), self.finest)


@dataclass
class KnownTokens:
    """Tokens that are there already, asked for as TileTokens are."""

    contents: Contents
    bands: Subbands
    finest: int

    def __post_init__(self) -> None:
        self.erasures = unpack_erasures(self.contents)

    def prepare(self, areas: Iterable[Area]) -> None:
        """Nothing is left to decode."""

    def __call__(self, area: Area) -> Subbands:
        """int32 (1, h, w, C)."""
        part = crop(self.bands, area).map(np.ascontiguousarray)
        return Subbands(part.low, part.details[self.finest - part.finest :], self.finest)

    def forget(self, above: int) -> None:
        """They are the caller's."""


@dataclass(frozen=True)
class Decoder:
    """A model, ready to decode. threads: that decode tiles at a time."""

    entropy: EntropyModel
    transform: Transform
    threads: int = 1

    def plan(self, header: Header, options: DecodeOptions) -> Plan:
        """What is decoded of a file. Raises UsageError."""
        grid = header.grid
        region = (options.region or Region(0, 0, header.width, header.height)).clipped(header.width, header.height)
        shown = grid.touched(region)
        return Plan(grid, region, options.reduce, shown, self.transform.needed(shown, grid.whole, options.reduce))

    def decode(self, contents: Contents, options: DecodeOptions) -> Picture:
        """The picture of a file's contents. Payloads that contents.erased lists are filled in, or imagined.

        Raises FormatError, UsageError.
        """
        plan = self.plan(contents.header, options)
        imagined = incomplete_tiles(contents, plan.finest) & plan.tiles if options.imagine else None
        imagination = self._imagination(contents, options) if imagined else None
        tokens = TileTokens(contents, self.entropy, plan.finest, self.threads, imagination)
        picture = self._picture(contents, tokens, plan)
        if imagined:
            picture.notes.append(note(len(imagined), plan.grid.count, options.seed))
        return picture

    def _imagination(self, contents: Contents, options: DecodeOptions) -> Imagination:
        """Raises FormatError."""
        erasures, low = unpack_erasures(contents), None
        if any(level == 0 for level, _ in contents.erased) and erasures.to_fill is not None:
            units = low_units(self.transform, site_qualities(contents))
            low = interpolated(self.tokens(contents, LEVELS).low, erasures.to_fill, units)
        tables = SamplingTables(self.entropy.tables, options.temperature)
        return Imagination(self.entropy, tables, options.seed, low)

    def decode_tokens(self, tokens: Tokens, options: DecodeOptions) -> Picture:
        """The picture of tokens. Raises FormatError for damaged metadata, InputError, UsageError."""
        plan, contents = self.plan(tokens.header, options), Contents(tokens.header, dict(tokens.metadata))
        if tokens.bands.finest > plan.finest:
            least = tokens.bands.finest - 1
            raise UsageError(f"these tokens lack the finest levels; decode them with reduce={least} at least")
        check_bands(tokens.bands, tokens.header, tokens.bands.finest)
        return self._picture(contents, KnownTokens(contents, tokens.bands, plan.finest), plan)

    def _picture(self, contents: Contents, tokens: TileTokens | KnownTokens, plan: Plan) -> Picture:
        header = contents.header
        qualities, erased = site_qualities(contents), tokens.erasures.to_fill
        filter = None if plan.reduce else unpack_filter(contents, self.transform.filter(header.quality))
        enhancement = None if plan.reduce else self.transform.enhancement(header.enhancement)
        picture = self.transform.picture(
            tokens, plan.grid.whole, plan.shown, qualities, erased, plan.reduce, filter, enhancement
        )
        shown = plan.region.reduced(plan.reduce)
        rgb = np.empty((shown.height, shown.width, 3), np.uint8)
        size, strips = SITE >> plan.reduce, picture.strips()
        pixels = plan.region.width * plan.region.height

        def make(block: Area) -> None:
            _paste(picture.pixels(block, header.gray), rgb, block.y * size - shown.y, block.x * size - shown.x)

        for done, blocks in enumerate(strips):
            report(done / len(strips), pixels)
            first, last = blocks[0], blocks[-1]
            strip = Area(first.y, first.x, first.h, last.x + last.w - first.x)
            picture.forget(strip.y)
            tokens.forget(strip.y - MIDDLE)
            tokens.prepare(picture.next_tokens(strip))
            picture.prepare(strip)
            each(make, blocks, self.transform.threads)
        report(1, pixels)
        return unpack_picture(contents, rgb, plan.region, plan.reduce)

    def tokens(self, contents: Contents, reduce: int) -> Subbands:
        """The tokens of the whole picture, int32 (1, h, w, C); levels finer than reduce + 1 are not there.

        Raises FormatError.
        """
        tokens = TileTokens(contents, self.entropy, reduce + 1, self.threads)
        grid = contents.header.grid
        return assemble({tile: tokens._read(tile) for tile in range(grid.count)}, grid, grid.whole)


def _paste(part: np.ndarray, rgb: np.ndarray, y: int, x: int) -> None:
    """Copy pixels to where they belong, (y, x), as far as rgb reaches."""
    part = part[max(-y, 0) :, max(-x, 0) :]
    target = rgb[max(y, 0) :, max(x, 0) :][: part.shape[0], : part.shape[1]]
    target[:] = part[: target.shape[0], : target.shape[1]]
