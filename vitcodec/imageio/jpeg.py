"""The segments of JPEG files: what Pillow does not tell of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .metadata import PIXEL_SHAPE, FileMetadata, per_inch

_XMP, _MORE_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_GAIN_MAP = (b"urn:iso:std:iso:ts:21496:-1", b"hdrgm:Version", b"HDRGainMap")
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_SCAN, _COMMENT, _APP = 0xDA, 0xFE, range(0xE0, 0xF0)
_OF_PIXELS = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}  # marker -> how it begins, how long it is at least


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, begin, end) of every segment's payload before the first scan, as far as they are whole."""
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            place += 1
            continue
        marker = data[place + 1]
        if marker in (0xFF, 0x00) or marker in _ALONE:
            place += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        end = place + 2 + length
        if length < 2 or end > len(data):
            return
        yield marker, place + 4, end
        if marker == _SCAN:
            return
        place = end


def read(data: bytes) -> FileMetadata:
    """What a file says beside its pixels."""
    out, gain_map, further, profile = FileMetadata(), False, False, list[bytes]()
    for marker, begin, end in segments(data):
        payload = data[begin:end]
        if marker == _COMMENT:
            out.left_out.append("comment")
        elif marker == 0xE0 and payload[:5] == b"JFIF\0" and len(payload) >= 12:
            unit, x, y = struct.unpack_from(">BHH", payload, 7)
            factor = {1: 1.0, 2: 2.54}.get(unit, 0.0)
            out.dpi = per_inch(x * factor, y * factor)
            out.left_out += [] if unit or x == y else [PIXEL_SHAPE]
        elif marker == 0xE1 and payload[:6] == b"Exif\0\0" and out.exif is None:
            out.exif = payload[6:]
        elif marker == 0xE1 and payload.startswith(_XMP) and out.xmp is None:
            out.xmp = payload[len(_XMP) :]
        elif marker == 0xE1 and payload.startswith(_MORE_XMP):
            out.left_out.append("extended XMP")
        elif marker == 0xE2 and payload.startswith(_ICC):
            profile.append(payload[len(_ICC) :])
        elif marker == 0xE2 and payload[:4] == b"MPF\0":
            further = True
        elif marker == 0xEB and payload[:2] == b"JP":
            out.left_out.append("content credentials")
        elif marker == 0xED and payload.startswith(b"Photoshop 3.0\0"):
            out.left_out.append("IPTC" if b"8BIM\x04\x04" in payload else "Photoshop data")
        gain_map = gain_map or (marker in _APP and any(mark in payload for mark in _GAIN_MAP))
    if gain_map:
        out.left_out.append("gain map (HDR)")
    elif further:
        out.left_out.append("further pictures")
    if any(mark in (out.xmp or b"") for mark in (b'MotionPhoto="1"', b'MicroVideo="1"')):
        out.left_out.append("video")
    if profile and not (found := _joined(profile)):
        out.damaged("ICC profile")
    elif profile:
        out.icc = found
    return out


def _joined(parts: list[bytes]) -> bytes:
    """A profile of parts that begin with their number and how many there are; b"" where these do not fit together."""
    for count in dict.fromkeys(part[1:2] for part in parts):
        some = sorted(part for part in parts if part[1:2] == count)
        if count and [part[0] for part in some] == [*range(1, count[0] + 1)]:
            return b"".join(part[2:] for part in some)
    return b""


def pixels_only(data: bytes) -> bytes:
    """The file without comments and application segments, but for the two that tell a decoder about colours."""
    kept, last = [data[:2]], 2
    for marker, begin, end in segments(data):
        if marker == _SCAN:
            break
        head, least = _OF_PIXELS.get(marker, (b"", 0))
        of_pixels = head and data.startswith(head, begin) and end - begin >= least
        if of_pixels or (marker not in _APP and marker != _COMMENT):
            kept.append(data[begin - 4 : end])
        last = end
    return b"".join([*kept, data[last:]])
