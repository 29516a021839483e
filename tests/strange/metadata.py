"""Metadata blocks as they are found in files: good, odd, damaged and hostile; each with what may become of it.

A block that is lost has to be said: KEPT tells for each key how to see in a picture that it is still there, and what
a note has to name where it is not.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

from PIL import Image, ImageCms

from vitcodec.picture import Picture

ORIENTATION, MAKE, EXIF_IFD, GPS_IFD, EXPOSURE, MAKER_NOTE = 0x0112, 0x010F, 0x8769, 0x8825, 0x829A, 0x927C
EXIF, XMP, ICC, TEXT, IPTC, DPI, HDR = "EXIF", "XMP", "ICC", "text", "IPTC", "DPI", "HDR"

# key -> (whether a picture still has such bytes, what a note says where it has not)
KEPT: dict[str, tuple[Callable[[Picture, bytes], bool], str]] = {
    EXIF: (lambda p, data: bool(p.exif), "exif"),
    XMP: (lambda p, data: bool(p.xmp), "xmp"),
    ICC: (lambda p, data: bool(p.icc), "icc|profile"),
    TEXT: (lambda p, data: False, "comment|text|metadata"),
    IPTC: (lambda p, data: bool(data) and data in (p.exif or b""), "iptc|photoshop|8bim|metadata"),
    DPI: (lambda p, data: bool(getattr(p, "dpi", None)), "dpi|resolution|density"),
    HDR: (lambda p, data: False, "hdr|dynamic range|pq|hlg"),
}
EXPOSURE_TIME = struct.pack("<II", 1, 125), struct.pack(">II", 1, 125)
# what EXIF blocks hold that has to be in them for good: alternatives, by byte order
MARKS = ((b"Abc\0",), EXPOSURE_TIME, ("Müller".encode(),), ("Müller".encode("latin-1"),))


@dataclass(frozen=True)
class Block:
    """A block of metadata."""

    key: str  # of KEPT
    name: str  # what is odd about it
    data: bytes
    orientation: int | None = 1  # None: readers differ, or nobody can know
    claimed: bool = True  # something would be lost without it


def lost(block: Block, picture: Picture) -> str | None:
    """What is wrong: the block is neither in the picture nor in its notes."""
    kept, said = KEPT[block.key]
    if (
        not block.claimed
        or kept(picture, block.data)
        or any(re.search(said, note, re.IGNORECASE) for note in picture.notes)
    ):
        return None
    return f"silent loss: {block.key} ({block.name})"


def marks(exif: bytes | None) -> set[int]:
    """Which of MARKS a block has."""
    return {i for i, forms in enumerate(MARKS) if any(form in (exif or b"") for form in forms)}


# EXIF

Entry = tuple[int, int, int, bytes]  # tag, type, count, four bytes of value


def short(tag: int, value: int, order: str) -> Entry:
    return tag, 3, 1, struct.pack(order + "HH", value, 0)


def long(tag: int, value: int, order: str, kind: int = 4) -> Entry:
    return tag, kind, 1, struct.pack(order + "I", value)


def ifd(order: str, entries: list[Entry], following: int = 0) -> bytes:
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    return struct.pack(order + "H", len(entries)) + body + struct.pack(order + "I", following)


def block(order: str, *parts: bytes) -> bytes:
    """A TIFF header, then the first directory at 8."""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + b"".join(parts)


def exif_block(rng: Random) -> Block:
    order = rng.choice("<>")
    make = (MAKE, 2, 4, b"Abc\0")
    turn = rng.randrange(1, 9)
    end = 8 + 2 + 12 * 3 + 4  # of a first directory of three entries
    three = [make, short(ORIENTATION, turn, order)]
    inner = ifd(order, [(EXPOSURE, 5, 1, struct.pack(order + "I", end + 18))]) + struct.pack(order + "II", 1, 125)
    good = block(order, ifd(order, [*three, long(EXIF_IFD, end, order)]), inner)
    name = rng.choice(EXIF_NAMES)
    match name:
        case "camera":
            return Block(EXIF, f"camera, turned {turn}", good, turn)
        case "orientation out of range":
            value = rng.choice([0, 9, 255, 65535])
            return Block(
                EXIF, f"orientation {value}", block(order, ifd(order, [make, short(ORIENTATION, value, order)]))
            )
        case "orientation of another type":
            entry = rng.choice(
                [long(ORIENTATION, turn, order), (ORIENTATION, 2, 2, b"6\0\0\0"), (ORIENTATION, 3, 0, bytes(4))]
            )
            return Block(EXIF, f"orientation of type {entry[1]}", block(order, ifd(order, [make, entry])), None)
        case "orientation twice":
            twice = [make, short(ORIENTATION, turn, order), short(ORIENTATION, 1, order)]
            return Block(EXIF, name, block(order, ifd(order, twice)), None)
        case "empty":
            data = rng.choice([b"", b"II", b"II*\0", block(order), block(order, ifd(order, []))])
            return Block(EXIF, f"empty, {len(data)} bytes", data, claimed=False)
        case "random":
            return Block(EXIF, name, rng.randbytes(rng.randrange(1, 400)), None)
        case "random after its header":
            return Block(EXIF, name, good[:8] + rng.randbytes(rng.randrange(1, 400)), None)
        case "cut off":
            return Block(EXIF, name, good[: rng.randrange(8, len(good))], None)
        case "next directory is the first":
            return Block(EXIF, name, block(order, ifd(order, three, 8)), turn)
        case "inner directory is the first":
            pointer = rng.choice([EXIF_IFD, GPS_IFD])
            return Block(EXIF, name, block(order, ifd(order, [*three, long(pointer, 8, order)])), turn)
        case "inner directory points nowhere":
            at = rng.choice([0, 1, 7, len(good), 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF])
            return Block(
                EXIF, f"inner directory at {at}", block(order, ifd(order, [*three, long(EXIF_IFD, at, order)])), turn
            )
        case "huge count":
            count = rng.choice([1 << 16, 1 << 28, 0x7FFFFFFF, 0xFFFFFFFF])
            entry = (0x9286, rng.choice([1, 2, 5, 7, 12]), count, struct.pack(order + "I", 8))
            return Block(EXIF, f"count {count}", block(order, ifd(order, [*three, entry])), turn)
        case "more entries than bytes":
            data = bytearray(good)
            struct.pack_into(order + "H", data, 8, rng.choice([4, 100, 65535]))
            return Block(EXIF, name, bytes(data), None)
        case "unknown types":
            entry = (0x9290, rng.choice([0, 13, 14, 16, 255, 65535]), 1, bytes(4))
            return Block(EXIF, f"type {entry[1]}", block(order, ifd(order, [*three, entry])), turn)
        case "text that is not ASCII":
            return Block(
                EXIF,
                name,
                block(order, ifd(order, [(MAKE, 2, 4, "Mü\0".encode()), short(ORIENTATION, turn, order)])),
                turn,
            )
        case "division by zero":
            entry = (0x011A, 5, 1, struct.pack(order + "I", end))
            return Block(EXIF, name, block(order, ifd(order, [*three, entry]), bytes(8)), turn)
        case "maker's note":
            size = rng.choice([5, 20_000])
            entry = (MAKER_NOTE, 7, size, struct.pack(order + "I", end))
            return Block(EXIF, name, block(order, ifd(order, [*three, entry]), rng.randbytes(size)), turn)
        case "thumbnail":
            small = io.BytesIO()
            Image.new("RGB", (16, 8), (200, 30, 30)).save(small, "JPEG")
            second = [
                short(0x0103, 6, order),
                long(0x0201, end + 2 + 36 + 4, order),
                long(0x0202, len(small.getvalue()), order),
            ]
            first = [*three, long(EXIF_IFD, 0, order)]
            data = block(order, ifd(order, first, end), ifd(order, second), small.getvalue())
            return Block(EXIF, f"thumbnail, turned {turn}", data, turn)
        case _:  # a chain of directories
            size = 2 + 12 * 2 + 4
            chain = [ifd(order, three, 8 + size * (i + 1)) for i in range(60)]
            return Block(EXIF, name, block(order, *chain, ifd(order, three)), turn)


EXIF_NAMES = (
    *("camera", "camera", "orientation out of range", "orientation of another type", "orientation twice", "empty"),
    *("random", "random after its header", "cut off", "next directory is the first", "inner directory is the first"),
    *("inner directory points nowhere", "huge count", "more entries than bytes", "unknown types"),
    *("text that is not ASCII", "division by zero", "maker's note", "thumbnail", "a chain of directories"),
)


# XMP


def xmp_block(rng: Random) -> Block:
    good = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description dc:title="a"/></rdf:RDF></x:xmpmeta>'
    turn = rng.randrange(2, 9)
    found = {
        "good": (good, 1),
        "turned": (good.replace(b"dc:title", b"tiff:Orientation").replace(b'"a"', b'"%d"' % turn), turn),
        "not UTF-8": (good.replace(b'"a"', b'"\xfc\xff"'), 1),
        "UTF-16": (good.decode().encode("utf-16"), 1),
        "not XML": (b"<<<&;" + bytes([0, 1, 2]) + rng.randbytes(40).replace(b"Orientation", b""), 1),
        "long": (good + b" " * 30_000, 1),
        "entities": (b'<!DOCTYPE a [<!ENTITY b "&c;&c;"><!ENTITY c "&b;">]>' + good.replace(b'"a"', b'"&b;"'), 1),
        "cut off": (good[:50], 1),
    }
    name = rng.choice([*found])
    return Block(XMP, name, *found[name])


# ICC profiles


@cache
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def wide() -> bytes:
    """sRGB's profile with the primaries of Display P3."""
    primaries = {
        b"rXYZ": (0.5151, 0.2412, -0.00105),
        b"gXYZ": (0.2920, 0.6922, 0.0419),
        b"bXYZ": (0.1571, 0.0666, 0.7841),
    }
    data = bytearray(srgb())
    for i in range(struct.unpack_from(">I", data, 128)[0]):
        tag, offset, _ = struct.unpack_from(">4sII", data, 132 + 12 * i)
        if tag in primaries:
            struct.pack_into(">3i", data, offset + 8, *(round(v * 65536) for v in primaries[tag]))
    return bytes(data)


@cache
def linear() -> bytes:
    """sRGB's profile with values in proportion to light."""
    data = bytearray(srgb())
    for i in range(struct.unpack_from(">I", data, 128)[0]):
        tag, offset, _ = struct.unpack_from(">4sII", data, 132 + 12 * i)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            assert data[offset : offset + 4] == b"para"
            struct.pack_into(">5i", data, offset + 12, 65536, 65536, 0, 65536, 0)
    return bytes(data)


@cache
def gray() -> bytes:
    """A gray profile with a gamma of 1.8."""
    tags = b""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH2x", 1, 461)
    for tag, at, size in ((b"wtpt", 156, 20), (b"kTRC", 176, 14)):
        tags += tag + struct.pack(">II", at, size)
    head = struct.pack(">I4x4s4s4s4s12x4s28x", 192, b"\2\x20\0\0", b"mntr", b"GRAY", b"XYZ ", b"acsp")
    return head + white[8:] + bytes(128 - len(head) - 12) + struct.pack(">I", 2) + tags + white + curve


def profile_block(rng: Random) -> Block:
    good = rng.choice([srgb(), wide(), wide(), gray()])
    name = rng.choice(
        ["good", "good", "good", "cut off", "random", "another kind", "device link", "short", "tags", "size"]
    )
    data = bytearray(good)
    match name:
        case "cut off":
            data = data[: rng.randrange(1, len(data) - 40)]
        case "random":
            data = bytearray(rng.randbytes(rng.randrange(1, 600)))
        case "another kind":
            data[16:20] = rng.choice([b"CMYK", b"Lab ", b"GRAY", b"2CLR", b"\0\0\0\0"])
        case "device link":
            data[12:16] = rng.choice([b"link", b"abst", b"nmcl", b"none"])
        case "short":
            data = data[: rng.choice([1, 4, 128, 131])]
        case "tags":
            struct.pack_into(">I", data, 128, rng.choice([0, 1, 101, 0xFFFFFFFF]))
        case "size":
            struct.pack_into(">I", data, 0, rng.choice([0, 127, len(data) - 1, len(data) + 1, 0xFFFFFFFF]))
    return Block(ICC, name, bytes(data))


# text and what Photoshop writes


def text_bytes(rng: Random) -> bytes:
    found = [
        b"a comment",
        "größer".encode(),
        "größer".encode("latin-1"),
        b"\0\0",
        b"%s%n",
        rng.randbytes(30),
        b"x" * 9_000,
    ]
    return rng.choice(found)


def iptc_bytes(rng: Random) -> bytes:
    """An IPTC record in a Photoshop resource, good or damaged."""
    record = b"\x1c\x02\x78" + struct.pack(">H", 5) + b"title"
    good = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0" * (len(record) % 2)
    match rng.randrange(4):
        case 0:
            return good[: rng.randrange(4, len(good))]
        case 1:
            return good[:8] + struct.pack(">I", 0xFFFFFFFF) + record
        case 2:
            return b"8BIM\x03\xed\0\0" + struct.pack(">IIHHIHH", 16, 0, 0, 9, 0, 0, 0) + good  # a resolution of nothing
    return good
