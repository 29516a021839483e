"""A .vitc file to a picture: the plan of what is needed -> payloads of tiles -> tokens -> pixels of blocks.

Read from top to bottom. A Plan says once which blocks are synthesised for a region, which surroundings each has to see,
and which tiles these need. The file's reader takes the tiles from it, so that no others are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bitstream.container import Contents
from .bitstream.header import Header
from .bitstream.metadata import unpack_erasures, unpack_picture
from .context.coding import EntropyModel
from .devices import in_parallel, workers
from .images import Picture
from .models.autoencoder import Autoencoder
from .options import DecodeOptions
from .progress import report
from .quality import QualityPoint
from .subbands import CODING_ORDER, LEVELS, Subbands
from .tiles import SITE, Area, Region, TileGrid, assemble


@dataclass(frozen=True)
class Block:
    """What is synthesised at once."""

    area: Area
    context: Area  # the area with the surroundings that the synthesis has to see
    tiles: list[int]  # under the context


@dataclass(frozen=True)
class Plan:
    """What is decoded."""

    grid: TileGrid
    region: Region  # in pixels of the whole picture, within it
    reduce: int
    rows: list[list[Block]]  # of blocks, from top to bottom

    @property
    def finest(self) -> int:
        """The finest level that is read; above LEVELS: the low band alone."""
        return self.reduce + 1

    @property
    def tiles(self) -> set[int]:
        """All tiles that are read."""
        return {tile for row in self.rows for block in row for tile in block.tiles}


@dataclass(frozen=True)
class Decoder:
    """A model, ready to decode."""

    autoencoder: Autoencoder
    entropy: EntropyModel

    def plan(self, header: Header, options: DecodeOptions, interpolate: bool = False) -> Plan:
        """What is decoded of a file. interpolate: whether tiles have to be filled in from what lies around them.

        Raises UsageError.
        """
        grid = header.grid
        region = options.region or Region(0, 0, header.width, header.height)
        region = region.clipped(header.width, header.height)
        # blocks begin and end where the transform allows
        area = grid.touched(region).aligned(self.autoencoder.grid // SITE, grid.whole)
        margin = max(self.autoencoder.halo, self.autoencoder.grid if interpolate else 0) // SITE
        blocks = []
        for block in area.blocks(self.autoencoder.tile // SITE):
            context = block.grown(margin, grid.whole)
            blocks.append(Block(block, context, grid.under(context)))
        rows = [list(row) for _, row in itertools.groupby(blocks, lambda block: block.area.y)]
        return Plan(grid, region, options.reduce, rows)

    def decode(self, contents: Contents, options: DecodeOptions) -> Picture:
        """The picture of a file's contents. Payloads that contents.erased lists are filled in.

        Raises FormatError, UsageError.
        """
        plan = self.plan(contents.header, options, any(level == 0 for level, _ in contents.erased))
        point = self.entropy.point(contents.header.quality, self.autoencoder.steps)
        size = SITE >> plan.reduce  # pixels along a side of a site
        shown = plan.region.reduced(plan.reduce)
        rgb = np.empty((shown.height, shown.width, 3), np.uint8)
        erasures = unpack_erasures(contents)
        for block, tokens in self._blocks(contents, plan, point, erasures.by_encoder):
            erased = self._tensor(erasures.to_fill, block.context)
            image = self.synthesise(tokens, point, plan.reduce, erased)
            if contents.header.gray:
                image = image.mean(-1, keepdim=True).expand(-1, -1, 3)
            part = image.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
            _paste(part, rgb, block, size, shown)
        return unpack_picture(contents, rgb, plan.region, plan.reduce)

    def tokens(self, contents: Contents, reduce: int) -> Subbands:
        """The tokens of the whole picture, int32, a batch of one; levels finer than reduce + 1 are not there.

        Raises FormatError.
        """
        grid = contents.header.grid
        point = self.entropy.point(contents.header.quality, self.autoencoder.steps)
        erasures = unpack_erasures(contents).by_encoder
        return assemble(self._read_tiles(contents, range(grid.count), point, reduce + 1, erasures), grid, grid.whole)

    def _blocks(
        self, contents: Contents, plan: Plan, point: QualityPoint, erasures: np.ndarray | None
    ) -> Iterator[tuple[Block, Subbands]]:
        """Every block with the tokens of its context.

        Tiles are read once, and kept as long as a row of blocks needs them.
        """
        parts: dict[int, Subbands] = {}
        read = synthesised = 0
        total, pixels = sum(map(len, plan.rows)), plan.region.width * plan.region.height
        report(0, pixels)
        for row in plan.rows:
            needed = sorted({tile for block in row for tile in block.tiles})
            parts = {tile: parts[tile] for tile in needed if tile in parts}
            tiles = [tile for tile in needed if tile not in parts]
            parts |= self._read_tiles(contents, tiles, point, plan.finest, erasures)
            read += len(row)
            for block in row:
                report((read + synthesised) / 2 / total, pixels)
                yield block, assemble(parts, plan.grid, block.context)
                synthesised += 1
        report(1, pixels)

    def _read_tiles(
        self, contents: Contents, tiles: Sequence[int], point: QualityPoint, finest: int, erasures: np.ndarray | None
    ) -> dict[int, Subbands]:
        """The tokens of tiles, zero where contents.erased says so. erasures: those of the encoder, of all tokens."""

        def read(tile: int) -> Subbands:
            return self._read_tile(contents, tile, point, finest, erasures)

        return dict(zip(tiles, in_parallel(read, tiles, workers(self._device)), strict=True))

    def _read_tile(
        self, contents: Contents, tile: int, point: QualityPoint, finest: int, erasures: np.ndarray | None
    ) -> Subbands:
        area = contents.header.grid.area(tile)
        levels = [level for level in CODING_ORDER if level == 0 or level >= finest]
        # a level is predicted from the coarser ones: without one of them it cannot be read
        received = list(itertools.takewhile(lambda level: (level, tile) not in contents.erased, levels))
        if received:
            payloads = {level: contents.payloads[level, tile] for level in received}
            erased = self._tensor(erasures, area)
            read = self.entropy.decode(
                payloads, point, area.h, area.w, received[-1] or LEVELS + 1, erased, contents.header.native
            )
        else:
            low = torch.zeros(1, area.h, area.w, 3, dtype=torch.int32, device=self._device)
            read = Subbands(low, (), LEVELS + 1)
        shift = (LEVELS - level for level in range(finest, read.finest))
        zeros = [read.low.new_zeros(1, area.h << s, area.w << s, 9) for s in shift]
        return Subbands(read.low, (*zeros, *read.details), finest)

    @torch.no_grad()
    def synthesise(
        self, tokens: Subbands, point: QualityPoint, reduce: int = 0, erased: Tensor | None = None
    ) -> Tensor:
        """Tokens (or latents), a batch of one -> pixels (H, W, 3), float, about 0..255, halved `reduce` times.

        erased: (1, h, w) bool, the tokens to fill in, or None for none.
        """
        latents = tokens.map(Tensor.float)
        if erased is not None and not erased.any():
            erased = None
        if reduce:
            return self.autoencoder.decode_reduced(latents, point.step, reduce, erased)[0]
        return self.autoencoder.decode(latents, point.step, erased)[0]

    def _tensor(self, mask: np.ndarray | None, area: Area) -> Tensor | None:
        """The part of a mask of the whole picture that belongs to an area, (1, h, w) bool; None for none."""
        if mask is None:
            return None
        part = mask[area.y : area.y + area.h, area.x : area.x + area.w]
        return torch.from_numpy(part).to(self._device)[None]

    @property
    def _device(self) -> torch.device:
        return self.autoencoder.steps.device


def _paste(part: np.ndarray, rgb: np.ndarray, block: Block, size: int, shown: Region) -> None:
    """Copy a block's pixels out of those of its context to where they belong.

    size: pixels along a side of a site; shown: the region that rgb holds.
    """
    inner = block.area.within(block.context)
    y, x = block.area.y * size - shown.y, block.area.x * size - shown.x  # where the block begins in rgb
    part = part[inner.y * size :, inner.x * size :]
    part = part[max(-y, 0) : inner.h * size, max(-x, 0) : inner.w * size]
    target = rgb[max(y, 0) :, max(x, 0) :][: part.shape[0], : part.shape[1]]
    target[:] = part[: target.shape[0], : target.shape[1]]
