"""The boxes of AVIF and HEIF files (ISO 14496-12 and 23008-12): what Pillow does not tell of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction

from . import cicp
from .metadata import FileMetadata


def brand(data: bytes) -> bytes:
    """The major brand, b"" where the file has no such boxes."""
    return data[8:12] if data[4:8] == b"ftyp" else b""


def read(data: bytes, width: int, height: int) -> FileMetadata:
    """What the file says of its main picture. width, height: before it is cropped."""
    out = FileMetadata()
    try:
        items = _Items(data)
    except (struct.error, ValueError, IndexError):
        return out
    if any(kind == b"tmap" for kind in items.kinds.values()):
        out.left_out.append("gain map")
    sizes = [
        struct.unpack_from(">II", payload, 4) for kind, payload in items.properties if kind == b"ispe" and payload[11:]
    ]
    for kind, payload in items.properties:
        if kind == b"clap" and (width, height) not in sizes:
            continue  # whoever decoded it has cropped it
        try:
            _property(kind, payload, width, height, out)
        except (struct.error, IndexError, ZeroDivisionError):
            continue
    return out


def without_exif(data: bytes) -> bytes:
    """The file with its EXIF item under a name that no reader looks for."""
    place = data.find(b"infe")
    while place > 0:
        found = data.find(b"Exif", place, place + 24)
        if found > 0:
            return data[:found] + b"skip" + data[found + 4 :]
        place = data.find(b"infe", place + 4)
    return data


def _property(kind: bytes, payload: bytes, width: int, height: int, out: FileMetadata) -> None:
    if kind == b"colr" and payload[:4] == b"nclx":
        primaries, transfer = struct.unpack_from(">HH", payload, 4)
        points = bytes([primaries & 255, transfer & 255, 0, 1])  # pixels arrive as RGB of full range
        if not cicp.is_srgb(points):
            out.cicp = points
    elif kind == b"av1C":
        bits = 8 if not payload[2] & 0x40 else 12 if payload[2] & 0x20 else 10
        out.monochrome = bool(payload[2] & 0x10)
        if bits > 8:
            out.notes.append(f"{bits}-bit reduced to 8")
    elif kind == b"clap":
        out.crop = _clean_aperture(payload, width, height)


def _clean_aperture(payload: bytes, width: int, height: int) -> tuple[int, int, int, int] | None:
    """(x, y, width, height) of the part of a picture that is to be shown; None where it is no part of it."""
    values = struct.unpack(">IIIIiIiI", payload[:32])
    w, h, right, down = (Fraction(*values[i : i + 2]) for i in (0, 2, 4, 6))
    x, y = right + (width - w) / 2, down + (height - h) / 2  # the offsets are those of the centre
    if w.denominator != 1 or h.denominator != 1 or min(w, h) < 1 or min(x, y) < 0:
        return None
    left, top = int(x), int(y)
    return (left, top, int(w), int(h)) if left + w <= width and top + h <= height else None


class _Items:
    """The items of a file: their kinds by number, and the properties of the main one, in order."""

    def __init__(self, data: bytes):
        self.kinds: dict[int, bytes] = {}
        self.properties: list[tuple[bytes, bytes]] = []
        meta = next((data[b:e] for kind, b, e in boxes(data) if kind == b"meta"), b"")
        inner = {kind: meta[b:e] for kind, b, e in boxes(meta, 4)}
        primary = inner.get(b"pitm", b"")
        self.primary = struct.unpack_from(">I" if primary[:1] == b"\1" else ">H", primary, 4)[0]
        infos = inner.get(b"iinf", b"")
        for kind, begin, end in boxes(infos, 8 if infos[:1] > b"\0" else 6):
            if kind == b"infe":
                self._info(infos[begin:end])
        iprp = inner.get(b"iprp", b"")
        parts = {kind: iprp[b:e] for kind, b, e in boxes(iprp)}
        every = [(kind, parts[b"ipco"][b:e]) for kind, b, e in boxes(parts.get(b"ipco", b""))]
        self.properties = [every[i - 1] for i in self._associated(parts.get(b"ipma", b"")) if 0 < i <= len(every)]

    def _info(self, payload: bytes) -> None:
        if payload[0] in (2, 3):
            number, _, kind = struct.unpack_from(">HH4s" if payload[0] == 2 else ">IH4s", payload, 4)
            self.kinds[number] = kind

    def _associated(self, payload: bytes) -> list[int]:
        """Which properties the main item has."""
        version, wide = payload[:1], payload[3:4] > b"\0" and bool(payload[3] & 1)
        (count,) = struct.unpack_from(">I", payload, 4)
        place = 8
        for _ in range(count):
            item, number = struct.unpack_from(">HB" if version == b"\0" else ">IB", payload, place)
            place += 3 if version == b"\0" else 5
            step = 2 if wide else 1
            found = [
                int.from_bytes(payload[place + i * step : place + (i + 1) * step], "big") & (0x7FFF if wide else 0x7F)
                for i in range(number)
            ]
            if item == self.primary:
                return found
            place += number * step
        return []


def boxes(data: bytes, start: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """(type, begin, end) of the boxes in data, as far as they are whole."""
    place = start
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1 and place + 16 <= len(data):
            (size,), head = struct.unpack_from(">Q", data, place + 8), 16
        elif size == 0:
            size = len(data) - place
        if size < head or place + size > len(data):
            return
        yield kind, place + head, place + size
        place += size
