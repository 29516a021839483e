"""EXIF and XMP of images: read, with the orientation applied and reset, and turned into what a TIFF file holds.

Blocks of EXIF begin with their TIFF header, "II" or "MM", without the prefix that JPEG puts before it.
"""

from __future__ import annotations

import re
import struct

from PIL import Image

PREFIX = b"Exif\0\0"  # before the block in a JPEG file
ORIENTATION = 0x0112
_TIFF_XMP = 700
# tags that say how a TIFF file stores its pixels, or hold what is kept elsewhere: no part of the metadata
_TIFF_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 318, 319, 320),
    *(322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514, 529, 530, 531, 532, 700, 34675, 34377),
}
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """1 to 8 as in EXIF, 1 where it says nothing. To be asked before exif_of, which drops it from a TIFF's tags."""
    return image.getexif().get(ORIENTATION, 1)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned or mirrored as its orientation says."""
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def exif_of(image: Image.Image) -> bytes | None:
    """The EXIF block of an image file, orientation reset; None if it has none."""
    if image.format == "TIFF":
        return _tiff_exif(image)
    exif = image.info.get("exif")
    if not isinstance(exif, bytes):
        return None
    exif = exif.removeprefix(PREFIX)
    return reset_orientation(exif) if exif[:2] in (b"II", b"MM") else None


def _tiff_exif(image: Image.Image) -> bytes | None:
    exif = image.getexif()
    for tag in set(exif) & _TIFF_STRUCTURE:
        del exif[tag]
    return exif.tobytes().removeprefix(PREFIX) if len(exif) else None


def reset_orientation(exif: bytes) -> bytes:
    """A block of EXIF with its orientation tag set to 1, or as far as it is intact.

    In place: writing the block anew would break the offsets that makers' notes hold.
    """
    order = "<" if exif[:2] == b"II" else ">"
    out = bytearray(exif)
    try:
        (start,) = struct.unpack_from(order + "I", out, 4)
        (count,) = struct.unpack_from(order + "H", out, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(order + "H", out, entry)[0] == ORIENTATION:
                struct.pack_into(order + "HIHH", out, entry + 2, 3, 1, 1, 0)  # one SHORT, 1
    except struct.error:
        pass  # damaged from here on; no reader finds a tag there either
    return bytes(out)


def xmp_of(image: Image.Image) -> bytes | None:
    """The XMP packet of an image file, orientation reset; None if it has none."""
    xmp = image.info.get("xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if not isinstance(xmp, bytes) or not xmp:
        return None
    return re.sub(rb"""(tiff:Orientation(?:=["']|>))[2-8]""", rb"\g<1>1", xmp)


def tiff_tags(exif: bytes | None, xmp: bytes | None) -> Image.Exif:
    """EXIF and XMP as the tags of a TIFF file, without those that would contradict how it stores its pixels."""
    tags = Image.Exif()
    if exif:
        tags.load(PREFIX + exif)
    for tag in set(tags) & _TIFF_STRUCTURE:
        del tags[tag]
    if xmp:
        tags[_TIFF_XMP] = xmp
    return tags
