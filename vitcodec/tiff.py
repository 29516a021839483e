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
    following: int = 0  # offset of the second directory

    def numbers(self, tag: int) -> tuple[int, ...]:
        """An integer tag's values, () where it is not there."""
        entry = self.entries.get(tag)
        if entry is None or entry.type not in _INTEGERS:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{_INTEGERS[entry.type]}", entry.data)

    def ratio(self, tag: int) -> float:
        """A rational tag's first value, 0 where it is not there."""
        entry = self.entries.get(tag)
        if entry is None or entry.type != 5 or not entry.count:
            return 0.0
        numerator, denominator = struct.unpack_from(self.order + "II", entry.data)
        return float(numerator / denominator) if denominator else 0.0


def parse(data: bytes) -> Tiff | None:
    """The first directory of a TIFF file (BigTIFF too) or EXIF block, as far as it is intact; None for other bytes."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    version = struct.unpack_from(order + "H", data, 2)[0]
    reader = _Reader(data, order, big=version == 43)
    if version not in (42, 43) or len(data) < 16:
        return None
    start = struct.unpack_from(order + ("Q" if reader.big else "I"), data, 8 if reader.big else 4)[0]
    entries, following = reader.directory(start, 0)
    return Tiff(order, entries, reader.intact, following)


class _Reader:
    def __init__(self, data: bytes, order: str, big: bool):
        self.data, self.order, self.big = data, order, big
        self.intact, self.left, self.budget = True, _MOST_ENTRIES, 2 * len(data)

    def directory(self, start: int, depth: int) -> tuple[dict[int, Entry], int]:
        head, one, word = ("Q", "HHQ8s", "Q") if self.big else ("H", "HHI4s", "I")
        step = struct.calcsize("<" + one)
        entries: dict[int, Entry] = {}
        try:
            (count,) = struct.unpack_from(self.order + head, self.data, start)
            place = start + struct.calcsize("<" + head)
            for _ in range(count):
                tag, kind, number, value = struct.unpack_from(self.order + one, self.data, place)
                place += step
                self.left -= 1
                if self.left < 0:
                    raise ValueError
                entry = self.entry(kind, number, value, word)
                if entry is None:
                    self.intact = False
                    continue
                if tag in POINTERS and depth < 2:
                    where = int.from_bytes(entry.data[:8], "little" if self.order == "<" else "big")
                    entry.directory = self.directory(where, depth + 1)[0]
                entries[tag] = entry
            return entries, struct.unpack_from(self.order + word, self.data, place)[0]
        except (struct.error, ValueError, OverflowError):
            self.intact = False
            return entries, 0

    def entry(self, kind: int, count: int, value: bytes, word: str) -> Entry | None:
        size = _SIZES.get(kind, 0) * count
        if kind not in _SIZES:
            return None
        if size > len(value):
            (offset,) = struct.unpack(self.order + word, value)
            value = self.data[offset : offset + size]
        self.budget -= size
        return Entry(kind, bytes(value[:size])) if len(value) >= size and self.budget >= 0 else None


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
