"""A picture to the contents of a .vitc file: blocks -> latents -> tokens -> search -> payloads of tiles.

Geometry is planned once: the picture is analysed in blocks, each with a halo of surroundings, and each block holds
whole tiles, which are entropy-coded by themselves. Memory beyond the picture itself depends on the size of a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np

from .. import adaptive_filter, lossless, regions
from ..analysis import Analysis, round_tokens
from ..bitstream.container import Contents
from ..bitstream.header import Header, check_limits
from ..bitstream.metadata import FILTER, QUALITY_OF_TILES, pack_metadata, tile_qualities, unpack_erasures
from ..coding.entropy import EntropyModel
from ..errors import UsageError
from ..imageio.transparency import fill_hidden
from ..memory import give_back
from ..options import EncodeOptions
from ..parallel import each, in_order
from ..picture import Picture
from ..pretrained.config import PretrainedConfig
from ..progress import report
from ..search.filter_fit import FilterFit
from ..search.measures import Target
from ..search.model import SearchModel
from ..search.pixel_error import crop_pixels
from ..subbands import Subbands
from ..tiles import SITE, Area, TileGrid, assemble, crop
from ..tokens import Tokens, check_bands
from .correction import correct
from .finishing import ROUNDED, ROUNDED_TOLERANCE, SEARCHED, EnhancementChoice, Finishing
from .weighing import bits_per_error, coarsened, pixel_weights, weights_of_all

BLOCK = 1024  # pixels along a side of what is analysed at once
# tokens, their quality, a share to keep, and those to keep first, (1, h, w) bool, or None -> the tokens that cost least
# to erase, (1, h, w) bool
Erase = Callable[[Subbands, int, float, np.ndarray | None], np.ndarray]
_SEARCH_LEAVES = 0.6  # of the size of rounded tokens; on patterns 0.75 was seen, on photographs 0.85


@dataclass(frozen=True)
class EncodedTile:
    """What the encoder made of one tile."""

    index: int
    payloads: dict[int, bytes]  # by level
    tokens: Subbands  # as the decoder will read them, int32
    erased: np.ndarray | None  # (1, h, w) bool: the tokens that are not in the payloads


@dataclass(frozen=True)
class Encoder:
    """A model, ready to encode.

    block: pixels along a side of what is analysed at once. erase: chooses tokens that the model can fill in; None: it
    cannot.
    """

    config: PretrainedConfig
    analysis: Analysis
    entropy: EntropyModel
    searches: SearchModel
    threads: int = 1
    block: int = BLOCK
    erase: Erase | None = None
    # needs much memory, and runs on all threads by itself
    _analysing: Lock = field(default_factory=Lock, repr=False, compare=False)

    def encode(self, picture: Picture, options: EncodeOptions) -> Contents:
        """The contents of a file: tokens, or pixels where these are asked for or smaller.

        With regions of interest it holds tokens, unless all its tiles have one quality.

        Raises UsageError, LimitError.
        """
        if options.coding == "lossless":
            return lossless.pack(picture, options.tile)
        picture = _without_hidden(picture)
        options, plan = self._planned(picture, options)
        if len(plan.qualities) > 1 or options.coding == "tokens" or options.keep_tokens < 1:
            return self._encode_tokens(picture, options, plan)
        stored = None
        if options.effort > 1 and lossless.may_be_smaller(picture.rgb, picture.rgb.size // 24):
            # a screenshot or drawing, by one bit a pixel: perhaps the search need not be waited for
            stored = lossless.pack(picture, options.tile)
            rounded = self._encode_tokens(picture, replace(options, effort=1), plan)
            if stored.size < _SEARCH_LEAVES * rounded.size:
                return stored
        contents = self._encode_tokens(picture, options, plan)
        if stored is None and lossless.may_be_smaller(picture.rgb, contents.size):
            stored = lossless.pack(picture, options.tile)
        return stored if stored and stored.size <= contents.size else contents

    def _encode_tokens(self, picture: Picture, options: EncodeOptions, plan: regions.Plan) -> Contents:
        header, payloads = self.header(picture, options), dict[tuple[int, int], bytes]()

        def keep(tile: EncodedTile) -> None:
            payloads.update({(level, tile.index): data for level, data in tile.payloads.items()})

        header, metadata = self._each_tile(picture, header, options, plan, keep)
        return Contents(header, metadata, payloads)

    def tokens(self, picture: Picture, options: EncodeOptions) -> Tokens:
        """The tokens that `encode` codes: what a decoder reads back. Raises UsageError, LimitError."""
        options, plan = self._planned(picture, options)
        picture, header, parts = _without_hidden(picture), self.header(picture, options), dict[int, Subbands]()

        def keep(tile: EncodedTile) -> None:
            parts[tile.index] = tile.tokens

        header, metadata = self._each_tile(picture, header, options, plan, keep)
        return Tokens(assemble(parts, header.grid, header.grid.whole), header, metadata)

    def compress(self, tokens: Tokens) -> Contents:
        """The contents of a file of known tokens. Raises InputError, LimitError, FormatError for damaged metadata."""
        header, known = tokens.header, Contents(tokens.header, dict(tokens.metadata))
        check_limits(header, "the image")
        check_bands(tokens.bands, header)
        qualities, mask = tile_qualities(known), unpack_erasures(known).by_encoder

        def code(index: int) -> dict[int, bytes]:
            area = header.grid.area(index)
            own = crop(tokens.bands, area).map(np.ascontiguousarray)
            erased = None if mask is None else crop_mask(mask[None], area)
            return self.entropy.encode(own, self.entropy.point(int(qualities[index % len(qualities)])), erased)[0]

        coded = each(code, list(range(header.grid.count)), self.threads)
        payloads = {(level, index): data for index, tile in enumerate(coded) for level, data in tile.items()}
        return Contents(header, known.metadata, payloads)

    def _planned(self, picture: Picture, options: EncodeOptions) -> tuple[EncodeOptions, regions.Plan]:
        """The options with the quality and the tiles that the file has, and what is asked of each part of the picture.

        Raises UsageError, LimitError.
        """
        if not options.roi:
            return options, regions.plan(options, self.header(picture, options).grid)
        height, width = picture.rgb.shape[:2]
        by_tile = replace(options, tile=regions.tile_side(options, width, height))
        plan = regions.plan(by_tile, self.header(picture, by_tile).grid)
        # the file's own quality decides on the filter alone; that of the best tiles was seen to serve all best
        best = int(plan.qualities.max())
        if (plan.qualities != best).any():
            return replace(by_tile, quality=best), plan
        plain = replace(options, quality=best)
        return plain, replace(plan, grid=self.header(picture, plain).grid, qualities=plan.qualities[:1])

    def _each_tile(
        self,
        picture: Picture,
        header: Header,
        options: EncodeOptions,
        plan: regions.Plan,
        keep: Callable[[EncodedTile], None],
    ) -> tuple[Header, dict[str, bytes]]:
        """Encode every tile, give it to `keep`, and return the file's header and metadata."""
        erased = np.zeros((header.grid.whole.h, header.grid.whole.w), bool)
        finishing = self._finishing(header, options)
        for tile in self.tiles(picture.rgb, header, options, plan, finishing):
            keep(tile)
            if tile.erased is not None:
                y, x, h, w = header.grid.area(tile.index)
                erased[y : y + h, x : x + w] = tile.erased[0]
        metadata = pack_metadata(picture, erased)
        if len(plan.qualities) > 1:
            metadata[QUALITY_OF_TILES] = plan.qualities.astype(np.uint8).tobytes()
        changes, enhancement = finishing.result()
        if changes:
            metadata[FILTER] = adaptive_filter.pack(changes)
        return replace(header, enhancement=enhancement), metadata

    def header(self, picture: Picture, options: EncodeOptions) -> Header:
        """The file's header. Raises UsageError where the model cannot do what the options ask, LimitError."""
        if options.keep_tokens < 1 and self.erase is None:
            raise UsageError(
                f"model '{self.config.name}' cannot fill in erased tokens; "
                "give one that can, as -m beit, or keep all tokens"
            )
        height, width = picture.rgb.shape[:2]
        config, tile = self.config, options.tile or self.block
        header = Header(width, height, options.quality, picture.gray, config.name, config.identity, tile)
        check_limits(header, "the image")
        return header

    def tiles(
        self,
        rgb: np.ndarray,
        header: Header,
        options: EncodeOptions,
        plan: regions.Plan,
        finishing: Finishing,
    ) -> Iterator[EncodedTile]:
        """(H, W, 3) uint8 -> every tile of the header's grid, encoded. finishing: is told of every part."""
        grid = header.grid
        side = max(self.block // header.tile, 1) * header.tile
        parts = [part for block in grid.whole.blocks(side // SITE) for part in plan.parts(block)]
        area = header.width * header.height
        dead_zone = self._dead_zone(options)
        report(0, area)
        search = self.searches.search(options.effort, options.distortion_weight)

        def code(work: tuple[int, int, Subbands, np.ndarray | None]) -> EncodedTile:
            index, quality, tokens, erased = work
            point, fit_scales = self.entropy.point(quality), search.config.fit_scales
            return EncodedTile(index, *self.entropy.encode(tokens, point, erased, fit_scales), erased)

        def made(part: regions.Part) -> list[EncodedTile]:
            around, quality, erased = part.area, part.quality, None
            with self._analysing:
                latents, original = self.analysis.with_coefficients(rgb, around, grid.whole, quality)
                if self.erase and options.keep_tokens < 1:
                    first = plan.inside(around)[None] if plan.roi else None
                    share = plan.kept(around, options.keep_tokens)
                    erased = self.erase(round_tokens(latents, dead_zone), quality, share, first)
                    # a model that knows what is erased makes other latents of the rest
                    latents, _ = self.analysis.with_coefficients(rgb, around, grid.whole, quality, erased)
            tiles = [grid.area(index).overlap(around).within(around) for index in grid.under(around)]
            target = Target(original, latents, quality, tiles, pixel_weights(search, plan, part))
            tokens = coarsened(round_tokens(latents, dead_zone), target, dead_zone)
            if erased is None:
                tokens = correct(search.evaluate, target, tokens)
            found = search.find(target, tokens)
            tokens = found.tokens
            weights = weights_of_all(search, plan, part, target.pixel_weights) if finishing.fit else None
            for own in _fitted(part, tiles, grid):
                here = None if weights is None else crop_pixels(weights, own)
                finishing.add(search.evaluate, target, found, own, here)
            if search.config.rounds and len(parts) > 1:
                give_back()
            areas = (grid.area(index).within(around) for index in part.tiles)
            work = [
                (index, quality, crop(tokens, area), None if erased is None else crop_mask(erased, area))
                for index, area in zip(part.tiles, areas, strict=True)
            ]
            return each(code, work, self.threads)

        # rounded parts are coded while the next is analysed; a search takes all threads itself, and much memory
        threads = 1 if search.config.rounds else self.threads
        for done, found in enumerate(in_order(made, parts, threads)):
            yield from found
            report((done + 1) / len(parts), area)

    def _finishing(self, header: Header, options: EncodeOptions) -> Finishing:
        """What is decided about filter and enhancement, where the model has them. Both are for squared error alone."""
        search, transform = self.searches.search(options.effort, options.distortion_weight), self.searches.transform
        base, fit, choice, number = transform.filter(options.quality), None, None, len(self.config.enhancements)
        if self.config.tune == "psnr":
            if base is not None and search.config.fit_scales:
                fit = FilterFit(base, bits_per_error(search, options.quality), 1 if header.gray else 3)
            if (enhancement := transform.enhancement(number)) is not None:
                tried = (SEARCHED, 0.0) if fit else (ROUNDED, ROUNDED_TOLERANCE)
                choice = EnhancementChoice(enhancement, header.grid.whole, *tried)
        return Finishing(base, fit, choice, number)

    def _dead_zone(self, options: EncodeOptions) -> float:
        """Of rounding: the model's, wider where distortion weighs less, so that effort 1 follows the weight too."""
        return min(max(self.config.dead_zone - 0.15 * math.log2(options.distortion_weight), -0.15), 0.4)


def crop_mask(erased: np.ndarray, area: Area) -> np.ndarray:
    """The part of a mask of sites, (1, h, w), that belongs to an area."""
    return erased[:, area.y : area.y + area.h, area.x : area.x + area.w]


def _fitted(part: regions.Part, tiles: list[Area], grid: TileGrid) -> list[Area]:
    """The areas of a part whose pixels come from it: all of it, or its tiles, counted from its corner."""
    if len(tiles) == len(part.tiles):
        return [Area(0, 0, part.area.h, part.area.w)]
    return [grid.area(index).within(part.area) for index in part.tiles]


def _without_hidden(picture: Picture) -> Picture:
    """The picture with colours that cost next to nothing where it is transparent."""
    return picture if picture.alpha is None else replace(picture, rgb=fill_hidden(picture.rgb, picture.alpha))
