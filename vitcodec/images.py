"""Image files to arrays and back, by Pillow.

Pixels are read in samples.py, what a file says beside them in reading.py; what happens to colours is in colour.py.
docs/images.md has a table of all kinds of images.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from . import files
from .errors import InputError, LimitError, OutputError, UsageError, VitcodecError
from .filesystem.suffixes import WRITE_FORMATS
from .imageio import cicp, colour, exif, opening, png, tiff, transparency
from .imageio.metadata import FileMetadata
from .imageio.odd_tiff import read_odd_tiff
from .imageio.reading import metadata_of, metadata_of_tiff
from .imageio.samples import Samples, read_samples
from .picture import Picture

MAX_PIXELS = 178_956_970  # where Pillow itself takes an image for a decompression bomb
read_formats = opening.read_formats

# a decoded picture is kept as it is where the format can: lossless, or nearly so
_SAVE: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},  # a third of the time of Pillow's 6, and photographs grow by 7 % at most
    "JPEG": {"quality": 95, "subsampling": 0, "optimize": True},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "BMP": {},
    "JPEG2000": {"irreversible": False},
    "PPM": {},
}
_HOLD_METADATA = {"PNG", "JPEG", "WEBP", "AVIF", "TIFF"}
_HOLD_ALPHA = {"PNG", "WEBP", "AVIF", "TIFF", "JPEG2000"}
_RGB_ONLY = {"WEBP", "AVIF"}  # gray is written as RGB
_HOLD_DPI = {"PNG", "JPEG", "TIFF", "BMP"}
_JPEG_SEGMENT = 65_533 - 29  # bytes of EXIF or XMP that one JPEG marker holds, whichever's heading is the longer


def read_image(source: Path | str | BinaryIO, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Picture:
    """Read the first frame of an image file of one of read_formats().

    name: how messages call the source. What is left out is said in the picture's notes. Raises InputError (no such
    file, unreadable, damaged, of an unknown kind) and LimitError (more than max_pixels).
    """
    name = name or (str(source) if isinstance(source, str | os.PathLike) else "<stream>")
    data = files.read_bytes(Path(source)) if isinstance(source, str | os.PathLike) else source.read()
    try:
        return _read(data, max_pixels, name)
    except (VitcodecError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise LimitError(f"{name}: more than {max_pixels:,} pixels; raise --max-pixels if you trust it") from error
    except Exception as error:  # for damaged files, Pillow's decoders raise nearly everything
        raise InputError(f"{name}: damaged or not a valid image ({error})") from error


def _read(data: bytes, max_pixels: int, name: str) -> Picture:
    def again() -> ImageFile.ImageFile:
        return opening.opened(data, max_pixels, name)

    metadata, samples = _pixels(data, again, max_pixels, name)
    return picture_of(samples, metadata)


def picture_of(samples: Samples, metadata: FileMetadata) -> Picture:
    """The picture, upright and of 8 bits, that pixels and what is said beside them make. Both may be changed."""
    metadata.leave_out_what_is_too_long()
    if metadata.monochrome and samples.mode == "RGB" and (samples.colours == samples.colours[..., :1]).all():
        samples.mode, samples.colours = "L", samples.colours[..., 0]
    values, icc, points, notes = colour.settle(samples, metadata)
    block = exif.usable(metadata.exif)
    if metadata.exif and block is None:
        metadata.damaged("EXIF")
    turn = exif.orientation_of(block, metadata.xmp) if metadata.orientation is None else metadata.orientation
    values = exif.upright(_cropped(values, metadata.crop), turn)
    alpha = None if samples.alpha is None else exif.upright(_cropped(samples.alpha, metadata.crop), turn)
    gray = values.ndim == 2
    picture = Picture(np.repeat(values[..., None], 3, -1) if gray else values, alpha, gray, icc, cicp=points)
    picture.exif = exif.reset_orientation(block) if block else None
    picture.xmp = exif.upright_xmp(metadata.xmp or b"") or None
    if metadata.xmp and not picture.xmp:
        metadata.damaged("XMP")
    picture.dpi = metadata.dpi[::-1] if metadata.dpi and turn > 4 else metadata.dpi
    left_out = [f"left out: {', '.join(dict.fromkeys(metadata.left_out))}"] if metadata.left_out else []
    picture.notes = [*dict.fromkeys(metadata.notes + samples.notes + notes + left_out)]
    return picture if turn == 1 and metadata.crop is None else without_thumbnails(picture)


def _pixels(
    data: bytes, again: Callable[[], ImageFile.ImageFile], max_pixels: int, name: str
) -> tuple[FileMetadata, Samples]:
    try:
        image = again()
    except InputError:
        found = tiff.parse(tiff.pixels_only(data))
        if found is None or not (odd := read_odd_tiff(data, found, max_pixels, name)):
            raise
        return metadata_of_tiff(data), odd
    with image:
        metadata = metadata_of(image, data)
        if getattr(image, "is_animated", False):
            metadata.notes.append("several frames: only the first is taken")
        return metadata, read_samples(image, data, again, name)


def _cropped(array: np.ndarray, crop: tuple[int, int, int, int] | None) -> np.ndarray:
    if crop is None:
        return array
    x, y, width, height = crop
    return array[y : y + height, x : x + width]


def without_thumbnails(picture: Picture) -> Picture:
    """The picture without the thumbnails in its EXIF and XMP, which show another picture once it is turned or cut."""
    block = exif.without_thumbnail(picture.exif) if picture.exif else None
    xmp = exif.xmp_without_thumbnails(picture.xmp) if picture.xmp else None
    return replace(picture, exif=block, xmp=xmp)


def stripped(picture: Picture) -> Picture:
    """The picture in sRGB, without profile, EXIF and XMP; it looks the same."""
    values, notes = colour.to_srgb(_values(picture), picture.icc, picture.cicp)
    rgb = np.repeat(values[..., None], 3, -1) if picture.gray else values
    notes = [*picture.notes, *notes]
    return replace(picture, rgb=rgb, icc=None, cicp=None, exif=None, xmp=None, notes=notes)


def resized(picture: Picture, width: int, height: int) -> Picture:
    """The picture in another size (Lanczos); its colours are weighted by its alpha."""
    if picture.rgb.shape[:2] == (height, width):
        return picture
    if picture.alpha is not None:
        rgb, alpha = transparency.resampled(picture.rgb, picture.alpha, width, height)
        return replace(picture, rgb=rgb, alpha=alpha)
    image = Image.fromarray(np.ascontiguousarray(picture.rgb))
    return replace(picture, rgb=np.array(image.resize((width, height), Image.Resampling.LANCZOS)))


def format_of(target: str | os.PathLike[str], format: str | None = None) -> str:
    """Pillow's name of the format to write: of `format` ("png", "jpg", "JPEG"), or else of the suffix.

    Raises UsageError for one that is not in WRITE_FORMATS.
    """
    suffix = f".{format.lower().lstrip('.')}" if format else Path(target).suffix.lower()
    known = WRITE_FORMATS.get({".jpeg2000": ".jp2"}.get(suffix, suffix))
    if known is None:
        what = f"format '{format}'" if format else f"{target}: suffix '{suffix}'" if suffix else f"{target}: no suffix"
        raise UsageError(
            f"{what}, and images are written as {', '.join(s[1:] for s in WRITE_FORMATS)}; "
            "give one as a suffix or by --format"
        )
    return known


def write_image(
    picture: Picture,
    target: Path | str | BinaryIO,
    format: str | None = None,
    strip: bool = False,
    overwrite: bool = True,
) -> list[str]:
    """Write a picture whole or not at all. Lossless, but for JPEG (quality 95, 4:4:4) and AVIF (quality 95).

    format: "png", "jpeg", ...; None: by the target's suffix. strip: write sRGB without ICC, EXIF and XMP. Returns notes
    on what the format cannot hold. Raises UsageError for an unknown format, and OutputError.
    """
    path = Path(target) if isinstance(target, str | os.PathLike) else None
    known = format_of(path or "<stream>", format)
    notes: list[str] = []
    try:
        data = _saved(stripped(picture) if strip else picture, known, notes)
    except (MemoryError, VitcodecError):
        raise
    except Exception as error:  # as on reading
        raise OutputError(
            f"{path or '<stream>'}: cannot be written as {known} ({error}); choose another format, such as png"
        ) from error
    if path is not None:
        files.write_atomic(path, data, overwrite)
    elif not isinstance(target, str | os.PathLike):
        target.write(data)
    return notes


def _values(picture: Picture) -> np.ndarray:
    return np.ascontiguousarray(picture.rgb[..., 0] if picture.gray else picture.rgb)


def _saved(picture: Picture, format: str, notes: list[str]) -> bytes:
    """The bytes of an image file."""
    values, icc, points = _coloured(picture, format, notes)
    image, options = Image.fromarray(values), dict(_SAVE[format])
    if picture.alpha is not None:
        if format in _HOLD_ALPHA:
            image.putalpha(Image.fromarray(picture.alpha))
        else:
            notes.append(f"{format} holds no alpha channel: left out")
    if picture.dpi is not None:
        if format in _HOLD_DPI:
            options["dpi"] = picture.dpi
        else:
            notes.append(f"{format} holds no resolution (DPI): left out")
    if icc:
        options["icc_profile"] = icc
    block, xmp = picture.exif, picture.xmp
    if format not in _HOLD_METADATA:
        same = picture.icc if colour.is_srgb(picture.icc, picture.cicp) else None  # else it is metadata that it counted
        lost = [name for name, data in (("ICC profile", same), ("EXIF", block), ("XMP", xmp)) if data]
        notes += [f"{format} holds no {', '.join(lost)}: left out"] if lost else []
        block = xmp = None
    block, xmp = (_fitting(data, name, format, notes) for name, data in (("EXIF", block), ("XMP", xmp)))
    if format in ("JPEG", "WEBP", "AVIF"):
        options |= {"xmp": xmp} if xmp else {}
        options |= {"exif": {"JPEG": exif.PREFIX + block}.get(format, block)} if block else {}
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    if format == "PNG":
        return png.extended(buffer.getvalue(), points, block, xmp)
    return exif.into_tiff(buffer.getvalue(), block, xmp) if format == "TIFF" else buffer.getvalue()


def _coloured(picture: Picture, format: str, notes: list[str]) -> tuple[np.ndarray, bytes | None, bytes | None]:
    """The values to write, with the profile and code points that tell what they mean."""
    values, icc, points = _values(picture), picture.icc, picture.cicp
    if format in _HOLD_METADATA and points is not None and format != "PNG":
        icc = icc or cicp.profile_of(points, picture.gray)
        points = None
        if icc is None:
            values, more = colour.to_srgb(values, None, picture.cicp)
            notes += more
    elif format not in _HOLD_METADATA and not colour.is_srgb(icc, points):
        values, more = colour.to_srgb(values, icc, points)
        notes += [*more, f"{format} holds no ICC profile: converted to sRGB"]
    if format not in _HOLD_METADATA:
        return values, None, None
    if icc and picture.gray and format == "PNG" and not colour.is_srgb(icc, None):
        icc = colour.gray_profile(icc)  # PNG allows no other for gray
    if icc and picture.gray and format in _RGB_ONLY and (icc := colour.rgb_profile(icc)) is None:
        values, more = colour.to_srgb(values, picture.icc, None)
        notes += [*more, f"{format} holds no such ICC profile of gray: converted to sRGB"]
    return values, icc, points


def _fitting(data: bytes | None, name: str, format: str, notes: list[str]) -> bytes | None:
    """Metadata as the format takes them, or None with a note."""
    if not data:
        return None
    if format == "JPEG" and len(data) > _JPEG_SEGMENT:
        notes.append(f"JPEG holds no more than 64 KB of {name}: left out")
        return None
    if format == "PNG" and name == "XMP" and not png.is_text(data):
        notes.append("PNG holds XMP only as UTF-8: left out")
        return None
    if format == "TIFF" and name == "EXIF" and not ((found := tiff.parse(data)) and found.intact):
        notes.append("TIFF holds EXIF only as far as that is intact")
    if format == "AVIF" and name == "EXIF":
        data = exif.without_orientation(data)
        try:
            Image.Exif().load(data)
        except Exception:  # what Pillow cannot read it does not write
            notes.append("AVIF cannot hold EXIF that is damaged: left out")
            return None
    return data
