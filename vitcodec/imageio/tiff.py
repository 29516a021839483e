"""The directories of TIFF files, and of EXIF blocks, which are built as those: read and written byte by byte.

Pillow decodes text as Latin-1 and writes it as ASCII; here every value stays the bytes that it is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WORDS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}  # bytes that change places with the byte order
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q"}
EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
POINTERS = frozenset((EXIF_IFD, GPS_IFD, INTEROP_IFD))
WIDTH, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA = 256, 262, 277, 284, 338
# how pixels are stored: sizes, samples, compression, strips and tiles, palette, what JPEG and YCbCr need
PIXELS = frozenset(
    (
        *(
            WIDTH,
            257,
            258,
            259,
            PHOTOMETRIC,
            266,
            273,
            SAMPLES,
            278,
            279,
            PLANAR,
            292,
            293,
            317,
            320,
            322,
            323,
            324,
            325,
        ),
        *(332, 334, 336, EXTRA, 339, 347, *range(512, 522), 529, 530, 531, 532),
    )
)
_MOST_ENTRIES = 4096


@dataclass
class Entry:
    """One value. directory: what a pointer points to."""

    type: int
    data: bytes
    directory: dict[int, Entry] | None = None

    @property
    def count(self) -> int:
        return len(self.data) // _SIZES[self.type]


@dataclass
class Tiff:
    """The first directory of a file or block."""

    order: str  # "<" or ">"
    entries: dict[int, Entry] = field(default_factory=dict)  # by tag
    intact: bool = True  # False: some entries pointed outside the file, or were of unknown types
    following: int = 0  # offset of the second directory, 0 for none
    spans: list[tuple[int, int]] = field(default_factory=list)  # which bytes it takes, with those that it points to

    def numbers(self, tag: int) -> tuple[int, ...]:
        """An integer tag's values, () where it is not there."""
        entry = self.entries.get(tag)
        if entry is None or entry.type not in _INTEGERS:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{_INTEGERS[entry.type]}", entry.data)

    def number(self, tag: int, default: int) -> int:
        """An integer tag's first value."""
        return (self.numbers(tag) or (default,))[0]

    def ratio(self, tag: int) -> float:
        """A rational tag's first value, 0 where it is not there."""
        entry = self.entries.get(tag)
        if entry is None or entry.type != 5 or not entry.count:
            return 0.0
        numerator, denominator = struct.unpack_from(self.order + "II", entry.data)
        return float(numerator / denominator) if denominator else 0.0


def parse(data: bytes) -> Tiff | None:
    """The first directory of a TIFF file (BigTIFF too) or EXIF block, as far as it is intact; None for other bytes."""
    reader = _reader(data)
    if reader is None:
        return None
    out = Tiff(reader.order, reader.directory(reader.start))
    out.intact, out.spans = reader.intact, reader.spans
    following = reader.raw(reader.start)[1]
    if following not in reader.directories and reader.raw(following)[0]:
        out.following = following
    return out


def pixels_only(data: bytes) -> bytes:
    """A TIFF file with a directory, put behind it, of nothing but the tags in PIXELS that are intact.

    It has no second directory. Of a tag that is there twice the first counts, as for libtiff. Other bytes stay as they
    are.
    """
    reader = _reader(data)
    if reader is None:
        return data
    kept: dict[int, bytes] = {}
    for entry in reader.raw(reader.start)[0]:
        tag, kind, count, value = struct.unpack(reader.order + reader.one, entry)
        if tag in PIXELS and tag not in kept and count and reader.entry(kind, count, value):
            kept[tag] = entry
    head, place = data[: 8 if reader.big else 4], len(data) + len(data) % 2
    where, size = struct.pack(reader.order + reader.word, place), struct.pack(reader.order + reader.head, len(kept))
    directory = size + b"".join(kept[tag] for tag in sorted(kept)) + bytes(len(where))
    return b"".join([head, where, memoryview(data)[len(head) + len(where) :], bytes(len(data) % 2), directory])


def _reader(data: bytes) -> _Reader | None:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    (version,) = struct.unpack_from(order + "H", data, 2)
    known = version == 42 or (version == 43 and len(data) >= 16)
    return _Reader(data, order, big=version == 43) if known else None


class _Reader:
    """head, one, word: how the number of entries, an entry and an offset are packed. start: of the first directory."""

    def __init__(self, data: bytes, order: str, big: bool):
        self.data, self.order, self.big = data, order, big
        self.head, self.one, self.word = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
        (self.start,) = struct.unpack_from(order + self.word, data, 8 if big else 4)
        self.intact, self.budget = True, 2 * len(data)
        self.directories = set[int]()
        self.spans: list[tuple[int, int]] = []

    def raw(self, start: int) -> tuple[list[bytes], int]:
        """The entries of the directory at `start` that are whole, and the offset of the next directory, 0 for none."""
        head, step, word = (struct.calcsize("<" + kind) for kind in (self.head, self.one, self.word))
        first = start + head
        if start < 8 or first > len(self.data):
            self.intact = False
            return [], 0
        (count,) = struct.unpack_from(self.order + self.head, self.data, start)
        end = first + step * min(count, (len(self.data) - first) // step, _MOST_ENTRIES)
        entries = [self.data[place : place + step] for place in range(first, end, step)]
        if len(entries) < count:
            self.intact = False
        whole = len(entries) == count and end + word <= len(self.data)
        return entries, struct.unpack_from(self.order + self.word, self.data, end)[0] if whole else 0

    def directory(self, start: int, depth: int = 0) -> dict[int, Entry]:
        """The entries of a directory, then what its pointers point to, which may be nothing but noise."""
        self.directories.add(start)
        raw, entries = self.raw(start)[0], dict[int, Entry]()
        self.spans.append((start, start + struct.calcsize("<" + self.head + self.word) + sum(map(len, raw))))
        for packed in raw:
            tag, kind, count, value = struct.unpack(self.order + self.one, packed)
            entry = self.entry(kind, count, value)
            if entry is None:
                self.intact = False
            else:
                entries[tag] = entry
        for tag in POINTERS & entries.keys():
            pointer = entries[tag]
            where = int.from_bytes(pointer.data[: _SIZES[pointer.type]], "little" if self.order == "<" else "big")
            if depth < 2 and where not in self.directories:
                pointer.directory = self.directory(where, depth + 1)
            if not pointer.directory:
                self.intact = False
                del entries[tag]
        return entries

    def entry(self, kind: int, count: int, value: bytes) -> Entry | None:
        """None where its type is unknown, or its value lies outside the file."""
        size = _SIZES.get(kind, 0) * count
        if kind not in _SIZES or size > self.budget:
            return None
        if size > len(value):
            (offset,) = struct.unpack(self.order + self.word, value)
            value = self.data[offset : offset + size]
            if len(value) < size:
                return None
            self.spans.append((offset, offset + size))
            self.budget -= size
        return Entry(kind, bytes(value[:size]))


def swapped(entries: dict[int, Entry]) -> dict[int, Entry]:
    """Entries in the other byte order."""
    out = {}
    for tag, entry in entries.items():
        word, data = _WORDS.get(entry.type, 1), entry.data
        if word > 1:
            data = b"".join(data[i : i + word][::-1] for i in range(0, len(data), word))
        out[tag] = Entry(entry.type, data, None if entry.directory is None else swapped(entry.directory))
    return out


def classic(entries: dict[int, Entry]) -> dict[int, Entry]:
    """Those entries that every reader of TIFF and EXIF knows: none of BigTIFF's types."""
    return {
        tag: Entry(e.type, e.data, None if e.directory is None else classic(e.directory))
        for tag, e in entries.items()
        if e.type < 16 or e.directory is not None
    }


def block(tiff: Tiff) -> bytes:
    """An EXIF block that holds these entries."""
    mark = b"II*\0" if tiff.order == "<" else b"MM\0*"
    data, start = _directory(classic(tiff.entries), tiff.order, 8, {}, 0)
    return mark + struct.pack(tiff.order + "I", start) + data


def extended(data: bytes, entries: dict[int, Entry], order: str) -> bytes:
    """A TIFF file with further entries in its first directory; those that it has stay as they are.

    order: the byte order of the entries. Raises ValueError where the file is no plain TIFF.
    """
    tiff = parse(data)
    if tiff is None or not tiff.intact or data[2:4] not in (b"*\0", b"\0*"):
        raise ValueError("not a plain TIFF file")
    added = entries if order == tiff.order else swapped(entries)
    (start,) = struct.unpack_from(tiff.order + "I", data, 4)
    (count,) = struct.unpack_from(tiff.order + "H", data, start)
    there = {}
    for place in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from(tiff.order + "H", data, place)
        there[tag] = data[place : place + 12]
    data += bytes(len(data) % 2)
    new = {tag: entry for tag, entry in classic(added).items() if tag not in there}
    tail, where = _directory(new, tiff.order, len(data), there, tiff.following)
    return data[:4] + struct.pack(tiff.order + "I", where) + data[8:] + tail


def _directory(
    entries: dict[int, Entry], order: str, base: int, ready: dict[int, bytes], following: int
) -> tuple[bytes, int]:
    """A directory and what it points to, to stand at offset `base`; returns the bytes and the directory's offset.

    ready: entries that are packed already.
    """
    packed, data = dict(ready), b""
    for tag, entry in entries.items():
        if entry.directory is not None:
            inner, place = _directory(entry.directory, order, base + len(data), {}, 0)
            data += inner
            packed[tag] = struct.pack(order + "HHII", tag, 4, 1, place)
        elif len(entry.data) <= 4:
            packed[tag] = struct.pack(order + "HHI", tag, entry.type, entry.count) + entry.data.ljust(4, b"\0")
        else:
            packed[tag] = struct.pack(order + "HHII", tag, entry.type, entry.count, base + len(data))
            data += entry.data + bytes(len(entry.data) % 2)
    table = struct.pack(order + "H", len(packed)) + b"".join(packed[tag] for tag in sorted(packed))
    return data + table + struct.pack(order + "I", following), base + len(data)
