"""Pictures out of the learned prior: tokens drawn from what the context model predicts, and those between two pictures.

docs/generate.md says what such pictures are.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .bitstream.container import Contents
from .bitstream.header import MAX_TILE_PIXELS, TILE_UNIT, Header
from .bitstream.metadata import ERASED, FILTER, QUALITY_OF_TILES, tile_qualities
from .coding.sampling import Random, Sampler, SamplingTables
from .errors import LimitError, UsageError
from .options import QUALITIES, EncodeOptions, check_drawing
from .parallel import each
from .subbands import LEVELS, Subbands
from .tiles import assemble, crop
from .tokens import Tokens, check_bands

if TYPE_CHECKING:
    from .pretrained.config import PretrainedConfig

SIZE = 256, 256  # width and height, unless others are asked for
KEEP_LEVELS = range(LEVELS)
MAX_COUNT = 999
_MAX_SIDE = 255 * TILE_UNIT  # of a tile, which a drawn picture is


class Generating:
    """What a Codec can do beside coding: draw pictures, and go from one to another. Both give Tokens to decode."""

    config: PretrainedConfig
    _coder: Any
    _lock: threading.Lock

    def sample(
        self,
        n: int = 1,
        *,
        size: tuple[int, int] | None = None,
        quality: int | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        source: Tokens | None = None,
        keep_levels: int = 2,
    ) -> list[Tokens]:
        """Tokens of n pictures drawn from the learned prior; `decode` and `compress` take them.

        size: width and height in pixels, up to 4,194,304 together; by default 256x256. quality: 1 to 100, by default
        50. temperature: 0.01 to 5; probabilities are taken to the power of 1 / temperature. seed: at least
        0; that of the first picture, the next has the next. A seed gives the same tokens on every machine and device.

        source: tokens of a picture, of this model, of which the low band and the `keep_levels` coarsest of the four
        levels of details (0 to 3) are kept, and the finer ones drawn; it has a size and a quality already. Raises
        UsageError, LimitError, WeightsError, InputError.
        """
        check_drawn(n, temperature, seed)
        known = None
        if source is None:
            header = drawn_header(self.config, size or SIZE, EncodeOptions.quality if quality is None else quality)
            metadata: Mapping[str, bytes] = {}
        else:
            if size is not None or quality is not None:
                raise UsageError("a picture to imagine details of has its size and quality already; leave these out")
            self._check(source.header)
            known, header = coarse(source, keep_levels), source.header
            # the filter was fitted to the details that are no longer there
            metadata = {key: data for key, data in source.metadata.items() if key != FILTER}
        with self._lock:
            decoder = self._coder.decoder
            tables = SamplingTables(decoder.entropy.tables, temperature)
            qualities = tile_qualities(Contents(header, dict(metadata)))

            def drawn(seed: int) -> Tokens:
                def tile(index: int) -> Subbands:
                    area = header.grid.area(index)
                    point = decoder.entropy.point(int(qualities[index % len(qualities)]))
                    own = None if known is None else crop(known, area).map(np.ascontiguousarray)
                    sampler = Sampler(tables, point.base_scales, Random(seed, index), own)
                    return decoder.entropy.run(point, area.h, area.w, sampler)

                indices = range(header.grid.count)
                tiles = dict(zip(indices, each(tile, indices, decoder.threads), strict=True))
                return Tokens(assemble(tiles, header.grid, header.grid.whole), header, metadata)

            return [drawn(seed + k) for k in range(n)]

    def interpolate(self, start: Tokens, end: Tokens, n: int = 8) -> list[Tokens]:
        """Tokens of n pictures, 2 to 999, from `start` to `end`, these two included, in equal steps.

        Each token is the weighted mean of the two, rounded: a cross-fade of latents. Both are of this model, and of one
        size and quality. What only one of them has beside its tokens, as a profile, is left out. Raises UsageError,
        WeightsError, InputError.
        """
        check_interpolated(n)
        for tokens in (start, end):
            self._check(tokens.header)
            _refuse_erased(tokens)
            check_bands(tokens.bands, tokens.header)
        return mixed(start, end, n)

    def _check(self, header: Header) -> None:
        raise NotImplementedError


def check_drawn(n: int, temperature: float, seed: int) -> None:
    """Raises UsageError."""
    if not 1 <= n <= MAX_COUNT:
        raise UsageError(f"{n} pictures cannot be drawn at once; give 1 to {MAX_COUNT}")
    check_drawing(temperature, seed)


def check_interpolated(n: int) -> None:
    """Raises UsageError."""
    if not 2 <= n <= MAX_COUNT:
        raise UsageError(f"{n} pictures are no way from one to another; give 2 to {MAX_COUNT}")


def check_size(size: tuple[int, int]) -> None:
    """Raises UsageError for no size, LimitError."""
    width, height = size
    if min(size) < 1:
        raise UsageError(f"a picture of {width}x{height} pixels has none; give a width and a height of at least 1")
    if max(size) > _MAX_SIDE or width * height > MAX_TILE_PIXELS:
        raise LimitError(
            f"a sample of {width}x{height} pixels exceeds the limit of {_MAX_SIDE} a side and {MAX_TILE_PIXELS:,} in "
            "all; give a smaller size"
        )


def drawn_header(config: PretrainedConfig, size: tuple[int, int], quality: int) -> Header:
    """Of a picture that is one tile, so that it has no seams. Raises UsageError, LimitError."""
    check_size(size)
    if quality not in QUALITIES:
        raise UsageError(f"quality {quality} is out of range; give {QUALITIES[0]} to {QUALITIES[-1]}")
    tile = -(-max(size) // TILE_UNIT) * TILE_UNIT
    return Header(*size, quality, False, config.name, config.identity, tile)


def coarse(source: Tokens, keep_levels: int) -> Subbands:
    """The low band and the `keep_levels` coarsest levels of details. Raises UsageError, InputError."""
    if keep_levels not in KEEP_LEVELS:
        raise UsageError(f"{keep_levels} levels cannot be kept; give {KEEP_LEVELS[0]} to {KEEP_LEVELS[-1]}")
    _refuse_erased(source)
    finest, bands = LEVELS + 1 - keep_levels, source.bands
    if bands.finest > finest:
        raise UsageError(f"the tokens lack level {finest}, which is to be kept; read them with reduce={finest - 1}")
    check_bands(bands, source.header, bands.finest)
    return Subbands(bands.low, bands.details[finest - bands.finest :], finest)


def mixed(start: Tokens, end: Tokens, n: int) -> list[Tokens]:
    """What Generating.interpolate returns. Raises UsageError where the two do not go together."""
    if start.size != end.size:
        sizes = " and ".join("{}x{}".format(*tokens.size) for tokens in (start, end))
        raise UsageError(f"the pictures are of {sizes} pixels; make them one size first")
    qualities = [(t.quality, t.metadata.get(QUALITY_OF_TILES), t.header.tile) for t in (start, end)]
    if qualities[0][0] != qualities[1][0]:
        raise UsageError(f"the qualities are {start.quality} and {end.quality}; encode both pictures at one quality")
    if qualities[0][1] != qualities[1][1] or (qualities[0][1] and qualities[0][2] != qualities[1][2]):
        raise UsageError("the qualities of the pictures' tiles differ; encode both pictures at one quality")
    shared = {key: data for key, data in start.metadata.items() if end.metadata.get(key) == data}
    gray = start.header.gray and end.header.gray
    number = min(start.header.enhancement, end.header.enhancement)
    header = Header(*start.size, start.quality, gray, start.model, start.header.weights, start.header.tile, number)
    steps = n - 1

    def between(k: int) -> Tokens:
        def mix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            """In whole numbers: half rounds away from 0, so that what is opposite stays so."""
            total = a.astype(np.int64) * (steps - k) + b.astype(np.int64) * k
            return (np.sign(total) * ((2 * np.abs(total) + steps) // (2 * steps))).astype(np.int32)

        return Tokens(start.bands.combine(mix, end.bands), header, shared)

    return [between(k) for k in range(n)]


def _refuse_erased(tokens: Tokens) -> None:
    if ERASED in tokens.metadata:
        raise UsageError("the picture has erased tokens, which are in no file; encode it with all tokens")
