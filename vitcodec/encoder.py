"""A picture to the contents of a .vitc file: blocks -> latents -> rounded tokens -> RDO search -> payloads of tiles.

Read from top to bottom. Geometry is planned once: the picture is transformed in blocks, each with a halo of
surroundings, and each block holds whole tiles, which are entropy-coded by themselves. So memory beyond the picture
itself depends on the size of a block alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import lossless
from .bitstream.container import Contents
from .bitstream.header import Header, check_limits
from .bitstream.metadata import pack_metadata
from .context.coding import EntropyModel
from .correction import correct
from .devices import in_parallel, workers
from .distortion import TUNINGS
from .errors import UsageError
from .imageio.transparency import fill_hidden
from .images import Picture
from .models.autoencoder import Autoencoder
from .models.erasure import cheapest_to_erase
from .options import EncodeOptions
from .pretrained.config import PretrainedConfig
from .progress import report
from .quality import QualityPoint, round_tokens
from .rdo import EFFORTS, RDOSearch
from .subbands import Subbands
from .tiles import SITE, Area, TileGrid, assemble, crop, crop_map

_SEARCH_LEAVES = 0.6  # of the size of rounded tokens; on patterns 0.75 was seen, on photographs 0.85


@dataclass(frozen=True)
class EncodedTile:
    """What the encoder made of one tile."""

    index: int
    payloads: dict[int, bytes]  # by level
    tokens: Subbands  # as the decoder will read them, int32
    erased: Tensor | None  # (1, h, w) bool: the tokens that are not in the payloads


@dataclass(frozen=True)
class Encoder:
    """A model, ready to encode."""

    config: PretrainedConfig
    autoencoder: Autoencoder
    entropy: EntropyModel

    def encode(self, picture: Picture, options: EncodeOptions) -> Contents:
        """The contents of a file: tokens, or pixels where these are asked for or smaller.

        Raises UsageError, LimitError.
        """
        if options.coding == "lossless":
            return lossless.pack(picture, options.tile)
        picture = _without_hidden(picture)
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

    def _encode_tokens(self, picture: Picture, options: EncodeOptions) -> Contents:
        header = self.header(picture, options)
        tokens: dict[tuple[int, int], bytes] = {}
        erased = np.zeros((header.grid.whole.h, header.grid.whole.w), bool)
        for tile in self.tiles(picture.rgb, header, options):
            tokens |= {(level, tile.index): data for level, data in tile.payloads.items()}
            if tile.erased is not None:
                y, x, h, w = header.grid.area(tile.index)
                erased[y : y + h, x : x + w] = tile.erased[0].cpu().numpy()
        return Contents(header, pack_metadata(picture, erased), tokens)

    def tokens(self, picture: Picture, options: EncodeOptions) -> Subbands:
        """The tokens that `encode` codes, int32, a batch of one: what a decoder reads back.

        Raises UsageError, LimitError.
        """
        picture, header = _without_hidden(picture), self.header(picture, options)
        parts = {tile.index: tile.tokens for tile in self.tiles(picture.rgb, header, options)}
        return assemble(parts, header.grid, header.grid.whole)

    def header(self, picture: Picture, options: EncodeOptions) -> Header:
        """The file's header. Raises UsageError where the model cannot do what the options ask, LimitError."""
        if options.keep_tokens < 1 and not self.autoencoder.supports_erasure:
            raise UsageError(
                f"model '{self.config.name}' cannot fill in erased tokens; "
                "give one that can, as -m beit, or keep all tokens"
            )
        height, width = picture.rgb.shape[:2]
        tile = options.tile or self.autoencoder.tile
        header = Header(width, height, options.quality, picture.gray, self.config.name, self.config.identity, tile)
        check_limits(header, "the image")
        return header

    def tiles(self, rgb: np.ndarray, header: Header, options: EncodeOptions) -> Iterator[EncodedTile]:
        """(H, W, 3) uint8 -> every tile of the header's grid, encoded, block by block."""
        grid, point = header.grid, self.entropy.point(options.quality, self.autoencoder.steps)
        effort = EFFORTS[options.effort]
        distortion = TUNINGS[self.config.tune]
        search = RDOSearch(self.autoencoder, self.entropy, point, distortion, effort, options.distortion_weight)
        dead_zone = self._dead_zone(options)
        loss = search.curvature.cpu().numpy()
        # a block is at least one tile
        side = max(self.autoencoder.tile // header.tile, 1) * header.tile // SITE
        blocks, together = grid.whole.blocks(side), workers(self._device)

        def code(work: tuple[int, Subbands, Tensor | None]) -> EncodedTile:
            index, tokens, erased = work
            payloads, coded = self.entropy.encode(tokens, point, erased, effort.fit_scales, loss)
            return EncodedTile(index, payloads, coded, erased)

        report(0, header.width * header.height)
        for start in range(0, len(blocks), together):
            waiting: list[tuple[int, Subbands, Tensor | None]] = []
            for searched, block in enumerate(blocks[start : start + together], start + 1):
                tokens, erased = self._rounded(rgb, grid, block, point, dead_zone, options.keep_tokens)
                image = torch.from_numpy(pixels(rgb, block)).to(self._device)[None]
                tokens = search.search_in_blocks(image, tokens)
                for index in grid.under(block):
                    tile = grid.area(index).within(block)
                    mask = None if erased is None else crop_map(erased, block.h, tile)
                    waiting.append((index, crop(tokens, tile), mask))
                report((searched + start) / 2 / len(blocks), header.width * header.height)
            yield from in_parallel(code, waiting, together)
            report(searched / len(blocks), header.width * header.height)

    @torch.no_grad()
    def _rounded(
        self, rgb: np.ndarray, grid: TileGrid, block: Area, point: QualityPoint, dead_zone: float, keep: float
    ) -> tuple[Subbands, Tensor | None]:
        """A block's tokens before the search, and which of them are erased, (1, h, w) bool, or None if all are kept."""
        if keep == 1:
            # with the surroundings, as the decoder will see them
            context = block.grown(self.autoencoder.halo // SITE, grid.whole)
            image = self._image(rgb, context)
            tokens = round_tokens(self.autoencoder.encode(image, point.step), dead_zone)
            return crop(correct(self.autoencoder, image, tokens, point.step), block.within(context)), None
        tokens = round_tokens(self.latents(rgb, grid, block, point), dead_zone)
        erased = cheapest_to_erase(self.autoencoder, tokens.map(Tensor.float), point.step, keep)
        # a model that knows what is erased makes other latents of the rest
        return round_tokens(self.latents(rgb, grid, block, point, erased), dead_zone), erased

    @torch.no_grad()
    def latents(
        self, rgb: np.ndarray, grid: TileGrid, block: Area, point: QualityPoint, erased: Tensor | None = None
    ) -> Subbands:
        """The latents of a block before rounding, a batch of one: analysis with a halo around the block.

        rgb: (H, W, 3) uint8, the whole picture. erased: (1, h, w) bool, the block's tokens that will not be coded.
        """
        context = block.grown(self.autoencoder.halo // SITE, grid.whole)
        inner = block.within(context)
        if erased is not None:
            right, bottom = context.w - inner.x - inner.w, context.h - inner.y - inner.h
            erased = F.pad(erased, (inner.x, right, inner.y, bottom))
        return crop(self.autoencoder.encode(self._image(rgb, context), point.step, erased), inner)

    def _image(self, rgb: np.ndarray, area: Area) -> Tensor:
        """The pixels of an area, (1, 16 h, 16 w, 3), float."""
        return torch.from_numpy(pixels(rgb, area)).to(self._device)[None].float()

    def _dead_zone(self, options: EncodeOptions) -> float:
        """Of rounding: the model's, wider where distortion weighs less, so that effort 1 follows the weight too."""
        return min(max(self.config.dead_zone - 0.15 * math.log2(options.distortion_weight), -0.15), 0.4)

    @property
    def _device(self) -> torch.device:
        return self.autoencoder.steps.device


def _without_hidden(picture: Picture) -> Picture:
    """The picture with colours that cost next to nothing where it is transparent."""
    return picture if picture.alpha is None else replace(picture, rgb=fill_hidden(picture.rgb, picture.alpha))


def pixels(rgb: np.ndarray, area: Area) -> np.ndarray:
    """The pixels of an area, (16 h, 16 w, 3); the picture's last row and column are repeated beyond its end."""
    part = rgb[area.y * SITE : (area.y + area.h) * SITE, area.x * SITE : (area.x + area.w) * SITE]
    padding = ((0, area.h * SITE - part.shape[0]), (0, area.w * SITE - part.shape[1]), (0, 0))
    return np.pad(part, padding, mode="edge")
