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
from ..options import TILE_SIDES, EncodeOptions
from ..parallel import each, in_order
from ..picture import Picture
from ..pretrained.config import PretrainedConfig
from ..progress import report
from ..search import pixel_error
from ..search.filter_fit import FilterFit
from ..search.measures import Target
from ..search.model import SearchModel
from ..subbands import Subbands
from ..tiles import SITE, Area, assemble, crop
from ..tokens import Tokens, check_bands
from .correction import correct

BLOCK = 1024  # pixels along a side of what is analysed at once
# tokens, their quality and a share to keep -> the tokens that cost least to erase, (1, h, w) bool
Erase = Callable[[Subbands, int, float], np.ndarray]
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
        options, qualities = self._by_tile(picture, options)
        if qualities is not None:
            return self._encode_tokens(picture, options, qualities)
        if options.coding == "tokens" or options.keep_tokens < 1:
            return self._encode_tokens(picture, options)
        stored = None
        if options.effort > 1 and lossless.may_be_smaller(picture.rgb, picture.rgb.size // 24):
            # a screenshot or drawing, by one bit a pixel: perhaps the search need not be waited for
            stored = lossless.pack(picture, options.tile)
            rounded = self._encode_tokens(picture, replace(options, effort=1))
            if stored.size < _SEARCH_LEAVES * rounded.size:
                return stored
        contents = self._encode_tokens(picture, options)
        if stored is None and lossless.may_be_smaller(picture.rgb, contents.size):
            stored = lossless.pack(picture, options.tile)
        return stored if stored and stored.size <= contents.size else contents

    def _encode_tokens(self, picture: Picture, options: EncodeOptions, qualities: np.ndarray | None = None) -> Contents:
        """qualities: (tiles,), of every tile; None: options.quality everywhere."""
        header, payloads = self.header(picture, options), dict[tuple[int, int], bytes]()

        def keep(tile: EncodedTile) -> None:
            payloads.update({(level, tile.index): data for level, data in tile.payloads.items()})

        metadata = self._each_tile(picture, header, options, qualities, keep)
        return Contents(header, metadata, payloads)

    def tokens(self, picture: Picture, options: EncodeOptions) -> Tokens:
        """The tokens that `encode` codes: what a decoder reads back. Raises UsageError, LimitError."""
        options, qualities = self._by_tile(picture, options)
        picture, header, parts = _without_hidden(picture), self.header(picture, options), dict[int, Subbands]()

        def keep(tile: EncodedTile) -> None:
            parts[tile.index] = tile.tokens

        metadata = self._each_tile(picture, header, options, qualities, keep)
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

    def _by_tile(self, picture: Picture, options: EncodeOptions) -> tuple[EncodeOptions, np.ndarray | None]:
        """Options without regions of interest, and the quality of every tile, (tiles,), or None for one of all.

        Raises UsageError, LimitError.
        """
        if not options.roi:
            return options, None
        tile = options.tile or TILE_SIDES[0]  # the regions are rounded to tiles
        qualities = regions.tile_qualities(options, self.header(picture, replace(options, tile=tile)).grid)
        plain = replace(options, roi=())
        if (qualities == qualities[0]).all():
            return replace(plain, quality=int(qualities[0])), None
        # the file's own quality decides on the filter alone; that of the best tiles was seen to serve all best
        return replace(plain, tile=tile, quality=int(qualities.max())), qualities

    def _each_tile(
        self,
        picture: Picture,
        header: Header,
        options: EncodeOptions,
        qualities: np.ndarray | None,
        keep: Callable[[EncodedTile], None],
    ) -> dict[str, bytes]:
        """Encode every tile, give it to `keep`, and return the file's metadata."""
        erased = np.zeros((header.grid.whole.h, header.grid.whole.w), bool)
        fit = self._filter_fit(header, options)
        for tile in self.tiles(picture.rgb, header, options, qualities, fit):
            keep(tile)
            if tile.erased is not None:
                y, x, h, w = header.grid.area(tile.index)
                erased[y : y + h, x : x + w] = tile.erased[0]
        metadata = pack_metadata(picture, erased)
        if qualities is not None:
            metadata[QUALITY_OF_TILES] = qualities.astype(np.uint8).tobytes()
        if fit and (changes := fit.solve()):
            metadata[FILTER] = adaptive_filter.pack(changes)
        return metadata

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
        qualities: np.ndarray | None = None,
        fit: FilterFit | None = None,
    ) -> Iterator[EncodedTile]:
        """(H, W, 3) uint8 -> every tile of the header's grid, encoded, block by block. fit: is told of every block."""
        grid = header.grid
        # a block is at least one tile, and exactly one where tiles have qualities of their own
        side = header.tile if qualities is not None else max(self.block // header.tile, 1) * header.tile
        blocks, area = grid.whole.blocks(side // SITE), header.width * header.height
        dead_zone = self._dead_zone(options)
        report(0, area)
        search = self.searches.search(options.effort, options.distortion_weight)

        def code(work: tuple[int, int, Subbands, np.ndarray | None]) -> EncodedTile:
            index, quality, tokens, erased = work
            point, fit_scales = self.entropy.point(quality), search.config.fit_scales
            return EncodedTile(index, *self.entropy.encode(tokens, point, erased, fit_scales), erased)

        def made(block: Area) -> list[EncodedTile]:
            tiles, erased = grid.under(block), None
            quality = options.quality if qualities is None else int(qualities[tiles[0]])
            with self._analysing:
                latents, original = self.analysis.with_coefficients(rgb, block, grid.whole, quality)
                if self.erase and options.keep_tokens < 1:
                    erased = self.erase(round_tokens(latents, dead_zone), quality, options.keep_tokens)
                    # a model that knows what is erased makes other latents of the rest
                    latents, _ = self.analysis.with_coefficients(rgb, block, grid.whole, quality, erased)
            target = Target(original, latents, quality, [grid.area(index).within(block) for index in tiles])
            tokens = round_tokens(latents, dead_zone)
            if erased is None:
                tokens = correct(search.evaluate, target, tokens)
            found = search.find(target, tokens)
            tokens = found.tokens
            if fit:
                error = found.pixels
                if error is None:
                    error = pixel_error.in_pixels(search.evaluate.errors(target, tokens))
                fit.add(original, error, search.evaluate.step(quality))
            if search.config.rounds and len(blocks) > 1:
                give_back()
            areas = (grid.area(index).within(block) for index in tiles)
            work = [
                (index, quality, crop(tokens, area), None if erased is None else crop_mask(erased, area))
                for index, area in zip(tiles, areas, strict=True)
            ]
            return each(code, work, self.threads)

        # rounded blocks are coded while the next is analysed; a search takes all threads itself, and much memory
        threads = 1 if search.config.rounds else self.threads
        for done, found in enumerate(in_order(made, blocks, threads)):
            yield from found
            report((done + 1) / len(blocks), area)

    def _filter_fit(self, header: Header, options: EncodeOptions) -> FilterFit | None:
        """What the adaptive filter is fitted with, where the decoder has one and the effort allows it."""
        search = self.searches.search(options.effort, options.distortion_weight)
        base = self.searches.transform.filter(options.quality)
        if base is None or not search.config.fit_scales or self.config.tune != "psnr":
            return None
        evaluate = search.evaluate
        bits_per_error = evaluate.weights(options.quality).error / evaluate.step(options.quality) ** 2
        return FilterFit(base, bits_per_error, 1 if header.gray else 3)

    def _dead_zone(self, options: EncodeOptions) -> float:
        """Of rounding: the model's, wider where distortion weighs less, so that effort 1 follows the weight too."""
        return min(max(self.config.dead_zone - 0.15 * math.log2(options.distortion_weight), -0.15), 0.4)


def crop_mask(erased: np.ndarray, area: Area) -> np.ndarray:
    """The part of a mask of sites, (1, h, w), that belongs to an area."""
    return erased[:, area.y : area.y + area.h, area.x : area.x + area.w]


def _without_hidden(picture: Picture) -> Picture:
    """The picture with colours that cost next to nothing where it is transparent."""
    return picture if picture.alpha is None else replace(picture, rgb=fill_hidden(picture.rgb, picture.alpha))
