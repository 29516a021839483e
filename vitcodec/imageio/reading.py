"""What an image file says beside its pixels, whichever its format."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from PIL import Image

from . import bmp, boxes, exif, gif, jp2, jpeg, png, tiff
from .cicp import HDR
from .metadata import PIXEL_SHAPE, FileMetadata, per_inch
from .opening import BARE
from .samples import OWN_DEPTH

DAMAGED = "some of its metadata is damaged: left out"
# of PNM files with gray or colours: the largest value, behind the size
_PNM_MOST = re.compile(rb"P[2356](?:\s+(?:#[^\n]*\n)*)\d+\s+(?:#[^\n]*\n)*\d+\s+(?:#[^\n]*\n)*(\d{1,5})\s")


def metadata_of_tiff(data: bytes) -> FileMetadata:
    """What a TIFF file says beside its pixels."""
    metadata, found = FileMetadata(orientation=1), tiff.parse(data)
    if found is None:
        return metadata
    turn = found.number(exif.ORIENTATION, 1)
    metadata.orientation = turn if turn in range(1, 9) else 1
    metadata.exif, metadata.left_out = exif.from_tiff(found)
    metadata.left_out += _further_channels(found)
    metadata.icc, metadata.xmp = (found.entries[t].data if t in found.entries else None for t in (34675, exif.TIFF_XMP))
    unit = {2: 1.0, 3: 2.54}.get(found.number(296, 2), 0.0)
    metadata.dpi = per_inch(found.ratio(282) * unit, found.ratio(283) * unit)
    metadata.left_out += [] if unit or found.ratio(282) == found.ratio(283) else [PIXEL_SHAPE]
    if found.following:
        metadata.notes.append("several frames: only the first is taken")
    if not found.intact:
        metadata.notes.append(DAMAGED)
    return metadata


def _further_channels(found: tiff.Tiff) -> list[str]:
    colours = {2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}.get(found.number(tiff.PHOTOMETRIC, 0), 1)
    alpha = any(kind in (1, 2) for kind in found.numbers(tiff.EXTRA))
    more = found.number(tiff.SAMPLES, colours) - colours - alpha
    return ["further channels" if more > 1 else "a further channel"] if more > 0 else []


# Pillow's name of a format -> what reads all that such files say
_READERS: dict[str, Callable[[bytes], FileMetadata]] = {
    "PNG": png.read,
    "JPEG": jpeg.read,
    "GIF": gif.read,
    "TIFF": metadata_of_tiff,
    "BMP": bmp.read,
    "JPEG2000": jp2.read,
}


def metadata_of(image: Image.Image, data: bytes) -> FileMetadata:
    """What a file says beside its pixels."""
    metadata = _metadata_of(image, data)
    if image.info.get(BARE):
        metadata.notes.append(DAMAGED)
    return metadata


def _metadata_of(image: Image.Image, data: bytes) -> FileMetadata:
    info, format = image.info, image.format
    if format in _READERS:
        metadata = _READERS[format](data)
    else:
        metadata = boxes.read(data, *image.size) if format == "AVIF" else FileMetadata()
        metadata.orientation = 1 if format == "JXL" else None  # its decoder turns it, whatever EXIF says
        metadata.icc, metadata.exif, metadata.xmp = (_bytes(info.get(key)) for key in ("icc_profile", "exif", "xmp"))
    if format == "AVIF" and (decoder := getattr(image, "_decoder", None)):
        metadata.exif, metadata.orientation = (
            decoder.get_info()[i] or None for i in (4, 5)
        )  # before Pillow rewrites it
    if format == "AVIF" and metadata.icc and metadata.cicp and metadata.cicp[1] not in HDR:
        metadata.cicp = None  # the profile counts
    depth = jp2.depth(data) if format == "JPEG2000" else info.get("bit_depth", 8)
    if format == "PPM" and (most := _PNM_MOST.match(data)):
        depth = int(most[1]).bit_length()
    if depth > 8 and (format in OWN_DEPTH or not image.mode.startswith("I")):
        metadata.notes.append(f"{depth}-bit reduced to 8")
    if format in ("BMP", "JPEG2000") and "dpi" in info:
        metadata.dpi = per_inch(*map(float, info["dpi"]))
    return metadata


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) and value else None
