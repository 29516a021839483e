"""EXIF and XMP of images: with the orientation applied and reset, stale thumbnails taken out, and for TIFF files.

Blocks of EXIF begin with their TIFF header, "II" or "MM", without the prefix that JPEG puts before it. What can stay in
place does: writing a block anew breaks the offsets that makers' notes hold.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from . import tiff

PREFIX = b"Exif\0\0"  # before the block in a JPEG file
ORIENTATION = 0x0112
TIFF_XMP = 700
_PLACE, _STRIPS = (0x0201, 0x0202), (0x0111, 0x0117)  # where a thumbnail lies, and its size: JPEG, or pixels
_COLOURS = {301, 318, 319}  # transfer function, white and primaries
# tags that say how a TIFF file stores its pixels, or hold what is kept elsewhere: no part of the metadata
_STRUCTURE = tiff.PIXELS | {
    *(254, 255, 263, 264, 265, ORIENTATION, 282, 283, 290, 291, 296, 297, *_COLOURS, 321, 326, 327, 328, 330, 333, 340),
    *(341, 342, 343, 344, 345, 346, 433, 434, 435, 559, TIFF_XMP, 34675, 34377, 37439, 37724),
}
_RESOLUTION = {282, 283, 296}  # kept in DPI; an EXIF block has them for the picture as well
_LARGE = 1 << 20  # bytes; a private tag of more is no description of the picture


def usable(data: bytes | None) -> bytes | None:
    """A block without JPEG's prefix, b"" where there is nothing in it, or None where it is no EXIF at all."""
    block = (data or b"").removeprefix(PREFIX)
    found = tiff.parse(block)
    if found is None or not found.entries:
        return b"" if found and found.intact else None
    return block


def orientation_of(block: bytes | None, xmp: bytes | None) -> int:
    """1 to 8; of XMP where EXIF says nothing, 1 where both say nothing."""
    found = tiff.parse(block) if block else None
    stated = found.numbers(ORIENTATION) if found else ()
    if not stated and (match := re.search(rb"""tiff:Orientation(?:=["']|>)([1-8])""", xmp or b"")):
        stated = (int(match[1]),)
    return stated[0] if stated and stated[0] in range(1, 9) else 1


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W) or (H, W, C), turned or mirrored as its orientation says."""
    if orientation in (3, 4, 6, 7):
        array = array[::-1]
    if orientation in (2, 3, 7, 8):
        array = array[:, ::-1]
    return np.ascontiguousarray(array.swapaxes(0, 1) if orientation > 4 else array)


def reset_orientation(block: bytes) -> bytes:
    """A block with its orientation tag set to 1, in place, or as far as it is intact."""
    order = "<" if block[:2] == b"II" else ">"
    out = bytearray(block)
    for entry in _entries(out, order, _first(block, order)):
        if struct.unpack_from(order + "H", out, entry)[0] == ORIENTATION:
            struct.pack_into(order + "HIHH", out, entry + 2, 3, 1, 1, 0)  # one SHORT, 1
    return bytes(out)


def without_orientation(block: bytes) -> bytes:
    """A block without its orientation tag: the entries behind it move up."""
    order = "<" if block[:2] == b"II" else ">"
    out, start = bytearray(block), _first(block, order)
    places = _entries(out, order, start)
    found = [p for p in places if struct.unpack_from(order + "H", out, p)[0] == ORIENTATION]
    if found and len(out) >= places[-1] + 16:
        end = places[-1] + 16  # with the offset of the next directory
        out[found[0] : end] = out[found[0] + 12 : end] + bytes(12)
        struct.pack_into(order + "H", out, start, len(places) - 1)
    return bytes(out)


def without_thumbnail(block: bytes) -> bytes:
    """A block without the second directory, which describes a thumbnail, and without that; all else stays in place."""
    order = "<" if block[:2] == b"II" else ">"
    out, start = bytearray(block), _first(block, order)
    link = start + 2 + 12 * len(_entries(out, order, start))
    if not start or len(out) < link + 4:
        return block
    (second,) = struct.unpack_from(order + "I", out, link)
    inner = _entries(out, order, second) if second else []
    if not inner:
        return block
    values = {}
    for place in inner:
        tag, kind, count, value = struct.unpack_from(order + "HHII", out, place)
        if kind == 3 and count == 1:
            value = struct.unpack_from(order + "H", out, place + 8)[0]
        values[tag] = value
    struct.pack_into(order + "I", out, link, 0)
    kept = bytes(out)
    found = tiff.parse(kept)
    used = [(0, 8), *(found.spans if found else [])]  # in odd blocks both directories share bytes
    pixels = [(values.get(at, 0), values.get(at, 0) + values.get(size, 0)) for at, size in (_PLACE, _STRIPS)]
    blank = [(begin, end) for begin, end in [(second, inner[-1] + 16), *pixels] if begin >= 8]
    for begin, end in blank:
        out[begin:end] = bytes(len(out[begin:end]))
    for begin, end in used:
        out[begin:end] = kept[begin:end]
    last = [begin for begin, end in blank if end >= len(out)]
    if last:
        del out[max(min(last), *(end for _, end in used)) :]
    return bytes(out)


def _first(block: bytes | bytearray, order: str) -> int:
    return int(struct.unpack_from(order + "I", block, 4)[0]) if len(block) >= 8 else 0


def _entries(block: bytearray, order: str, start: int) -> list[int]:
    """Where the entries of the directory at `start` lie, those that are whole."""
    if not 8 <= start <= len(block) - 2:
        return []
    (count,) = struct.unpack_from(order + "H", block, start)
    whole = min(count, (len(block) - start - 2) // 12)
    return list(range(start + 2, start + 2 + 12 * whole, 12))


def upright_xmp(xmp: bytes) -> bytes:
    """An XMP packet with the orientation reset, and without the zeros that end a text; b"" where it is nothing else."""
    text = xmp.rstrip(b"\0")
    xmp = xmp if b"\0" in text else text  # in UTF-16, zeros are parts of letters
    return re.sub(rb"""(tiff:Orientation(?:=["']|>))[2-8]""", rb"\g<1>1", xmp)


def xmp_without_thumbnails(xmp: bytes) -> bytes:
    """An XMP packet without the thumbnails that some programs put into it."""
    return re.sub(rb"<xmp:Thumbnails\b.*?</xmp:Thumbnails>", b"", xmp, flags=re.DOTALL)


def from_tiff(found: tiff.Tiff) -> tuple[bytes | None, list[str]]:
    """The EXIF block that the tags of a TIFF file make, and what is left out of it."""
    kept = {tag: entry for tag, entry in found.entries.items() if tag not in _STRUCTURE}
    large = {tag for tag, entry in kept.items() if len(entry.data) > _LARGE}
    left_out = ["large private tags"] if large else []
    left_out += ["Photoshop data"] if found.entries.keys() & {34377, 37724} else []
    left_out += ["further pictures"] if 330 in found.entries else []
    left_out += ["primaries or transfer function"] if found.entries.keys() & _COLOURS else []
    kept = {tag: entry for tag, entry in kept.items() if tag not in large}
    return tiff.block(tiff.Tiff(found.order, kept)) if kept else None, left_out


def into_tiff(data: bytes, block: bytes | None, xmp: bytes | None) -> bytes:
    """A TIFF file with EXIF and XMP added, without tags that would contradict how it stores its pixels."""
    found = tiff.parse(block) if block else None
    order = found.order if found else "<"
    drop = _STRUCTURE - _RESOLUTION
    entries = {tag: e for tag, e in found.entries.items() if tag not in drop} if found else {}
    if xmp:
        entries[TIFF_XMP] = tiff.Entry(1, xmp)
    return tiff.extended(data, entries, order) if entries else data
