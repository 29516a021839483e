"""The .vitc file: signature, version, then chunks with checksums; docs/format.md is the specification.

Nothing here knows what a token payload means, and neither torch nor PIL is imported, so that `info` and fuzzing start at once. Any bytes give
Contents, or one of FormatError (damaged), UnsupportedError (newer) and LimitError (too large). The chunk layout follows PNG (W3C, "Portable
Network Graphics Specification", section 5), with lengths as varints because a whole file may be 2 KB.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn

from .. import __version__
from ..errors import FormatError, LimitError, UnsupportedError

# a byte above 127, a CR LF, a Ctrl-Z and an LF: each kind of text-mode transfer changes one of them
MAGIC = b"\x89VTC\r\n\x1a\n"
VERSION = 0

LEVELS = (0, 4, 3, 2, 1)  # coding order: 0 = low band, then details from the coarsest level to the finest
TOKENS = {0: "TOKL", 4: "TOKD", 3: "TOKC", 2: "TOKB", 1: "TOKA"}
METADATA = {"ICCP": "iCCP", "EXIF": "eXIF", "XMP ": "xMPD", "ALPH": "ALPH", "MASK": "MASK"}  # key -> chunk type
STORED = {"ALPH"}  # the others are deflated
HEAD, INDEX = "HEAD", "INDX"

TILE_UNIT = 128
TILES = 128, 256, 512, 1024  # what this package writes
MAX_SIDE = 65535
MAX_PIXELS = 1 << 28
MAX_TILES = 1 << 14
MAX_TILE_PIXELS = 1 << 22  # what a decoder has to hold of the entropy model at once
MAX_METADATA = 64 << 20  # bytes of all chunks between HEAD and the index
MAX_MODEL = 64
HASH_SIZE = 8
MAX_VARINT = 5  # bytes

_GRAY = 1
_CRC_SIZE = 4
_MAX_HEAD = 2 * MAX_VARINT + 4 + MAX_MODEL + HASH_SIZE  # the 4: quality, flags, tile, length of the model id
KEYS = {type: key for key, type in METADATA.items()}
_KNOWN = {HEAD, INDEX, *TOKENS.values(), *KEYS}
_COPY = "get a complete and undamaged copy, or decode what is left with --salvage"

Source = bytes | bytearray | memoryview | BinaryIO


@dataclass(frozen=True)
class Header:
    """What the HEAD chunk says. Raises ValueError for values that no file can hold; limits are checked by pack and unpack."""

    width: int  # pixels, at least 1
    height: int
    quality: int  # 1..100
    gray: bool
    model: str  # 1..64 ASCII letters, digits, dots, hyphens and underscores; the first is a letter or digit
    weights: bytes  # the first 8 bytes of the SHA-256 of the model's weights
    tile: int  # side of a token tile in pixels, a multiple of 128 up to 255 * 128

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"the size is {self.width}x{self.height}")
        if not 1 <= self.quality <= 100:
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
        if self.tile % TILE_UNIT or not 1 <= self.tile // TILE_UNIT <= 255:
            raise ValueError(
                f"tiles of {self.tile} pixels are not a multiple of {TILE_UNIT} in 1..255 times {TILE_UNIT}"
            )

    @property
    def tile_columns(self) -> int:
        return -(-self.width // self.tile)

    @property
    def tile_rows(self) -> int:
        return -(-self.height // self.tile)

    @property
    def tiles(self) -> int:
        return self.tile_columns * self.tile_rows


@dataclass
class Contents:
    """A whole file, or its coarse levels.

    metadata: keys among "ICCP", "EXIF", "XMP ", "ALPH" and "MASK".
    tokens: (level, tile) -> payload, with a level of LEVELS and the tile's index in row-major order.
    erased: (level, tile) of what is damaged or cut off; only salvage.unpack leaves any.
    """

    header: Header
    metadata: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[tuple[int, int], bytes] = field(default_factory=dict)
    erased: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Chunk:
    """Where a chunk lies in the file."""

    type: str
    offset: int  # of the type's first letter, in bytes from the start of the file
    length: int  # bytes of payload
    size: int  # bytes of the whole chunk: type, length, payload and checksum


@dataclass(frozen=True)
class Layout:
    """How the bytes of a file are spent: signature and version, then `chunks`, without gaps."""

    header: Header
    chunks: list[Chunk]

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.chunks[-1].offset + self.chunks[-1].size

    @property
    def level_bytes(self) -> dict[int, int]:
        """Level -> bytes of token payload, all tiles together, in coding order."""
        return {level: sum(c.length for c in self.chunks if c.type == TOKENS[level]) for level in LEVELS}


def pack(contents: Contents) -> bytes:
    """The bytes of a .vitc file.

    Raises LimitError if the image, the number of tiles or the metadata are too large, ValueError if the tokens of a level and tile are missing or
    too many, or a metadata key is unknown.
    """
    header, metadata, tokens = contents.header, contents.metadata, contents.tokens
    check_limits(header, "the image")
    if unknown := metadata.keys() - METADATA.keys():
        raise ValueError(f"unknown metadata {sorted(unknown)}; known are {list(METADATA)}")
    _check_metadata(sum(map(len, metadata.values())), "the image")
    keys = list(order(header))
    if tokens.keys() != set(keys):
        raise ValueError(
            f"tokens for {len(tokens)} pairs of level and tile, not exactly those of {len(LEVELS)} levels and {header.tiles} tiles"
        )

    parts = [MAGIC, bytes([VERSION]), _chunk(HEAD, _head_payload(header))]
    parts += [_chunk(type, _deflate(key, metadata[key])) for key, type in METADATA.items() if key in metadata]
    if header.tiles > 1:
        parts.append(_chunk(INDEX, b"".join(_varint(len(tokens[key])) for key in keys)))
    parts += [_chunk(TOKENS[level], tokens[level, tile]) for level, tile in keys]
    return b"".join(parts)


def unpack(source: Source, finest: int = 1, name: str = "<bytes>", tiles: Collection[int] | None = None) -> Contents:
    """Read and check a .vitc file.

    source: the bytes, or a seekable binary stream, read from where it stands to its end.
    finest: 1..5; detail levels below it are neither read nor checked (2 leaves out level 1; 5 reads the low band alone).
    name: how messages call the file.
    tiles: which tiles to read, None for all; the tokens of the others are neither read nor checked.

    Raises FormatError, UnsupportedError or LimitError; OSError only where the stream itself does.
    """
    return _read(source, finest, name, tiles)[0]


def read_header(source: Source, name: str = "<bytes>") -> Header:
    """The header alone: reads and checks at most about 100 bytes. Raises as unpack does."""
    return read_head(Reader(source, name))[0]


def describe(source: Source, name: str = "<bytes>") -> Layout:
    """Where every chunk lies, unknown ones too; the whole file is checked. Raises as unpack does."""
    contents, chunks = _read(source, 1, name, None)
    return Layout(contents.header, chunks)


class Reader:
    """Reads exactly what is asked for, or says that the file is truncated before anything is allocated."""

    def __init__(self, source: Source, name: str):
        self.stream = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        self.name, self.position, start = name, 0, self.stream.tell()
        self.remaining = max(self.stream.seek(0, io.SEEK_END) - start, 0)
        self.stream.seek(start)

    def damaged(self, what: str) -> FormatError:
        return _damaged(self.name, what)

    def truncated(self) -> FormatError:
        return FormatError(
            f"{self.name}: truncated: it ends too early, after {self.position + self.remaining} bytes; {_COPY}"
        )

    def read(self, count: int) -> bytes:
        if count > self.remaining:
            raise self.truncated()
        data = self.stream.read(count)
        while len(data) < count:  # an unbuffered stream may return less than asked for
            more = self.stream.read(count - len(data))
            if not more:
                raise self.truncated()
            data += more
        self.position += count
        self.remaining -= count
        return data

    def varint(self) -> int:
        """A canonical LEB128 number: no byte more than it needs."""
        value = 0
        for i in range(MAX_VARINT):
            byte = self.read(1)[0]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                if i and not byte:
                    break
                return value
        raise self.damaged(f"no valid number before byte {self.position}")

    def skip(self, count: int) -> None:
        if count > self.remaining:
            raise self.truncated()
        self.stream.seek(count, io.SEEK_CUR)
        self.position += count
        self.remaining -= count

    def chunk(self) -> Chunk:
        """The type and length of the next chunk; its payload, which is there in full, comes next."""
        offset, type = self.position, self.read(4)
        if not type.isalpha():
            raise self.damaged(f"no chunk begins at byte {offset}")
        length = self.varint()
        if length + _CRC_SIZE > self.remaining:
            raise self.truncated()
        return Chunk(type.decode("ascii"), offset, length, self.position - offset + length + _CRC_SIZE)

    def payload(self, chunk: Chunk) -> bytes:
        payload = self.read(chunk.length)
        if self.read(_CRC_SIZE) != _crc(_start(chunk.type, chunk.length), payload):
            raise self.damaged(f"the checksum of chunk {chunk.type} at byte {chunk.offset} is wrong")
        return payload

    def refuse(self, chunk: Chunk) -> NoReturn:
        """Say why a chunk cannot stand here; the checksum first, as the type itself may be damaged."""
        self.payload(chunk)
        if chunk.type in _KNOWN or not _critical(chunk.type):
            raise self.damaged(f"chunk {chunk.type} at byte {chunk.offset} is out of place")
        raise UnsupportedError(
            f"{self.name}: needs vitcodec > {__version__}: chunk {chunk.type} is unknown to this one; upgrade vitcodec"
        )


def _read(source: Source, finest: int, name: str, tiles: Collection[int] | None) -> tuple[Contents, list[Chunk]]:
    if finest not in range(1, 6):
        raise ValueError(f"the finest level to read is {finest}, not in 1..5")
    reader = Reader(source, name)
    header, chunk = read_head(reader)
    contents, chunks = Contents(header), [chunk]
    sizes, first = _read_until_tokens(reader, contents, chunks)
    for number, (level, tile) in enumerate(order(header)):
        if 0 < level < finest:
            break
        if tiles is not None and tile not in tiles and sizes:
            reader.skip(chunk_size(sizes[number]))
            continue
        chunk, first = first or reader.chunk(), None
        if chunk.type != TOKENS[level]:
            reader.refuse(chunk)
        if sizes and chunk.length != sizes[number]:
            raise reader.damaged(
                f"chunk {chunk.type} at byte {chunk.offset} has {chunk.length} bytes, the index says {sizes[number]}"
            )
        contents.tokens[level, tile] = reader.payload(chunk)
        chunks.append(chunk)
    else:
        if reader.remaining:
            raise reader.damaged(f"{reader.remaining} bytes too many at its end")
    return contents, chunks


def read_head(reader: Reader) -> tuple[Header, Chunk]:
    name, magic = reader.name, reader.read(min(len(MAGIC), reader.remaining))
    if magic != MAGIC:
        if MAGIC.startswith(magic):
            raise reader.truncated()
        if magic.startswith(MAGIC[:4]):
            raise reader.damaged("its line ends were changed, as by a transfer in text mode")
        raise FormatError(f"{name}: not a .vitc file; only files that vitcodec has encoded can be decoded")
    version = reader.read(1)[0]
    if version > VERSION:
        # format N is first read by vitcodec N.0, see docs/format.md
        raise UnsupportedError(
            f"{name}: needs vitcodec >= {version}.0 for format version {version}; this is {__version__}; upgrade vitcodec"
        )
    chunk = reader.chunk()
    if chunk.type != HEAD or chunk.length > _MAX_HEAD:
        raise reader.damaged("it does not begin with a header")
    header = _parse_head(Reader(reader.payload(chunk), f"{name}: header"))
    check_limits(header, name)
    return header, chunk


def _parse_head(fields: Reader) -> Header:
    width, height = fields.varint(), fields.varint()
    quality, flags, tile, model_length = fields.read(4)
    model, weights = fields.read(model_length), fields.read(HASH_SIZE)
    if fields.remaining:
        raise fields.damaged("it is too long")
    if flags & ~_GRAY:
        raise UnsupportedError(
            f"{fields.name}: needs vitcodec > {__version__}: flags {flags:#04x} are unknown to this one; upgrade vitcodec"
        )
    try:
        return Header(width, height, quality, bool(flags & _GRAY), model.decode("latin-1"), weights, tile * TILE_UNIT)
    except ValueError as error:
        raise FormatError(f"{fields.name}: invalid: {error}; {_COPY}") from None


def _read_until_tokens(reader: Reader, contents: Contents, chunks: list[Chunk]) -> tuple[list[int], Chunk | None]:
    """Read what stands between HEAD and the tokens.

    Returns the index, or, if there is one tile only, an empty one and the first token chunk, of which type and length have been read.
    """
    spent, inflated, tiles = 0, 0, contents.header.tiles
    last = INDEX if tiles > 1 else TOKENS[LEVELS[0]]
    while (chunk := reader.chunk()).type != last:
        key = KEYS.get(chunk.type)
        if key in contents.metadata or (key is None and _critical(chunk.type)):
            reader.refuse(chunk)
        spent += chunk.length
        _check_metadata(spent, reader.name)
        payload = reader.payload(chunk)
        if key is not None:
            contents.metadata[key] = read_metadata(key, payload, MAX_METADATA - inflated, reader.name, chunk)
            inflated += len(contents.metadata[key])
        chunks.append(chunk)
    if tiles == 1:
        return [], chunk
    chunks.append(chunk)
    return read_index(reader, chunk, tiles), None


def read_metadata(key: str, payload: bytes, limit: int, name: str, chunk: Chunk) -> bytes:
    """The metadata in a chunk's payload, of which at most `limit` bytes are inflated."""
    return payload if key in STORED else _inflate(payload, limit, name, chunk)


def read_index(reader: Reader, chunk: Chunk, tiles: int) -> list[int]:
    count = len(LEVELS) * tiles
    if not count <= chunk.length <= MAX_VARINT * count:
        raise reader.damaged(f"its index of {chunk.length} bytes cannot hold {count} sizes")
    fields = Reader(reader.payload(chunk), f"{reader.name}: index")
    sizes = [fields.varint() for _ in range(count)]
    if fields.remaining:
        raise fields.damaged("it is too long")
    return sizes


def order(header: Header) -> Iterator[tuple[int, int]]:
    """(level, tile) of every token chunk, in the file's order."""
    return ((level, tile) for level in LEVELS for tile in range(header.tiles))


def check_limits(header: Header, name: str) -> None:
    """Raises LimitError."""
    size = f"{name}: {header.width}x{header.height} pixels"
    if max(header.width, header.height) > MAX_SIDE or header.width * header.height > MAX_PIXELS:
        raise LimitError(f"{size} exceed the limit of {MAX_SIDE} a side and {MAX_PIXELS} in all; split the image")
    if header.tiles > MAX_TILES:
        raise LimitError(f"{size} are {header.tiles} tiles, more than {MAX_TILES}; use larger tiles")
    if min(header.width, header.tile) * min(header.height, header.tile) > MAX_TILE_PIXELS:
        raise LimitError(
            f"{size} in tiles of {header.tile} exceed the limit of {MAX_TILE_PIXELS} pixels a tile; use smaller tiles"
        )


def _check_metadata(size: int, name: str) -> None:
    if size > MAX_METADATA:
        raise LimitError(
            f"{name}: more than {MAX_METADATA >> 20} MiB of profile, EXIF, XMP and alpha; strip the metadata"
        )


def _deflate(key: str, data: bytes) -> bytes:
    return data if key in STORED else zlib.compress(data, 9)


def _inflate(data: bytes, limit: int, name: str, chunk: Chunk) -> bytes:
    """The content of a deflated chunk, at most `limit` bytes: more is never allocated."""
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(data, limit + 1)
    except zlib.error:
        raise _damaged(name, f"chunk {chunk.type} at byte {chunk.offset} is not a zlib stream") from None
    if len(out) > limit:
        _check_metadata(MAX_METADATA + 1, name)
    if not inflater.eof or inflater.unused_data:
        raise _damaged(name, f"chunk {chunk.type} at byte {chunk.offset} is not one whole zlib stream")
    return out


def _damaged(name: str, what: str) -> FormatError:
    return FormatError(f"{name}: damaged: {what}; {_COPY}")


def _critical(type: str) -> bool:
    return type[0].isupper()


def _head_payload(header: Header) -> bytes:
    fixed = bytes([header.quality, _GRAY * header.gray, header.tile // TILE_UNIT, len(header.model)])
    return _varint(header.width) + _varint(header.height) + fixed + header.model.encode("ascii") + header.weights


def _varint(value: int) -> bytes:
    """LEB128: seven bits a byte, lowest first, bit 7 set on all bytes but the last."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def chunk_size(length: int) -> int:
    """Bytes of a whole chunk with a payload of `length` bytes."""
    return 4 + len(_varint(length)) + length + _CRC_SIZE


def _start(type: str, length: int) -> bytes:
    return type.encode("ascii") + _varint(length)


def _crc(start: bytes, payload: bytes) -> bytes:
    return zlib.crc32(payload, zlib.crc32(start)).to_bytes(_CRC_SIZE, "little")


def _chunk(type: str, payload: bytes) -> bytes:
    start = _start(type, len(payload))
    return start + payload + _crc(start, payload)
