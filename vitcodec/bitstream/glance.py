"""What a file says beside its picture: header, metadata, and where its chunks lie. No payload of the picture is read.

For programs that list files, and for Pillow's plugin. A file that is cut off or damaged behind its header is told as
far as it goes. Neither NumPy nor PIL is imported.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..errors import FormatError, LimitError
from . import container
from .chunks import Chunk, Reader, Source
from .container import DONE, KEYS, MAX_METADATA, METADATA, PAYLOADS, TOKENS
from .header import Header

_LEVELS = {type: level for level, type in PAYLOADS.items()}


@dataclass
class Glance:
    """chunks: those that follow on each other, by their lengths; only those of `metadata` are checked.

    metadata: keys of container.METADATA, as far as they were wanted and are intact. scale_offsets: level -> number of
    tiles whose payload begins with scale offsets. whole: whether all chunks are there.
    """

    header: Header
    chunks: list[Chunk]
    metadata: dict[str, bytes] = field(default_factory=dict)
    scale_offsets: dict[int, int] = field(default_factory=dict)
    whole: bool = False

    def has(self, key: str) -> bool:
        """Whether there is a chunk for a key of METADATA, intact or not."""
        return any(chunk.type == METADATA[key] for chunk in self.chunks)

    @property
    def level_bytes(self) -> dict[int, int]:
        """Level -> bytes of payload that are there, all tiles together, in coding order."""
        return container.Layout(self.header, self.chunks).level_bytes


def glance(source: Source, name: str = "<bytes>", wanted: Collection[str] = tuple(METADATA)) -> Glance:
    """Look through a file. source: bytes, or a seekable binary stream, read from where it stands to its end.

    wanted: the keys of metadata to read. Raises FormatError where the header is damaged, UnsupportedError, LimitError.
    """
    reader = Reader(source, name)
    header, more, chunk = container.read_head(reader)
    found, missing = Glance(header, [chunk]), len(container.levels_of(header)) * header.grid.count
    try:
        while reader.remaining:
            chunk = reader.chunk()
            end = chunk.offset + chunk.size
            found.chunks.append(chunk)
            key, level = KEYS.get(chunk.type), _LEVELS.get(chunk.type)
            missing -= level is not None
            if key is not None and key in wanted and key not in found.metadata:
                _keep(found, key, reader, chunk)
            elif level in TOKENS and chunk.length and reader.read(1)[0] > 127:
                # the first symbol, one of two that are equally probable, is the range coder's first bit
                found.scale_offsets[level] = found.scale_offsets.get(level, 0) + 1
            reader.skip(end - reader.position)
    except FormatError:
        return found
    found.whole = not missing and (chunk.type == DONE or not more)
    return found


def _keep(found: Glance, key: str, reader: Reader, chunk: Chunk) -> None:
    """Read metadata if they are intact, and within the limit together with the others."""
    limit = MAX_METADATA - sum(map(len, found.metadata.values()))
    if chunk.length > limit:
        return
    try:
        found.metadata[key] = container.read_metadata(key, reader.payload(chunk), limit, reader.name, chunk)
    except (FormatError, LimitError):
        return
