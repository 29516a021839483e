"""Image <-> .vitc: where transforms, entropy coding and the container meet."""

from __future__ import annotations

import io
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import tiles
from .bitstream import container
from .bitstream.container import Contents, Header
from .context.coding import ORDER
from .devices import choose
from .errors import FormatError, UsageError, WeightsError
from .images import Picture
from .models.erasure import cheapest_to_erase
from .pretrained import loading, registry
from .rdo import DEFAULT_EFFORT, ROUNDS, RDOSearch, refine, rounded
from .tiles import SITE, Area, Region
from .wavelet import LEVELS, Subbands

DEFAULT_QUALITY = 50
WORKERS = 4  # tiles that are entropy-coded at the same time at most, each with a memory of its own

A = TypeVar("A")
B = TypeVar("B")


class Codec:
    """A model on a device, ready to encode and decode.

    Every method may be called from several threads at once; the work itself is done by one at a time, as torch already uses all cores.
    Large pictures are worked on tile by tile, so that memory beyond the picture itself depends on the size of a tile only.
    """

    def __init__(self, card: registry.PretrainedConfig, device: torch.device):
        self.name, self.card, self.device = card.name, card, device
        self.autoencoder, self.entropy = loading.load(card, device)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, model: str | None = None, device: str = "auto", threads: int | None = None) -> Codec:
        """model: a shipped model's name, local-dir:PATH, or None for $VITCODEC_MODEL or else the default; device: auto, cpu, cuda[:N] or mps.

        Raises WeightsError, DeviceError.
        """
        if threads:
            torch.set_num_threads(threads)
        return cls(registry.find(model), choose(device)[0])

    # encoding

    def encode(
        self,
        picture: Picture,
        quality: int = DEFAULT_QUALITY,
        effort: int = DEFAULT_EFFORT,
        distortion_weight: float = 1.0,
        tile: int | None = None,
        keep_tokens: float = 1.0,
    ) -> bytes:
        """A .vitc file of the picture at quality 1..100.

        effort: 1..9, time spent on the choice of integers, see effort.py. distortion_weight: what an error is worth to that choice, 1 as it is best; less
        makes a smaller and worse file. tile: side in pixels, 128, 256, 512 or 1024, of the squares that are coded on their own: what damage can cost.
        keep_tokens: the share of tokens in the file, 0 to 1; the others, those that are filled in best, are left out.
        Raises UsageError, LimitError.
        """
        header = self._header(picture, quality, tile)
        container.check_limits(header, "the image")
        if not 0 < keep_tokens <= 1:
            raise UsageError(f"a share of {keep_tokens:g} of the tokens cannot be kept; give more than 0, up to 1")
        if keep_tokens < 1 and not self.autoencoder.supports_erasure:
            raise UsageError(
                f"model '{self.name}' cannot fill in tokens that are left out; give one that can, as -m beit"
            )
        whole = tiles.whole_area(header)
        mask = np.zeros((whole.h, whole.w), bool)
        with self._lock:
            coded = self._code(picture.rgb, header, effort, distortion_weight, keep_tokens, mask)
            tokens = {(level, index): data for index, payloads, _ in coded for level, data in payloads.items()}
        packed = np.packbits(mask).tobytes() if mask.any() else None
        metadata = {
            "ICCP": picture.icc,
            "EXIF": picture.exif,
            "XMP ": picture.xmp,
            "ALPH": _pack_alpha(picture.alpha),
            "MASK": packed,
        }
        return container.pack(Contents(header, {k: v for k, v in metadata.items() if v is not None}, tokens))

    def encoded_tokens(
        self, picture: Picture, quality: int = DEFAULT_QUALITY, effort: int = DEFAULT_EFFORT
    ) -> Subbands:
        """The integers that `encode` writes, as the encoder knows them: what `tokens` reads back."""
        header = self._header(picture, quality)
        with self._lock:
            parts = {index: coded for index, _, coded in self._code(picture.rgb, header, effort)}
        return tiles.gather(parts, header, tiles.whole_area(header))

    def _header(self, picture: Picture, quality: int, tile: int | None = None) -> Header:
        if not 1 <= quality <= 100:
            raise UsageError(f"quality {quality} is out of range; give 1 to 100")
        if tile is not None and tile not in container.TILES:
            raise UsageError(f"tiles of {tile} pixels are not possible; give {', '.join(map(str, container.TILES))}")
        height, width = picture.rgb.shape[:2]
        return Header(
            width, height, quality, picture.gray, self.name, self.card.identity, tile or self.autoencoder.tile
        )

    def _code(
        self,
        rgb: np.ndarray,
        header: Header,
        effort: int,
        distortion_weight: float = 1.0,
        keep: float = 1.0,
        mask: np.ndarray | None = None,
    ) -> Iterator[tuple[int, dict[int, bytes], Subbands]]:
        """Of every tile: its number, its payloads, and the integers in them. mask, of all tokens, is set where one is left out."""
        if effort not in ROUNDS:
            raise UsageError(f"effort {effort} is out of range; give {min(ROUNDS)} to {max(ROUNDS)}")
        refiner = RDOSearch(
            self.autoencoder, self.entropy, header.quality, distortion_weight, self.card.config.get("tune", "psnr")
        )
        # where an error is worth less, more becomes zero, at effort 1 too
        dead_zone = min(max(self.card.config["dead_zone"] - 0.15 * math.log2(distortion_weight), -0.15), 0.4)
        # what is transformed at once may be more than a tile
        side = max(self.autoencoder.tile // header.tile, 1) * header.tile
        blocks, workers = tiles.whole_area(header).blocks(side // SITE), self._workers()
        for group in (blocks[i : i + workers] for i in range(0, len(blocks), workers)):
            chosen: dict[int, tuple[Subbands, Tensor | None]] = {}
            for block in group:
                integers, erased = rounded(self.block_latents(rgb, header, block), dead_zone), None
                if keep < 1 and mask is not None:
                    erased = cheapest_to_erase(
                        self.autoencoder, integers.map(Tensor.float), self._step(header.quality), keep
                    )
                    integers = rounded(self.block_latents(rgb, header, block, erased), dead_zone)
                    mask[block.y : block.y + block.h, block.x : block.x + block.w] = erased[0].cpu().numpy()
                image = torch.from_numpy(tiles.pixels(rgb, block)).to(self.device)[None]
                integers = refine(refiner, image, integers, ROUNDS[effort])
                for index in tiles.tiles_under(header, block):
                    tile = tiles.token_tile(header, index).within(block)
                    chosen[index] = (
                        tiles.cut(integers, tile),
                        None if erased is None else tiles.view(erased, block.h, tile),
                    )
            coded = self._map(
                lambda tile: self.entropy.encode(tile[0], header.quality, tile[1], effort > 1), list(chosen.values())
            )
            yield from ((index, payloads, integers) for index, (payloads, integers) in zip(chosen, coded, strict=True))

    @torch.no_grad()
    def block_latents(self, rgb: np.ndarray, header: Header, area: Area, erased: Tensor | None = None) -> Subbands:
        """(H, W, 3) uint8, the whole picture -> the latents of a part of it before rounding, batch of one: analysis with a halo around the part.

        erased: (1, h, w) bool, the part's tokens that will not be coded.
        """
        wide = area.grown(self.autoencoder.halo // SITE, tiles.whole_area(header))
        image = torch.from_numpy(tiles.pixels(rgb, wide)).to(self.device)[None].float()
        if erased is not None:
            inner = area.within(wide)
            erased = F.pad(erased, (inner.x, wide.w - inner.x - inner.w, inner.y, wide.h - inner.y - inner.h))
        return tiles.cut(self.autoencoder.encode(image, self._step(header.quality), erased), area.within(wide))

    # decoding

    def read(
        self, source: container.Source, reduce: int = 0, region: Region | None = None, name: str = "<bytes>"
    ) -> Contents:
        """The parts of a .vitc file that `decode` needs for the same reduce and region, and no others. Raises as decode does."""
        if region is None:
            return container.unpack(source, reduce + 1, name)
        stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        start = stream.tell()
        header = container.read_header(stream, name)
        stream.seek(start)
        whole = tiles.whole_area(header)
        needed = [self._wide(block, whole) for block in self._blocks(header, region.clipped(header))]
        needed_tiles = {t for area in needed for t in tiles.tiles_under(header, area)}
        return container.unpack(stream, reduce + 1, name, needed_tiles)

    def tokens(self, data: bytes | Contents, reduce: int = 0) -> Subbands:
        """The integers of a file, exact on every device: int32, batch of one; levels that `reduce` leaves out are erased from the details."""
        contents = container.unpack(data, reduce + 1) if isinstance(data, bytes) else data
        self._check(contents.header)
        parts = self._decode_tiles(contents, range(contents.header.tiles), reduce)
        return tiles.gather(parts, contents.header, tiles.whole_area(contents.header))

    def decode(self, data: container.Source | Contents, reduce: int = 0, region: Region | None = None) -> Picture:
        """The picture of a .vitc file.

        reduce: 1..4 halves its sides that many times and reads only the coarser levels. region: the part to decode, in pixels of the whole picture,
        for which only the tiles that it needs are read. What contents.erased lists (see salvage.unpack) and tokens that were left out are filled in.
        Raises FormatError, UnsupportedError, LimitError, WeightsError, UsageError.
        """
        if not 0 <= reduce <= LEVELS:
            raise UsageError(f"reduce {reduce} is out of range; give 0 to {LEVELS}")
        contents = data if isinstance(data, Contents) else self.read(data, reduce, region)
        header = contents.header
        self._check(header)
        region = region.clipped(header) if region else Region(0, 0, header.width, header.height)
        with self._lock:
            rgb = self._synthesise(contents, region, reduce)
        m = contents.metadata
        alpha = _unpack_alpha(m["ALPH"], header, region, reduce) if "ALPH" in m else None
        return Picture(rgb, alpha, header.gray, m.get("ICCP"), m.get("EXIF"), m.get("XMP "), [])

    def _blocks(self, header: Header, region: Region) -> list[Area]:
        """What is synthesised at once for a region: parts of the model's tiles, beginning and ending where the transform allows."""
        area = region.area(header).rounded(self.autoencoder.grid // SITE, tiles.whole_area(header))
        return area.blocks(self.autoencoder.tile // SITE)

    def _wide(self, block: Area, whole: Area, lost: bool = False) -> Area:
        """What is synthesised for a block. lost: whether tiles are, and have to be filled in from what lies around them."""
        return block.grown(max(self.autoencoder.halo, self.autoencoder.grid if lost else 0) // SITE, whole)

    def _synthesise(self, contents: Contents, region: Region, reduce: int) -> np.ndarray:
        """(H, W, 3) uint8 of a region in pixels of the reduced picture."""
        header, whole = contents.header, tiles.whole_area(contents.header)
        shown, size = region.reduced(reduce), SITE >> reduce
        out = np.empty((shown.height, shown.width, 3), np.uint8)
        gaps = _gaps(contents)
        parts: dict[int, Subbands] = {}
        for _, row in itertools.groupby(self._blocks(header, region), lambda block: block.y):
            blocks = list(row)
            wide = [self._wide(block, whole, any(level == 0 for level, _ in contents.erased)) for block in blocks]
            needed = sorted({tile for area in wide for tile in tiles.tiles_under(header, area)})
            parts = {tile: parts[tile] for tile in needed if tile in parts}  # of the row above, what this one sees too
            parts |= self._decode_tiles(contents, [tile for tile in needed if tile not in parts], reduce)
            for block, area in zip(blocks, wide, strict=True):
                erased = (
                    None
                    if gaps is None
                    else torch.from_numpy(gaps[area.y : area.y + area.h, area.x : area.x + area.w]).to(self.device)[
                        None
                    ]
                )
                image = self._image(tiles.gather(parts, header, area), header, reduce, erased)
                y, x = block.y * size - shown.y, block.x * size - shown.x
                part = image[(block.y - area.y) * size :, (block.x - area.x) * size :]
                part = part[max(-y, 0) : block.h * size, max(-x, 0) : block.w * size]
                target = out[max(y, 0) :, max(x, 0) :][: part.shape[0], : part.shape[1]]
                target[:] = part[: target.shape[0], : target.shape[1]]
        return out

    @torch.no_grad()
    def _image(self, tokens: Subbands, header: Header, reduce: int, erased: Tensor | None) -> np.ndarray:
        """The pixels of tokens, uint8, without what `reduce` leaves out. erased: (1, h, w) bool, the tokens to fill in, or None for none."""
        latents, step = tokens.map(Tensor.float), self._step(header.quality)
        if erased is not None and not erased.any():
            erased = None
        if reduce:
            latents = Subbands(latents.low, (*(latents.low.new_zeros(1, 0, 0, 9),) * reduce, *latents.details))
            image = self.autoencoder.decode_reduced(latents, step, reduce, erased)[0]
        else:
            image = self.autoencoder.decode(latents, step, erased)[0]
        if header.gray:
            image = image.mean(-1, keepdim=True).expand(-1, -1, 3)
        return image.round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    def _decode_tiles(self, contents: Contents, tiles: Sequence[int], reduce: int) -> dict[int, Subbands]:
        """The integers of tiles, zero where contents.erased says so."""
        return dict(
            zip(tiles, self._map(lambda tile: self._decode_tile(contents, tile, reduce + 1), tiles), strict=True)
        )

    def _decode_tile(self, contents: Contents, tile: int, finest: int) -> Subbands:
        header = contents.header
        y, x, h, w = tiles.token_tile(header, tile)
        levels = [level for level in ORDER if level == 0 or level >= finest]
        # a level is predicted from the coarser ones, so that without one of them it cannot be read
        there = list(itertools.takewhile(lambda level: (level, tile) not in contents.erased, levels))
        if not there:
            low = torch.zeros(1, h, w, 3, dtype=torch.int32, device=self.device)
            details: tuple[Tensor, ...] = ()
        else:
            payloads = {level: contents.tokens[level, tile] for level in there}
            mask = left_out(contents)
            erased = None if mask is None else torch.from_numpy(mask[y : y + h, x : x + w]).to(self.device)[None]
            low, details = self.entropy.decode(payloads, header.quality, h, w, there[-1] or LEVELS + 1, erased)
        lost = [
            low.new_zeros(1, h << (LEVELS - l), w << (LEVELS - l), 9) for l in range(finest, LEVELS + 1 - len(details))
        ]
        return Subbands(low, (*lost, *details))

    # both

    def _workers(self) -> int:
        return min(torch.get_num_threads(), WORKERS) if self.device.type == "cpu" else 1

    def _map(self, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """function of every item, at the same time where that pays: much of entropy coding runs in one thread."""
        workers, threads = min(self._workers(), len(items)), torch.get_num_threads()
        if workers < 2:
            return [function(item) for item in items]
        try:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
                return list(pool.map(function, items))
        finally:
            torch.set_num_threads(threads)

    def _step(self, quality: int) -> Tensor:
        return self.autoencoder.steps[quality - 1 : quality]

    def _check(self, header: Header) -> None:
        if header.weights != self.card.identity:
            raise WeightsError(
                f"the file was made with other weights (model '{header.model}', {header.weights.hex()}), not with '{self.name}' "
                f"({self.card.identity.hex()}); get that version of '{header.model}' and give it as -m local-dir:PATH"
            )


def left_out(contents: Contents) -> np.ndarray | None:
    """(rows, columns) bool: the tokens of the whole picture that its encoder left out; None for none. Raises FormatError."""
    packed = contents.metadata.get("MASK")
    if packed is None:
        return None
    whole = tiles.whole_area(contents.header)
    if len(packed) != -(-whole.h * whole.w // 8):
        raise FormatError(
            f"the mask of {len(packed)} bytes does not fit {whole.w}x{whole.h} tokens; get a complete and undamaged copy"
        )
    return (
        np.unpackbits(np.frombuffer(packed, np.uint8), count=whole.h * whole.w).astype(bool).reshape(whole.h, whole.w)
    )


def _gaps(contents: Contents) -> np.ndarray | None:
    """(rows, columns) bool: the tokens that have to be filled in, because they were left out or the coarsest level of their tile is lost."""
    gaps = left_out(contents)
    for level, tile in contents.erased:
        if level == 0:
            if gaps is None:
                whole = tiles.whole_area(contents.header)
                gaps = np.zeros((whole.h, whole.w), bool)
            y, x, h, w = tiles.token_tile(contents.header, tile)
            gaps[y : y + h, x : x + w] = True
    return gaps


def _pack_alpha(alpha: np.ndarray | None) -> bytes | None:
    if alpha is None:
        return None
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(alpha, "L").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _unpack_alpha(data: bytes, header: Header, region: Region, reduce: int) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.size != (header.width, header.height) or image.mode != "L":
                raise ValueError(f"it is {image.size[0]}x{image.size[1]} {image.mode}")
            image.load()
            part = image.reduce(1 << reduce) if reduce else image
            x, y, width, height = region.reduced(reduce)
            return np.asarray(part.crop((x, y, x + width, y + height)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"the alpha channel is damaged ({error})") from error
