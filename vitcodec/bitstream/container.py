"""The .vitc file: signature, version, then chunks with checksums; docs/format.md is the specification.

Nothing here knows what a token payload means, and neither torch nor PIL is imported, so that `info` and fuzzing start
at once. Any bytes give Contents, or one of FormatError (damaged), UnsupportedError (newer) and LimitError (too large).
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from .. import __version__
from ..errors import FormatError, LimitError, UnsupportedError
from ..subbands import CODING_ORDER
from .chunks import MAX_VARINT, Chunk, Reader, Source, chunk_size, damaged, is_critical, pack_chunk, varint
from .header import MAX_HEAD, Header, check_limits, pack_header, parse_header

# a byte above 127, a CR LF, a Ctrl-Z and an LF: each kind of text-mode transfer changes one of them
MAGIC = b"\x89VTC\r\n\x1a\n"
VERSION = 0

TOKENS = {0: "TOKL", 4: "TOKD", 3: "TOKC", 2: "TOKB", 1: "TOKA"}
METADATA = {  # key -> chunk type
    **{"NAME": "iNAM", "CICP": "cICP", "DPI ": "dPIX"},
    **{"ICCP": "iCCP", "EXIF": "eXIF", "XMP ": "xMPD", "ALPH": "ALPH", "MASK": "MASK"},
}
STORED = {"NAME", "CICP", "DPI ", "ALPH"}  # the others are deflated
HEAD, INDEX = "HEAD", "INDX"

MAX_METADATA = 64 << 20  # bytes of all chunks between HEAD and the index

KEYS = {type: key for key, type in METADATA.items()}
_KNOWN = {HEAD, INDEX, *TOKENS.values(), *KEYS}


@dataclass
class Contents:
    """A whole file, or its coarse levels.

    metadata: keys of METADATA.
    tokens: (level, tile) -> payload, with a level of CODING_ORDER and the tile's index in row-major order.
    erased: (level, tile) of payloads that are damaged or cut off; only salvage.unpack leaves any.
    """

    header: Header
    metadata: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[tuple[int, int], bytes] = field(default_factory=dict)
    erased: frozenset[tuple[int, int]] = frozenset()


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
        return {level: sum(c.length for c in self.chunks if c.type == TOKENS[level]) for level in CODING_ORDER}


def pack(contents: Contents) -> bytes:
    """The bytes of a .vitc file.

    Raises LimitError if the image, the number of tiles or the metadata are too large, ValueError if the tokens of a
    level and tile are missing or too many, or a metadata key is unknown.
    """
    header, metadata, tokens = contents.header, contents.metadata, contents.tokens
    check_limits(header, "the image")
    if unknown := metadata.keys() - METADATA.keys():
        raise ValueError(f"unknown metadata {sorted(unknown)}; known are {list(METADATA)}")
    _check_metadata(sum(map(len, metadata.values())), "the image")
    keys = list(token_order(header))
    if tokens.keys() != set(keys):
        raise ValueError(
            f"tokens for {len(tokens)} pairs of level and tile, not exactly those of {len(CODING_ORDER)} levels and "
            f"{header.grid.count} tiles"
        )

    parts = [MAGIC, bytes([VERSION]), pack_chunk(HEAD, pack_header(header))]
    parts += [pack_chunk(type, _deflate(key, metadata[key])) for key, type in METADATA.items() if key in metadata]
    if header.grid.count > 1:
        parts.append(pack_chunk(INDEX, b"".join(varint(len(tokens[key])) for key in keys)))
    parts += [pack_chunk(TOKENS[level], tokens[level, tile]) for level, tile in keys]
    return b"".join(parts)


def unpack(source: Source, finest: int = 1, name: str = "<bytes>", tiles: Collection[int] | None = None) -> Contents:
    """Read and check a .vitc file.

    source: the bytes, or a seekable binary stream, read from where it stands to its end. finest: 1..5; detail levels
    below it are neither read nor checked (2 leaves out level 1; 5 reads the low band alone). name: how messages call
    the file. tiles: which tiles to read, None for all; the tokens of the others are neither read nor checked.

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


def _read(source: Source, finest: int, name: str, tiles: Collection[int] | None) -> tuple[Contents, list[Chunk]]:
    if finest not in range(1, 6):
        raise ValueError(f"the finest level to read is {finest}, not in 1..5")
    reader = Reader(source, name)
    header, chunk = read_head(reader)
    contents, chunks = Contents(header), [chunk]
    sizes, first = _read_until_tokens(reader, contents, chunks)
    for number, (level, tile) in enumerate(token_order(header)):
        if 0 < level < finest:
            break
        if tiles is not None and tile not in tiles and sizes:
            reader.skip(chunk_size(sizes[number]))
            continue
        chunk, first = first or reader.chunk(), None
        if chunk.type != TOKENS[level]:
            reader.refuse(chunk, _KNOWN)
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
    """Signature, version and header, and where the header's chunk lies. Raises as unpack does."""
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
            f"{name}: needs vitcodec >= {version}.0 for format version {version}; this is {__version__}; "
            "upgrade vitcodec"
        )
    chunk = reader.chunk()
    if chunk.type != HEAD or chunk.length > MAX_HEAD:
        raise reader.damaged("it does not begin with a header")
    header = parse_header(Reader(reader.payload(chunk), f"{name}: header"))
    check_limits(header, name)
    return header, chunk


def _read_until_tokens(reader: Reader, contents: Contents, chunks: list[Chunk]) -> tuple[list[int], Chunk | None]:
    """Read what stands between HEAD and the tokens.

    Returns the index, or, if there is one tile only, an empty one and the first token chunk, of which type and length
    have been read.
    """
    spent, inflated, tiles = 0, 0, contents.header.grid.count
    last = INDEX if tiles > 1 else TOKENS[CODING_ORDER[0]]
    while (chunk := reader.chunk()).type != last:
        key = KEYS.get(chunk.type)
        if key in contents.metadata or (key is None and is_critical(chunk.type)):
            reader.refuse(chunk, _KNOWN)
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
    """The sizes of all token payloads, in the order of token_order. Raises FormatError."""
    count = len(CODING_ORDER) * tiles
    if not count <= chunk.length <= MAX_VARINT * count:
        raise reader.damaged(f"its index of {chunk.length} bytes cannot hold {count} sizes")
    fields = Reader(reader.payload(chunk), f"{reader.name}: index")
    sizes = [fields.varint() for _ in range(count)]
    if fields.remaining:
        raise fields.damaged("it is too long")
    return sizes


def token_order(header: Header) -> Iterator[tuple[int, int]]:
    """(level, tile) of every token chunk, in the file's order."""
    return ((level, tile) for level in CODING_ORDER for tile in range(header.grid.count))


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
        raise damaged(name, f"chunk {chunk.type} at byte {chunk.offset} is not a zlib stream") from None
    if len(out) > limit:
        _check_metadata(MAX_METADATA + 1, name)
    if not inflater.eof or inflater.unused_data:
        raise damaged(name, f"chunk {chunk.type} at byte {chunk.offset} is not one whole zlib stream")
    return out
