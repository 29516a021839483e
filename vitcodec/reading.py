"""What an image file says beside its pixels, whichever its format."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from PIL import Image

from . import bmp, boxes, exif, gif, jp2, jpeg, png, tiff
from .cicp import HDR
from .opening import BARE
from .said import PIXEL_SHAPE, Said, per_inch
from .samples import OWN_DEPTH

DAMAGED = "some of its metadata is damaged: left out"
# of PNM files with gray or colours: the largest value, behind the size
_PNM_MOST = re.compile(rb"P[2356](?:\s+(?:#[^\n]*\n)*)\d+\s+(?:#[^\n]*\n)*\d+\s+(?:#[^\n]*\n)*(\d{1,5})\s")


def said_by_tiff(data: bytes) -> Said:
    """What a TIFF file says beside its pixels."""
    said, found = Said(orientation=1), tiff.parse(data)
    if found is None:
        return said
    turn = found.number(exif.ORIENTATION, 1)
    said.orientation = turn if turn in range(1, 9) else 1
    said.exif, said.left_out = exif.from_tiff(found)
    said.left_out += _further_channels(found)
    said.icc, said.xmp = (found.entries[t].data if t in found.entries else None for t in (34675, exif.TIFF_XMP))
    unit = {2: 1.0, 3: 2.54}.get(found.number(296, 2), 0.0)
    said.dpi = per_inch(found.ratio(282) * unit, found.ratio(283) * unit)
    said.left_out += [] if unit or found.ratio(282) == found.ratio(283) else [PIXEL_SHAPE]
    if found.following:
        said.notes.append("several frames: only the first is taken")
    if not found.intact:
        said.notes.append(DAMAGED)
    return said


def _further_channels(found: tiff.Tiff) -> list[str]:
    colours = {2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}.get(found.number(tiff.PHOTOMETRIC, 0), 1)
    alpha = any(kind in (1, 2) for kind in found.numbers(tiff.EXTRA))
    more = found.number(tiff.SAMPLES, colours) - colours - alpha
    return ["further channels" if more > 1 else "a further channel"] if more > 0 else []


# Pillow's name of a format -> what reads all that such files say
_READERS: dict[str, Callable[[bytes], Said]] = {
    "PNG": png.read,
    "JPEG": jpeg.read,
    "GIF": gif.read,
    "TIFF": said_by_tiff,
    "BMP": bmp.read,
    "JPEG2000": jp2.read,
}


def said_by(image: Image.Image, data: bytes) -> Said:
    """What a file says beside its pixels."""
    said = _said(image, data)
    if image.info.get(BARE):
        said.notes.append(DAMAGED)
    return said


def _said(image: Image.Image, data: bytes) -> Said:
    info, format = image.info, image.format
    if format in _READERS:
        said = _READERS[format](data)
    else:
        said = boxes.read(data, *image.size) if format == "AVIF" else Said()
        said.orientation = 1 if format == "JXL" else None  # its decoder turns it, whatever EXIF says
        said.icc, said.exif, said.xmp = (_bytes(info.get(key)) for key in ("icc_profile", "exif", "xmp"))
    if format == "AVIF" and (decoder := getattr(image, "_decoder", None)):
        said.exif, said.orientation = (decoder.get_info()[i] or None for i in (4, 5))  # before Pillow rewrites it
    if format == "AVIF" and said.icc and said.cicp and said.cicp[1] not in HDR:
        said.cicp = None  # the profile counts
    depth = jp2.depth(data) if format == "JPEG2000" else info.get("bit_depth", 8)
    if format == "PPM" and (most := _PNM_MOST.match(data)):
        depth = int(most[1]).bit_length()
    if depth > 8 and (format in OWN_DEPTH or not image.mode.startswith("I")):
        said.notes.append(f"{depth}-bit reduced to 8")
    if format in ("BMP", "JPEG2000") and "dpi" in info:
        said.dpi = per_inch(*map(float, info["dpi"]))
    return said


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) and value else None
