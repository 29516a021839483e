"""The HEAD chunk of a .vitc file: what everything else depends on, and the limits on it."""

from __future__ import annotations

from dataclasses import dataclass

from .. import __version__
from ..errors import FormatError, LimitError, UnsupportedError
from ..options import QUALITIES
from ..tiles import TileGrid
from .chunks import ADVICE, MAX_VARINT, Reader, varint

TILE_UNIT = 128  # pixels
MAX_SIDE = 65535
MAX_PIXELS = 1 << 28
MAX_TILES = 1 << 14
MAX_TILE_PIXELS = 1 << 22  # what a decoder has to hold of the context model at once
MAX_MODEL = 64
HASH_SIZE = 8
MAX_HEAD = 2 * MAX_VARINT + 4 + MAX_MODEL + HASH_SIZE  # the 4: quality, flags, tile, length of the model id
LOSSLESS = 0  # in place of a quality
_GRAY, _ONCE, _MORE = 1, 2, 4  # flags; the second is set in files of version 0
_ENHANCED = 3  # the bit from which on three hold the number of the enhancement
ENHANCEMENTS = range(8)  # its numbers; 0: none


@dataclass(frozen=True)
class Header:
    """What the HEAD chunk says.

    Raises ValueError for values that no file can hold; limits are checked by pack and unpack.
    """

    width: int  # pixels, at least 1
    height: int
    quality: int  # 1..100, or LOSSLESS: the file holds pixels in place of tokens
    gray: bool
    model: str  # 1..64 ASCII letters, digits, dots, hyphens and underscores; the first is a letter or digit
    weights: bytes  # the first 8 bytes of the SHA-256 of the model's weights
    tile: int  # side of a tile in pixels, a multiple of 128 up to 255 * 128
    enhancement: int = 0  # which of the model's enhancements the pixels are made with, of ENHANCEMENTS

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"the size is {self.width}x{self.height}")
        if self.tile % TILE_UNIT or not 1 <= self.tile // TILE_UNIT <= 255:
            raise ValueError(
                f"tiles of {self.tile} pixels are not a multiple of {TILE_UNIT} in 1..255 times {TILE_UNIT}"
            )
        if self.lossless:
            if self.model or self.weights or self.enhancement:
                raise ValueError("it is lossless and names a model or an enhancement")
            return
        if self.enhancement not in ENHANCEMENTS:
            raise ValueError(f"enhancement {self.enhancement} is outside 0..7")
        if self.quality not in QUALITIES:
            raise ValueError(f"quality {self.quality} is outside 1..100")
        if not 1 <= len(self.model) <= MAX_MODEL:
            raise ValueError(f"the model id has {len(self.model)} characters, not 1..{MAX_MODEL}")
        # no slash, space or control character: the id becomes a folder's name and part of messages
        if not (
            self.model.isascii() and self.model[0].isalnum() and all(c.isalnum() or c in "._-" for c in self.model)
        ):
            raise ValueError(f"the model id {self.model!a} has characters other than letters, digits, '.', '-' and '_'")
        if len(self.weights) != HASH_SIZE:
            raise ValueError(f"the hash of the weights has {len(self.weights)} bytes, not {HASH_SIZE}")

    @property
    def lossless(self) -> bool:
        """Whether the file holds pixels, which no model is needed for, in place of tokens."""
        return self.quality == LOSSLESS

    @property
    def grid(self) -> TileGrid:
        return TileGrid(self.width, self.height, self.tile)


def pack_header(header: Header, more: bool = False) -> bytes:
    """The payload of HEAD. more: whether metadata follow after the picture."""
    flags = _GRAY * header.gray + _MORE * more + (header.enhancement << _ENHANCED)
    fixed = bytes([header.quality, flags, header.tile // TILE_UNIT, len(header.model)])
    return varint(header.width) + varint(header.height) + fixed + header.model.encode("ascii") + header.weights


def parse_header(fields: Reader, version: int = 1) -> tuple[Header, bool]:
    """The inverse of pack_header. version: of the file's format. Raises FormatError, UnsupportedError."""
    width, height = fields.varint(), fields.varint()
    quality, flags, tile, model_length = fields.read(4)
    enhanced = ENHANCEMENTS[-1] << _ENHANCED if version else 0
    if flags & ~(_GRAY | _MORE | enhanced | (0 if version else _ONCE)):
        raise UnsupportedError(
            f"{fields.name}: needs vitcodec > {__version__}: flags {flags:#04x} are unknown to this one; "
            "upgrade vitcodec"
        )
    if version == 0 and quality != LOSSLESS:
        raise UnsupportedError(
            f"{fields.name}: of a draft of the format from before version 1, whose tokens this vitcodec does not read; "
            "decode it with vitcodec 0.1"
        )
    if version == 0 and not flags & _ONCE:
        raise fields.damaged("its flags are of no version")
    model, weights = fields.read(model_length), b"" if quality == LOSSLESS else fields.read(HASH_SIZE)
    if fields.remaining:
        raise fields.damaged("it is too long")
    gray, more = bool(flags & _GRAY), bool(flags & _MORE)
    try:
        name = model.decode("latin-1")
        number = flags >> _ENHANCED & ENHANCEMENTS[-1]
        return Header(width, height, quality, gray, name, weights, tile * TILE_UNIT, number), more
    except ValueError as error:
        raise FormatError(f"{fields.name}: invalid: {error}; {ADVICE}") from None


def check_limits(header: Header, name: str) -> None:
    """Raises LimitError."""
    size = f"{name}: {header.width}x{header.height} pixels"
    if max(header.width, header.height) > MAX_SIDE or header.width * header.height > MAX_PIXELS:
        raise LimitError(f"{size} exceed the limit of {MAX_SIDE} a side and {MAX_PIXELS} in all; split the image")
    if header.grid.count > MAX_TILES:
        raise LimitError(f"{size} are {header.grid.count} tiles, more than {MAX_TILES}; use larger tiles")
    if min(header.width, header.tile) * min(header.height, header.tile) > MAX_TILE_PIXELS:
        raise LimitError(
            f"{size} in tiles of {header.tile} exceed the limit of {MAX_TILE_PIXELS} pixels a tile; use smaller tiles"
        )
