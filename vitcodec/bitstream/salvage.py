"""Damaged .vitc files: finding what is intact. Opt-in: container.unpack refuses such files.

The header has to be intact, as nothing can be read without it. Of the rest every chunk whose checksum is right is
taken. With the index each payload is found whatever happened to the others; without it they are searched for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import FormatError, LimitError
from . import container
from .chunks import Chunk, Reader, Source, chunk_size, is_critical
from .container import DONE, INDEX, KEYS, KNOWN, MAX_METADATA, METADATA, PAYLOADS, PIXELS, Contents
from .glance import glance
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

    Raises FormatError where the header, the mask or the qualities of tiles are damaged or no tile's low band is intact,
    UnsupportedError, LimitError.
    """
    reader = Reader(source, name)
    header, more, _ = container.read_head(reader)
    found = Salvaged(Contents(header))
    search = ChunkSearch(reader.read(reader.remaining), name)
    start, sizes = _read_front(search, found)
    for type, what in (("MASK", "the mask of erased tokens is"), ("TILQ", "the qualities of its tiles are")):
        if _damaged_chunk(type) in found.damage:
            raise FormatError(f"{name}: damaged: nothing can be salvaged, as {what}; get a complete and undamaged copy")
    order = list(container.payload_order(header))
    wanted = {(level, tile) for level, tile in order if level == 0 or level >= finest}
    intact, end = _by_index(search, start, order, sizes) if sizes else _by_search(search, start, order)
    found.contents.payloads = {key: payload for key, payload in intact.items() if key in wanted}
    found.contents.erased = frozenset(wanted - intact.keys())
    first = order[0][0]
    if not any(level == first for level, _ in found.contents.payloads):
        what = "pixels are" if header.lossless else "low band is"
        raise FormatError(
            f"{name}: damaged: nothing can be salvaged, as no tile's {what} intact; get a complete and undamaged copy"
        )
    if found.contents.erased:
        found.damage.append(_describe(header, found.contents.erased))
    if more:
        _read_back(search, start, end, found)
    elif end < len(search.data) and len(intact) == len(order):
        found.damage.append(_superfluous(search, end))
    return found


def is_whole(source: Source) -> bool:
    """Whether all chunks of a file are there, by their lengths alone: what they hold is not read.

    Raises FormatError where the header is damaged, UnsupportedError, LimitError.
    """
    return glance(source, "<file>", ()).whole


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

    def reader(self, chunk: Chunk) -> Reader:
        """A reader of one chunk."""
        return Reader(self.data[chunk.offset : chunk.offset + chunk.size], self.name)

    def payload(self, chunk: Chunk) -> bytes | None:
        """The chunk's payload, if its checksum is right."""
        self.budget -= chunk.size
        if self.budget < 0:
            return None
        reader = self.reader(chunk)
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
    header, position, suspect = found.contents.header, 0, -1  # suspect: where the first damaged chunk begins
    last, allowed = container.before_payloads(header), container.allowed_metadata(header, behind=False)
    while (chunk := search.frame(position)) is not None and chunk.type not in PAYLOADS.values():
        payload, end = search.payload(chunk), position + chunk.size
        if payload is None:
            found.damage.append(_damaged_chunk(chunk.type))
            suspect = position if suspect < 0 else suspect
            if search.frame(end) is None:  # its length is damaged, too
                break
        elif chunk.type == last:
            if suspect >= 0:
                _search_metadata(search, suspect, position, found, allowed)
            return end, _index(search, chunk, found)
        else:
            _keep(search, chunk, payload, found, allowed)
        position = end
    if chunk is not None and suspect < 0:
        if last == INDEX:
            found.damage.append(f"chunk {INDEX} is missing")
        return position, []
    # a length may be wrong, so that something was passed over: go on from the next chunk that can only be the right one
    found.damage = found.damage or ["what stands before the picture is damaged"]
    suspect, sizes = position if suspect < 0 else suspect, list[int]()
    if right := next(search.all(last, suspect), None):
        position = right[0].offset
        if last == INDEX:
            position, sizes = position + right[0].size, _index(search, right[0], found)
    else:
        first = next(search.all(PAYLOADS[container.levels_of(header)[0]], suspect), None)
        position = position if first and position <= first[0].offset else suspect
    _search_metadata(search, suspect, position, found, allowed)
    return position, sizes


def _read_back(search: ChunkSearch, start: int, position: int, found: Salvaged) -> None:
    """Read the metadata behind the picture, and say what is damaged.

    start: where the payloads begin. position: where they end, or, without an index, the last one that is intact.
    """
    allowed = container.allowed_metadata(found.contents.header, behind=True)
    while (chunk := search.frame(position)) is not None:
        payload, position = search.payload(chunk), position + chunk.size
        if payload is None:
            if chunk.type not in PAYLOADS.values():  # of those it was said before
                found.damage.append(_damaged_chunk(chunk.type))
        elif chunk.type != DONE:
            _keep(search, chunk, payload, found, allowed)
        else:
            if payload:
                found.damage.append(f"chunk {DONE} is not empty")
            if position < len(search.data):
                found.damage.append(_superfluous(search, position))
            break
    else:
        found.damage.append("damaged or cut off after the picture: metadata may be missing")
    if found.damage:
        _search_metadata(search, start, len(search.data), found, allowed)


def _search_metadata(search: ChunkSearch, start: int, end: int, found: Salvaged, allowed: set[str]) -> None:
    """Keep the metadata that begin between two places; a damaged length may have passed over them."""
    for key in sorted(allowed - found.contents.metadata.keys()):
        intact = next(search.all(METADATA[key], start), None)
        if intact and intact[0].offset < end:
            _keep(search, *intact, found, allowed)


def _index(search: ChunkSearch, chunk: Chunk, found: Salvaged) -> list[int]:
    reader = search.reader(chunk)
    try:
        return container.read_index(reader, reader.chunk(), found.contents.header)
    except FormatError:  # a right checksum and wrong contents: not by accident
        found.damage.append(_damaged_chunk(INDEX))
        return []


def _keep(search: ChunkSearch, chunk: Chunk, payload: bytes, found: Salvaged, allowed: set[str]) -> None:
    """Keep an intact chunk's metadata, if it is any. allowed: the keys of those that may stand there.

    Raises UnsupportedError for an unknown chunk without which the picture would be wrong.
    """
    key, metadata = KEYS.get(chunk.type), found.contents.metadata
    if key is None or key in metadata or key not in allowed:
        if chunk.type in KNOWN:
            found.damage.append(f"chunk {chunk.type} at the wrong place: left out")
        elif is_critical(chunk.type):
            reader = search.reader(chunk)
            reader.refuse(reader.chunk(), KNOWN)
        return
    try:
        limit = MAX_METADATA - sum(map(len, metadata.values()))
        metadata[key] = container.read_metadata(key, payload, limit, search.name, chunk)
    except (FormatError, LimitError) as error:
        large = f"chunk {chunk.type} is beyond the limit of metadata: left out"
        what = large if isinstance(error, LimitError) else _damaged_chunk(chunk.type)
        found.damage += [] if what in found.damage else [what]


def _by_index(
    search: ChunkSearch, start: int, order: list[tuple[int, int]], sizes: list[int]
) -> tuple[dict[tuple[int, int], bytes], int]:
    """The payloads that are intact, and where the last one ends."""
    payloads = {}
    for (level, tile), size in zip(order, sizes, strict=True):
        chunk = search.frame(start)
        if chunk and (chunk.type, chunk.length) == (PAYLOADS[level], size):
            payload = search.payload(chunk)
            if payload is not None:
                payloads[level, tile] = payload
        start += chunk_size(size)
    return payloads, start


def _by_search(
    search: ChunkSearch, start: int, order: list[tuple[int, int]]
) -> tuple[dict[tuple[int, int], bytes], int]:
    """Without an index: the payloads whose number is known, and where the last one that is intact ends.

    It is if the level is complete, or nothing is missing before it.
    """
    tiles, payloads = 1 + max(tile for _, tile in order), {}
    for level in dict.fromkeys(level for level, _ in order):
        chunks = list(search.all(PAYLOADS[level], start))
        whole = len(chunks) == tiles
        for tile, (chunk, payload) in enumerate(chunks[:tiles]):
            if chunk.offset != start and not whole:
                break
            payloads[level, tile] = payload
            start = chunk.offset + chunk.size
        if chunks:
            start = max(start, chunks[-1][0].offset + chunks[-1][0].size)
    return payloads, start


def _superfluous(search: ChunkSearch, end: int) -> str:
    return f"{len(search.data) - end} bytes too many at its end"


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
