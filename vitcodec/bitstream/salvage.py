"""Damaged .vitc files: finding what is intact. Opt-in: container.unpack refuses such files.

The header has to be intact, as nothing can be read without it. Of the rest every chunk whose checksum is right is
taken. With the index each token chunk is found whatever happened to the others; without it they are searched for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import FormatError, LimitError
from . import container
from .chunks import Chunk, Reader, Source, chunk_size
from .container import BACK, DONE, INDEX, KEYS, MAX_METADATA, PAYLOADS, PIXELS, Contents
from .header import Header

# times the file's size that checksums are computed over at most, so that a hostile file cannot make the search endless
_SEARCH = 16


@dataclass
class Salvaged:
    """contents.erased lists the payloads that were not received; `damage` tells people of them and of damaged metadata.

    Both are empty if the file is whole.
    """

    contents: Contents
    damage: list[str] = field(default_factory=list)


def unpack(source: Source, finest: int = 1, name: str = "<bytes>") -> Salvaged:
    """Read what is intact of a .vitc file; parameters as for container.unpack.

    Raises FormatError where the header is damaged or no tile's low band is intact, UnsupportedError, LimitError.
    """
    reader = Reader(source, name)
    header, more, _ = container.read_head(reader)
    found = Salvaged(Contents(header))
    search = ChunkSearch(reader.read(reader.remaining), name)
    start, sizes = _read_front(search, found)
    if _damaged_chunk("MASK") in found.damage:
        raise FormatError(
            f"{name}: damaged: nothing can be salvaged, as the mask of erased tokens is; "
            "get a complete and undamaged copy"
        )
    order = list(container.payload_order(header))
    wanted = [(level, tile) for level, tile in order if level == 0 or level >= finest]
    found.contents.payloads = _by_index(search, start, wanted, sizes) if sizes else _by_search(search, start, wanted)
    found.contents.erased = frozenset(wanted) - found.contents.payloads.keys()
    first = order[0][0]
    if not any(level == first for level, _ in found.contents.payloads):
        what = "pixels are" if header.lossless else "low band is"
        raise FormatError(
            f"{name}: damaged: nothing can be salvaged, as no tile's {what} intact; get a complete and undamaged copy"
        )
    if found.contents.erased:
        found.damage.append(_describe(header, found.contents.erased))
    if more:
        _read_back(search, start, found)
    return found


class ChunkSearch:
    """What follows the header, looked at from anywhere."""

    def __init__(self, data: bytes, name: str):
        self.data, self.name, self.budget = data, name, _SEARCH * len(data)

    def frame(self, start: int) -> Chunk | None:
        """The chunk that seems to begin at byte `start`, if there is room for it."""
        if not 0 <= start < len(self.data):
            return None
        reader = Reader(self.data[start : start + 9], self.name)
        try:
            type, length = reader.read(4), reader.varint()
        except FormatError:
            return None
        size = chunk_size(length)
        return (
            Chunk(type.decode("ascii"), start, length, size)
            if type.isalpha() and start + size <= len(self.data)
            else None
        )

    def payload(self, chunk: Chunk) -> bytes | None:
        """The chunk's payload, if its checksum is right."""
        self.budget -= chunk.size
        if self.budget < 0:
            return None
        reader = Reader(self.data[chunk.offset : chunk.offset + chunk.size], self.name)
        try:
            return reader.payload(reader.chunk())
        except FormatError:
            return None

    def all(self, type: str, start: int) -> Iterator[tuple[Chunk, bytes]]:
        """Every intact chunk of a type from byte `start` on."""
        while self.budget > 0 and (start := self.data.find(type.encode(), start)) >= 0:
            chunk = self.frame(start)
            payload = self.payload(chunk) if chunk else None
            if chunk and payload is not None:
                yield chunk, payload
                start += chunk.size
            else:
                start += 1


def _read_front(search: ChunkSearch, found: Salvaged) -> tuple[int, list[int]]:
    """Where the payloads begin, and the index; empty if there is one tile only or it is lost."""
    header, position = found.contents.header, 0
    last = INDEX if header.grid.count > 1 else PAYLOADS[container.levels_of(header)[0]]
    while (chunk := search.frame(position)) is not None and chunk.type not in PAYLOADS.values():
        payload, end = search.payload(chunk), position + chunk.size
        if payload is None:
            found.damage.append(_damaged_chunk(chunk.type))
            if search.frame(end) is None:  # its length is, too
                break
        elif chunk.type == last:
            return end, _index(search, chunk, header)
        else:
            _keep(search, chunk, payload, found)
        position = end
    else:
        if chunk is not None:
            return position, []
    # something is wrong with the order: go on from the next chunk that can only be the right one
    found.damage = found.damage or ["what stands before the picture is damaged"]
    for chunk, _ in search.all(last, position):
        return (
            (chunk.offset + chunk.size, _index(search, chunk, header)) if header.grid.count > 1 else (chunk.offset, [])
        )
    return position, []


def _read_back(search: ChunkSearch, position: int, found: Salvaged) -> None:
    """Read the metadata that follow the picture, and say what is missing. position: where the payloads begin."""
    while (chunk := search.frame(position)) is not None and chunk.type != DONE:
        if chunk.type in KEYS:
            payload = search.payload(chunk)
            if payload is None:
                found.damage.append(_damaged_chunk(chunk.type))
            else:
                _keep(search, chunk, payload, found)
        position += chunk.size
    if chunk is None:
        for type in BACK.values():
            for intact, payload in search.all(type, position):
                _keep(search, intact, payload, found)
                break
        found.damage.append("damaged or cut off after the picture: metadata may be missing")


def _index(search: ChunkSearch, chunk: Chunk, header: Header) -> list[int]:
    reader = Reader(search.data[chunk.offset : chunk.offset + chunk.size], search.name)
    try:
        return container.read_index(reader, reader.chunk(), len(list(container.payload_order(header))))
    except FormatError:  # a right checksum and wrong contents: not by accident
        return []


def _keep(search: ChunkSearch, chunk: Chunk, payload: bytes, found: Salvaged) -> None:
    """Keep a chunk's metadata, if it is any and the first of its kind."""
    key = KEYS.get(chunk.type)
    if key is None or key in found.contents.metadata:
        return
    limit = MAX_METADATA - sum(map(len, found.contents.metadata.values()))
    try:
        found.contents.metadata[key] = container.read_metadata(key, payload, limit, search.name, chunk)
    except (FormatError, LimitError):
        found.damage.append(_damaged_chunk(chunk.type))


def _by_index(
    search: ChunkSearch, start: int, wanted: list[tuple[int, int]], sizes: list[int]
) -> dict[tuple[int, int], bytes]:
    tokens = {}
    for (level, tile), size in zip(wanted, sizes, strict=False):
        chunk = search.frame(start)
        if chunk and (chunk.type, chunk.length) == (PAYLOADS[level], size):
            payload = search.payload(chunk)
            if payload is not None:
                tokens[level, tile] = payload
        start += chunk_size(size)
    return tokens


def _by_search(search: ChunkSearch, start: int, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Without an index: the number of a tile is known if its level is complete, or nothing is missing before it."""
    tiles, tokens = 1 + max(tile for _, tile in wanted), {}
    for level in dict.fromkeys(level for level, _ in wanted):
        chunks = list(search.all(PAYLOADS[level], start))
        whole = len(chunks) == tiles
        for tile, (chunk, payload) in enumerate(chunks[:tiles]):
            if chunk.offset != start and not whole:
                break
            tokens[level, tile] = payload
            start = chunk.offset + chunk.size
        if chunks:
            start = max(start, chunks[-1][0].offset + chunks[-1][0].size)
    return tokens


def _damaged_chunk(type: str) -> str:
    return f"chunk {type} is damaged"


def _describe(header: Header, erased: frozenset[tuple[int, int]]) -> str:
    parts = []
    for level in container.levels_of(header):
        count = sum(own == level for own, _ in erased)
        if count:
            what = f"the details of level {level}" if 0 < level < PIXELS else "pixels" if level else "the low band"
            parts.append(what if header.grid.count == 1 else f"{what} in {count} of {header.grid.count} tiles")
    return f"erased: {', '.join(parts)}"
