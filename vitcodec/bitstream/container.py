"""The .vitc file: signature, version, then chunks with checksums; docs/format.md is the specification.

Nothing here knows what a token payload means, and neither torch nor PIL is imported, so that `info` and fuzzing start
at once. Any bytes give Contents, or one of FormatError (damaged), UnsupportedError (newer) and LimitError (too large).
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from .. import __version__
from ..errors import FormatError, LimitError, UnsupportedError
from ..subbands import CODING_ORDER, LEVELS
from .chunks import MAX_VARINT, Chunk, Reader, Source, Truncated, chunk_size, damaged, is_critical, pack_chunk, varint
from .header import MAX_HEAD, Header, check_limits, pack_header, parse_header

# a byte above 127, a CR LF, a Ctrl-Z and an LF: each kind of text-mode transfer changes one of them
MAGIC = b"\x89VTC\r\n\x1a\n"
VERSION = 1  # of the format; of version 0, the drafts before it, lossless files alone are read

TOKENS = {0: "TOKL", 4: "TOKD", 3: "TOKC", 2: "TOKB", 1: "TOKA"}
PIXELS = LEVELS + 1  # stands for a level: the pixels of a lossless file
PAYLOADS = TOKENS | {PIXELS: "PIXL"}
# Key -> chunk type of what belongs to the picture, which comes before it, and of what comes after it, so that half a
# file is half a picture however much else it holds
FRONT = {"QUAL": "TILQ", "FILTER": "FILT", "NAME": "iNAM", "CICP": "cICP", "ALPH": "ALPH", "MASK": "MASK"}
BACK = {"ICCP": "iCCP", "DPI ": "dPIX", "EXIF": "eXIF", "XMP ": "xMPD"}
METADATA = FRONT | BACK
TOKENS_ONLY = {"MASK", "QUAL", "FILTER"}  # what a lossless file cannot have
STORED = {"NAME", "CICP", "DPI ", "ALPH", "FILTER"}  # the others are deflated
HEAD, INDEX, DONE = "HEAD", "INDX", "DONE"

MAX_METADATA = 64 << 20  # bytes of all metadata

KEYS = {type: key for key, type in METADATA.items()}
KNOWN = {HEAD, INDEX, DONE, *PAYLOADS.values(), *KEYS}


@dataclass
class Contents:
    """A whole file, or a part of it.

    metadata: keys of METADATA.
    payloads: (level, tile) -> payload, with a level of CODING_ORDER, or PIXELS in a lossless file, and the tile's index
    in row-major order.
    erased: (level, tile) of payloads that are damaged or cut off; only salvage.unpack leaves any.
    cut: whether the file ends within what was not wanted, so that metadata after the picture may be missing.
    """

    header: Header
    metadata: dict[str, bytes] = field(default_factory=dict)
    payloads: dict[tuple[int, int], bytes] = field(default_factory=dict)
    erased: frozenset[tuple[int, int]] = frozenset()
    cut: bool = False

    @property
    def size(self) -> int:
        """Bytes of the file without metadata."""
        return len(pack(replace(self, metadata={})))


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
        """Level -> bytes of payload, all tiles together, in coding order."""
        levels = levels_of(self.header)
        return {level: sum(c.length for c in self.chunks if c.type == PAYLOADS[level]) for level in levels}


def pack(contents: Contents) -> bytes:
    """The bytes of a .vitc file.

    Raises LimitError if the image, the number of tiles or the metadata are too large, ValueError if the payload of a
    level and tile is missing or too many, or a metadata key is unknown.
    """
    header, metadata, payloads = contents.header, contents.metadata, contents.payloads
    check_limits(header, "the image")
    if unknown := metadata.keys() - METADATA.keys():
        raise ValueError(f"unknown metadata {sorted(unknown)}; known are {list(METADATA)}")
    if wrong := metadata.keys() - _allowed_of(header):
        raise ValueError(f"{sorted(wrong)} cannot be in a lossless file")
    _check_metadata(sum(map(len, metadata.values())), "the image")
    keys = list(payload_order(header))
    if payloads.keys() != set(keys):
        raise ValueError(
            f"payloads for {len(payloads)} pairs of level and tile, not exactly those of {len(levels_of(header))} "
            f"levels and {header.grid.count} tiles"
        )

    def chunks(types: dict[str, str]) -> list[bytes]:
        return [pack_chunk(type, _deflate(key, metadata[key])) for key, type in types.items() if key in metadata]

    back = chunks(BACK)
    parts = [MAGIC, bytes([VERSION]), pack_chunk(HEAD, pack_header(header, bool(back))), *chunks(FRONT)]
    if header.grid.count > 1:
        parts.append(pack_chunk(INDEX, b"".join(varint(len(payloads[key])) for key in keys)))
    parts += [pack_chunk(PAYLOADS[level], payloads[level, tile]) for level, tile in keys]
    if back:
        parts += [*back, pack_chunk(DONE, b"")]
    return b"".join(parts)


def unpack(source: Source, finest: int = 1, name: str = "<bytes>", tiles: Collection[int] | None = None) -> Contents:
    """Read and check a .vitc file.

    source: the bytes, or a seekable binary stream, read from where it stands to its end. finest: 1..5; detail levels
    below it are neither read nor checked (2 leaves out level 1; 5 reads the low band alone). name: how messages call
    the file. tiles: which tiles to read, None for all; the payloads of the others are neither read nor checked.

    Raises FormatError, UnsupportedError or LimitError; OSError only where the stream itself does.
    """
    return _FileReader(source, name).read(finest, tiles).contents


def read_header(source: Source, name: str = "<bytes>") -> Header:
    """The header alone: reads and checks at most about 100 bytes. Raises as unpack does."""
    return read_head(Reader(source, name))[0]


def describe(source: Source, name: str = "<bytes>") -> Layout:
    """Where every chunk lies, unknown ones too; the whole file is checked. Raises as unpack does."""
    read = _FileReader(source, name).read(1, None)
    return Layout(read.contents.header, read.chunks)


class _FileReader:
    """A file that is being read: what was found so far, and what its metadata have taken."""

    def __init__(self, source: Source, name: str):
        self.reader = Reader(source, name)
        header, self.more, chunk = read_head(self.reader)
        self.contents, self.chunks = Contents(header), [chunk]
        self.spent = self.inflated = 0  # bytes of metadata in the file, and as inflated

    def read(self, finest: int, tiles: Collection[int] | None) -> _FileReader:
        if finest not in range(1, 6):
            raise ValueError(f"the finest level to read is {finest}, not in 1..5")
        header = self.contents.header
        first: Chunk | None = self.metadata(before_payloads(header))
        sizes: list[int] = []
        if first and first.type == INDEX:
            sizes, first = read_index(self.reader, first, header), None
        order = list(payload_order(header))  # only now: a header alone may claim many tiles
        wanted = [key for key in order if key[0] == 0 or key[0] >= finest]
        for number, (level, tile) in enumerate(wanted):
            if tiles is not None and tile not in tiles and sizes:
                self.reader.skip(chunk_size(sizes[number]))
                continue
            chunk, first = first or self.reader.chunk(), None
            self.payload(chunk, level, tile, sizes[number] if sizes else None)
        if wanted == order:
            self.back()
        elif self.more:
            try:
                self.skip(order[len(wanted) :], sizes[len(wanted) :])
                self.back()
            except Truncated:
                self.contents.cut = True
        return self

    def metadata(self, last: str) -> Chunk:
        """Read metadata up to a chunk of type `last`, of which type and length are read."""
        allowed = allowed_metadata(self.contents.header, behind=last == DONE)
        while (chunk := self.reader.chunk()).type != last:
            key = KEYS.get(chunk.type)
            misplaced = key is not None and (key in self.contents.metadata or key not in allowed)
            if misplaced or (key is None and is_critical(chunk.type)):
                self.reader.refuse(chunk, KNOWN)
            self.spent += chunk.length
            _check_metadata(self.spent, self.reader.name)
            payload = self.reader.payload(chunk)
            if key is not None:
                limit = MAX_METADATA - self.inflated
                self.contents.metadata[key] = read_metadata(key, payload, limit, self.reader.name, chunk)
                self.inflated += len(self.contents.metadata[key])
            self.chunks.append(chunk)
        self.chunks += [chunk] if last in (INDEX, DONE) else []
        return chunk

    def payload(self, chunk: Chunk, level: int, tile: int, size: int | None) -> None:
        """Read a payload. size: what the index says of it."""
        if chunk.type != PAYLOADS[level]:
            self.reader.refuse(chunk, KNOWN)
        if size not in (None, chunk.length):
            raise self.reader.damaged(
                f"chunk {chunk.type} at byte {chunk.offset} has {chunk.length} bytes, the index says {size}"
            )
        self.contents.payloads[level, tile] = self.reader.payload(chunk)
        self.chunks.append(chunk)

    def skip(self, keys: list[tuple[int, int]], sizes: list[int]) -> None:
        """Go past payloads that are not wanted. sizes: theirs, or empty if there is no index."""
        for size in sizes:
            self.reader.skip(chunk_size(size))
        for level, _ in [] if sizes else keys:
            chunk = self.reader.chunk()
            if chunk.type != PAYLOADS[level]:
                self.reader.refuse(chunk, KNOWN)
            self.reader.skip(chunk.offset + chunk.size - self.reader.position)

    def back(self) -> None:
        """Read what follows the picture, up to the file's end."""
        if self.more:
            done = self.metadata(DONE)
            if done.length:
                raise self.reader.damaged(f"chunk {DONE} is not empty")
            self.reader.payload(done)
        if self.reader.remaining:
            raise self.reader.damaged(f"{self.reader.remaining} bytes too many at its end")


def read_head(reader: Reader) -> tuple[Header, bool, Chunk]:
    """Signature, version and header, whether metadata follow the picture, and where the header's chunk lies.

    Raises as unpack does.
    """
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
    header, more = parse_header(Reader(reader.payload(chunk), f"{name}: header"), version)
    check_limits(header, name)
    return header, more, chunk


def read_metadata(key: str, payload: bytes, limit: int, name: str, chunk: Chunk) -> bytes:
    """The metadata in a chunk's payload, at most `limit` bytes. Raises FormatError, LimitError."""
    if key not in STORED:
        return _inflate(payload, limit, name, chunk)
    if len(payload) > limit:
        _check_metadata(MAX_METADATA + 1, name)
    return payload


def allowed_metadata(header: Header, behind: bool) -> set[str]:
    """The keys of metadata that may stand before a file's picture, or behind it."""
    return set(BACK) if behind else _allowed_of(header)


def _allowed_of(header: Header) -> set[str]:
    return set(METADATA) - (TOKENS_ONLY if header.lossless else set())


def read_index(reader: Reader, chunk: Chunk, header: Header) -> list[int]:
    """The sizes of all of a file's payloads, in the order of payload_order. Raises FormatError."""
    count = len(levels_of(header)) * header.grid.count
    if not count <= chunk.length <= MAX_VARINT * count:
        raise reader.damaged(f"its index of {chunk.length} bytes cannot hold {count} sizes")
    fields = Reader(reader.payload(chunk), f"{reader.name}: index")
    sizes = [fields.varint() for _ in range(count)]
    if fields.remaining:
        raise fields.damaged("it is too long")
    return sizes


def levels_of(header: Header) -> tuple[int, ...]:
    """The levels of a file's payloads, in coding order."""
    return (PIXELS,) if header.lossless else CODING_ORDER


def before_payloads(header: Header) -> str:
    """The type of the chunk that ends the metadata before the picture: the index, or else the first payload."""
    return INDEX if header.grid.count > 1 else PAYLOADS[levels_of(header)[0]]


def payload_order(header: Header) -> Iterator[tuple[int, int]]:
    """(level, tile) of every payload, in the file's order."""
    return ((level, tile) for level in levels_of(header) for tile in range(header.grid.count))


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
