"""The chunks of PNG files: everything beside the pixels is read here, so that nothing odd in it refuses a picture.

Pillow gets the chunks that hold pixels, and nothing else.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from .metadata import PIXEL_SHAPE, FileMetadata, inflate, per_inch
from .profiles import SRGB, SRGB_CURVE, make_profile, primaries_matrix

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_XMP = b"XML:com.adobe.xmp"
# chunk -> what it is called where it is left out; those that change nothing for the eye are not listed
_LEFT_OUT = {
    b"tIME": "time",
    b"caBX": "content credentials",
    b"gdAT": "gain map",
    b"mDCV": "HDR data",
    b"cLLI": "HDR data",
}
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_INCH = 0.0254  # m


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, begin, end) of every chunk's payload, as far as they are whole."""
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        if place + 12 + length > len(data):
            return
        yield data[place + 4 : place + 8], place + 8, place + 8 + length
        place += 12 + length


def chunk(kind: bytes, payload: bytes) -> bytes:
    """The bytes of a chunk."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def pixels_only(data: bytes) -> bytes:
    """The file without what is no pixels; tRNS stays where it belongs to a palette."""
    kept, end, palette = [SIGNATURE], len(SIGNATURE), data[25:26] == b"\3"
    for kind, begin, end in chunks(data):
        if kind in _PIXELS or (kind == b"tRNS" and palette):
            kept.append(data[begin - 8 : end + 4])
        if kind == b"IEND":
            return b"".join(kept)
        end += 4
    if data[end + 4 : end + 8] == b"IDAT":
        kept.append(data[end:])  # cut off: Pillow says so
    return b"".join(kept)


def transparent(data: bytes) -> tuple[int, ...] | None:
    """The colour that tRNS names for gray or RGB, in the samples of the file; None where there is none."""
    kind, depth = data[25], data[24]
    for name, begin, end in chunks(data):
        if name == b"IDAT":
            break
        if name == b"tRNS" and kind in (0, 2) and end - begin >= (2 if kind == 0 else 6):
            values = struct.unpack_from(">H" if kind == 0 else ">HHH", data, begin)
            return tuple(value & ((1 << depth) - 1) for value in values)
    return None


def read(data: bytes) -> FileMetadata:
    """What a file says beside its pixels."""
    out, found, texts = FileMetadata(), dict[bytes, bytes](), set[str]()
    for kind, begin, end in chunks(data):
        payload = data[begin:end]
        if kind == b"acTL" and payload[:4] > b"\0\0\0\1":
            out.notes.append("several frames: only the first is taken")
        elif kind in _TEXT:
            texts.add(_text(kind, payload, out))
        elif kind in _LEFT_OUT:
            out.left_out.append(_LEFT_OUT[kind])
        elif kind == b"pHYs" and len(payload) == 9:
            _physical(payload, out)
        elif kind not in _PIXELS:
            found.setdefault(kind, payload)
    out.left_out += sorted(texts - {""})
    if block := found.get(b"eXIf"):
        out.exif = block
    _colours(found, out)
    return out


def _physical(payload: bytes, out: FileMetadata) -> None:
    x, y, unit = struct.unpack(">IIB", payload)
    if unit == 1:
        out.dpi = out.dpi or per_inch(x * _INCH, y * _INCH)
    elif x != y:
        out.left_out.append(PIXEL_SHAPE)


def _colours(found: dict[bytes, bytes], out: FileMetadata) -> None:
    """Which of the chunks about colours counts: cICP, iCCP, sRGB, then gAMA with cHRM."""
    if packed := found.get(b"iCCP"):
        begin = packed.find(b"\0") + 2
        out.icc = inflate(packed[begin:]) if begin > 1 else None
        if out.icc is None:
            out.damaged("ICC profile")
    if len(cicp := found.get(b"cICP", b"")) == 4:
        out.cicp = cicp
    if out.cicp or b"sRGB" in found:
        return  # beside a profile they count where that is damaged
    gamma, points = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    exponent = struct.unpack(">I", gamma)[0] / 1e5 if len(gamma) == 4 else 0.0
    matrix = SRGB.matrix
    if len(points) == 32:
        xy = np.array(struct.unpack(">8I", points)) / 1e5
        try:
            matrix = primaries_matrix([float(v) for v in xy[2:]], (float(xy[0]), float(xy[1])))
        except ValueError:
            out.damaged("cHRM chunk")
    said_gamma = 0.1 < exponent < 5
    assert matrix is not None and SRGB.matrix is not None
    plain = bool(np.abs(matrix - SRGB.matrix).max() < 0.005)
    if plain and (not said_gamma or abs(exponent - 1 / 2.2) < 0.01):
        return  # what programs write for sRGB
    names = [f"gamma {exponent:.4g}"] * said_gamma + ["primaries of its own"] * (not plain)
    out.numbers_name = " and ".join(names)
    curve = (1 / exponent,) if said_gamma else SRGB_CURVE
    out.numbers = make_profile(out.numbers_name, SRGB.matrix if plain else matrix, curve)


def _text(kind: bytes, payload: bytes, out: FileMetadata) -> str:
    """Take in what a text chunk holds; returns what to call it where it is left out, "" where it is kept."""
    key, _, rest = payload.partition(b"\0")
    if kind == b"iTXt" and key == _XMP:
        fields = rest[2:].split(b"\0", 2)
        text = fields[2] if len(fields) == 3 else b""
        out.xmp = out.xmp or (inflate(text) if rest[:1] == b"\1" else text)
        if not out.xmp:
            out.damaged("XMP")
        return ""
    if not key.lower().startswith(b"raw profile type "):
        return "text"
    name = key[17:].decode("latin-1").lower()
    if name not in ("exif", "app1", "xmp", "icc"):
        return {"iptc": "IPTC", "8bim": "IPTC"}.get(name, "text")
    profile = _raw_profile(inflate(rest[1:]) if kind == b"zTXt" else rest)
    if profile is None:
        out.damaged({"xmp": "XMP", "icc": "ICC profile"}.get(name, "EXIF"))
    elif name == "icc":
        out.icc = out.icc or profile
    elif name == "xmp" or profile.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        out.xmp = out.xmp or profile.removeprefix(b"http://ns.adobe.com/xap/1.0/\0")
    else:
        out.exif = out.exif or profile
    return ""


def _raw_profile(text: bytes | None) -> bytes | None:
    """What ImageMagick writes: a name, a length, and hexadecimal digits."""
    parts = (text or b"").split(None, 2)
    if len(parts) < 3 or not parts[1].isdigit():
        return None
    try:
        data = bytes.fromhex(parts[2].decode("ascii"))
    except ValueError:
        return None
    return data if len(data) >= int(parts[1]) > 0 else None


def is_text(data: bytes) -> bool:
    """Whether bytes can stand in a text chunk."""
    try:
        return "\0" not in data.decode("utf-8").rstrip("\0")
    except UnicodeDecodeError:
        return False


def extended(data: bytes, cicp: bytes | None, exif: bytes | None, xmp: bytes | None) -> bytes:
    """A PNG file with further chunks, behind IHDR."""
    added = [chunk(b"cICP", cicp)] if cicp else []
    added += [chunk(b"eXIf", exif)] if exif else []
    added += [chunk(b"iTXt", _XMP + bytes(5) + xmp.rstrip(b"\0"))] if xmp else []
    return b"".join([data[:33], *added, data[33:]])
