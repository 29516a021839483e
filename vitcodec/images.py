"""Image files to arrays in sRGB and back, by Pillow.

What happens to colours is in colour.py, to EXIF and XMP in exif.py. docs/images.md has a table of all kinds of images.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from . import colour, exif, files
from .errors import InputError, LimitError, OutputError, UsageError, VitcodecError

READ_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "JPEG2000", "GIF", "PPM")
MAX_PIXELS = 178_956_970  # where Pillow itself takes an image for a decompression bomb

# suffix -> Pillow's name, for writing
WRITE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jp2": "JPEG2000",
    ".ppm": "PPM",
}
# a decoded picture is kept as it is where the format can: lossless, or nearly so
_SAVE: dict[str, dict[str, Any]] = {
    "PNG": {},
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
_JPEG_SEGMENT = 65_533 - 29  # bytes of EXIF or XMP that one JPEG marker holds, whichever's heading is the longer

_opening = threading.Lock()


@dataclass
class Picture:
    """An image in memory."""

    rgb: np.ndarray  # (H, W, 3) uint8, sRGB
    alpha: np.ndarray | None = None  # (H, W) uint8
    gray: bool = False  # the three channels are equal, and the file had, or gets, one
    icc: bytes | None = None  # the profile of the file that was read; rgb is sRGB all the same
    exif: bytes | None = None  # from its TIFF header ("II" or "MM") on, with the orientation reset
    xmp: bytes | None = None
    notes: list[str] = field(default_factory=list)  # what to tell the user once, such as "16-bit reduced to 8"


def read_image(source: Path | str | BinaryIO, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Picture:
    """Read the first frame of an image file of one of READ_FORMATS.

    name: how messages call the source. Raises InputError (no such file, unreadable, damaged, of an unknown kind) and
    LimitError (more than max_pixels).
    """
    name = name or (str(source) if isinstance(source, str | os.PathLike) else "<stream>")
    try:
        with _open(source, max_pixels) as image:
            if image.width * image.height > max_pixels:
                raise LimitError(
                    f"{name}: {image.width}x{image.height} is more than {max_pixels:,} pixels; "
                    "raise --max-pixels if you trust it"
                )
            return _read(image, name)
    except (VitcodecError, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image of a known kind ({', '.join(READ_FORMATS)})") from error
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise files.unreadable(name, error) from error
    except Image.DecompressionBombError as error:
        raise LimitError(f"{name}: {error}; raise --max-pixels if you trust it") from error
    except Exception as error:  # for damaged files, Pillow's decoders raise nearly everything
        raise InputError(f"{name}: damaged or not a valid image ({error})") from error


def _open(source: Path | str | BinaryIO, max_pixels: int) -> Image.Image:
    # Pillow's limit is one for the whole process; where it only warns, read_image refuses
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            return Image.open(source, formats=READ_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _read(image: Image.Image, name: str) -> Picture:
    notes = []
    # MPO: the further frames of a telephone's JPEG are previews and depth maps
    if image.format != "MPO" and getattr(image, "is_animated", False):
        notes.append("several frames: only the first is taken")
    deep = any(";16" in str(tile) for tile in getattr(image, "tile", []))  # Pillow loads it as 8-bit, unless it is gray
    image.load()
    orientation = exif.orientation_of(image)
    icc, block, xmp = image.info.get("icc_profile"), exif.exif_of(image), exif.xmp_of(image)
    image = exif.upright(image, orientation)
    if deep or image.mode.startswith("I"):
        notes.append("16-bit reduced to 8")
    image, alpha = _split_alpha(image, name)
    image, icc, colour_notes = colour.to_srgb(image, icc)
    notes += colour_notes
    gray = image.mode == "L"
    array = np.asarray(image)
    rgb = np.repeat(array[..., None], 3, -1) if gray else array.copy()
    return Picture(rgb, alpha, gray, icc, block, xmp, notes)


def _split_alpha(image: Image.Image, name: str) -> tuple[Image.Image, np.ndarray | None]:
    """An image of mode L, RGB, CMYK or LAB, with 8 bits a channel, and its alpha."""
    mode = image.mode
    if mode.startswith("I"):
        return _reduce_depth(image, name)
    if mode == "F":
        raise InputError(f"{name}: floating-point samples are not supported; convert it to 8 or 16 bits")
    if mode == "1":
        image = image.convert("L", dither=None)
    elif mode in ("RGBa", "La", "PA") or (mode in ("P", "L", "RGB") and image.has_transparency_data):
        image = image.convert("LA" if mode in ("L", "La") else "RGBA")
    elif mode not in ("L", "RGB", "LA", "RGBA", "CMYK", "LAB"):  # P, RGBX, YCbCr, HSV
        image = image.convert("RGB")
    if image.mode in ("LA", "RGBA"):
        alpha = np.asarray(image.getchannel("A")).copy()
        colours = image.getchannel("L") if image.mode == "LA" else Image.merge("RGB", image.split()[:3])
        return colours, alpha
    return image, None


def _reduce_depth(image: Image.Image, name: str) -> tuple[Image.Image, np.ndarray | None]:
    """16-bit gray, scaled rather than clipped: 65535 becomes 255."""
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 0xFFFF:
        raise InputError(f"{name}: 32-bit samples are not supported; convert it to 8 or 16 bits")
    transparent = image.info.get("transparency")
    alpha = np.where(samples == transparent, 0, 255).astype(np.uint8) if isinstance(transparent, int) else None
    return Image.fromarray(((samples + 128) // 257).astype(np.uint8)), alpha


def resized(picture: Picture, width: int, height: int) -> Picture:
    """The picture in another size (Lanczos); its colours are weighted by its alpha."""
    if picture.rgb.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture.rgb))
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    small = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    return replace(picture, rgb=small[..., :3].copy(), alpha=None if picture.alpha is None else small[..., 3].copy())


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
    buffer = io.BytesIO()
    notes = _save(picture, buffer, known, strip, path)
    if path is not None:
        files.write_atomic(path, buffer.getvalue(), overwrite)
    elif not isinstance(target, str | os.PathLike):
        target.write(buffer.getvalue())
    return notes


def _save(picture: Picture, buffer: BinaryIO, format: str, strip: bool, path: Path | None) -> list[str]:
    notes: list[str] = []
    image = Image.fromarray(np.ascontiguousarray(picture.rgb[..., 0] if picture.gray else picture.rgb))
    options = dict(_SAVE[format])
    if not strip:
        image = _add_metadata(picture, image, format, options, notes)
    if picture.alpha is not None:
        if format in _HOLD_ALPHA:
            image.putalpha(Image.fromarray(picture.alpha))
        else:
            notes.append(f"{format} holds no alpha channel: left out")
    try:
        image.save(buffer, format, **options)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise OutputError(
            f"{path or '<stream>'}: cannot be written as {format} ({error}); choose another format, such as png"
        ) from error
    return notes


def _add_metadata(
    picture: Picture, image: Image.Image, format: str, options: dict[str, Any], notes: list[str]
) -> Image.Image:
    """Put the metadata that the format holds into `options` for Pillow.

    Returns the image in the colours of the profile that it is written with.
    """
    if format not in _HOLD_METADATA:
        if picture.icc or picture.exif or picture.xmp:
            notes.append(f"{format} is written without ICC, EXIF and XMP")
        return image
    if picture.icc:
        converted = colour.from_srgb(image, picture.icc)
        if converted is None:
            notes.append("its ICC profile cannot be converted to: written as sRGB")
        else:
            image, options["icc_profile"] = converted, picture.icc
    block, xmp = (_fitting(data, name, format, notes) for name, data in (("EXIF", picture.exif), ("XMP", picture.xmp)))
    if format == "TIFF":
        options["exif"] = exif.tiff_tags(block, xmp)
    elif format == "PNG" and xmp:
        info = options["pnginfo"] = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    elif xmp:
        options["xmp"] = xmp
    if block and format != "TIFF":
        options["exif"] = exif.PREFIX + block if format == "JPEG" else block
    return image


def _fitting(data: bytes | None, name: str, format: str, notes: list[str]) -> bytes | None:
    if data and format == "JPEG" and len(data) > _JPEG_SEGMENT:
        notes.append(f"JPEG holds no more than 64 KB of {name}: left out")
        return None
    return data
