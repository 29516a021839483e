"""Image files opened by Pillow, by an allow-list of formats, and what to tell the user where that fails."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import PIL
from PIL import Image, ImageFile, TiffImagePlugin

from ..errors import InputError, LimitError
from ..filesystem.suffixes import PLUGINS
from . import boxes, jpeg, png, tiff

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "JPEG2000", "GIF", "PPM")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_OTHERS = {
    b"\x89VTC": "a .vitc file, of which decode makes an image",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"\x00\x00\x01\x00": "an icon",
    b"<svg": "an SVG drawing",
}
_MOST_SAMPLES = 6  # of a pixel that Pillow knows
_TIFF_KINDS = {0: "gray", 1: "gray", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
BARE = "vitcodec: opened without metadata"  # in an image's info: whether its metadata kept Pillow from opening it

_opening = threading.Lock()


@functools.cache
def read_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read: with HEIF and JXL where their plugins are installed."""
    found = []
    for name, plugin in PLUGINS.items():
        try:
            module = importlib.import_module(plugin.module)
            if plugin.register:
                getattr(module, plugin.register)()
        except Exception:  # not there, or not for this Pillow
            continue
        if name in Image.OPEN:
            found.append(name)
    return (*_FORMATS, *found)


def kind_of(data: bytes) -> str:
    """Pillow's name of the format that the first bytes speak of, "" for another."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(png.SIGNATURE) and len(data) > 33:
        return "PNG"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JXL"
    brand = boxes.brand(data)
    if brand in (b"avif", b"avis"):
        return "AVIF"
    if brand in _HEIF_BRANDS:
        return "AVIF" if b"av01" in data[:4096] else "HEIF"
    return "JPEG2000" if data.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")) else ""


def opened(data: bytes, max_pixels: int, name: str) -> ImageFile.ImageFile:
    """An image of one of read_formats(), not loaded. Raises InputError, LimitError, or what Pillow raises."""
    kind = kind_of(data)
    formats = read_formats() if kind in PLUGINS else _FORMATS
    for number, candidate in enumerate(_candidates(data, kind)):
        try:
            image = _open(candidate, formats, kind, max_pixels, name)
        except Image.UnidentifiedImageError:
            continue
        image.info[BARE] = number > 0
        return image
    raise InputError(f"{name}: {_reason(data, kind)}")


def _candidates(data: bytes, kind: str) -> Iterator[bytes]:
    """What to open: pixels only where Pillow could take offence at the rest."""
    if kind == "PNG":
        yield png.pixels_only(data)
    elif kind == "JPEG":
        yield jpeg.pixels_only(data)
    elif kind == "TIFF":
        pixels = tiff.pixels_only(data)
        if not _misread(pixels):
            yield pixels
    else:
        yield data
    if kind == "AVIF":
        yield boxes.without_exif(data)


def _misread(data: bytes) -> bool:
    """Whether Pillow takes offence at a TIFF by logging it, or puts the alpha of gray planes into another place."""
    found = tiff.parse(data)
    if found is None:
        return False
    samples, gray = found.number(tiff.SAMPLES, 1), found.number(tiff.PHOTOMETRIC, 0) < 2
    planes = found.number(tiff.PLANAR, 1) == 2
    return samples > _MOST_SAMPLES or (planes and gray and samples == 2 and found.number(tiff.EXTRA, 0) > 0)


def _open(data: bytes, formats: tuple[str, ...], kind: str, max_pixels: int, name: str) -> ImageFile.ImageFile:
    # Pillow's limit is one for the whole process; where it only warns, the check below refuses
    with _opening, warnings.catch_warnings(), _by_libtiff(data, kind):
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
        except Image.DecompressionBombError as error:
            pixels = re.search(r"\((\d+) pixels\)", str(error))
            raise too_large(name, f"{int(pixels[1]):,} pixels are" if pixels else "it has", max_pixels) from error
        except MemoryError:
            raise
        except Image.UnidentifiedImageError:
            raise
        except Exception as error:  # plugins raise nearly everything
            raise Image.UnidentifiedImageError(str(error)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > max_pixels:
        raise too_large(name, f"{image.width}x{image.height} is", max_pixels)
    return image


def too_large(name: str, what: str, max_pixels: int) -> LimitError:
    """What to raise for an image of too many pixels. what: which, and is, are or has."""
    return LimitError(f"{name}: {what} more than {max_pixels:,} pixels; raise --max-pixels if you trust it")


@contextlib.contextmanager
def _by_libtiff(data: bytes, kind: str) -> Iterator[None]:
    """Let libtiff unpack planes of 16 bits, which Pillow by itself takes for planes of 8 bits; and keep it quiet."""
    found = tiff.parse(data) if kind == "TIFF" else None
    if kind == "TIFF":
        _quiet_libtiff()
    if found is None or found.number(tiff.PLANAR, 1) != 2:
        yield
        return
    before, TiffImagePlugin.READ_LIBTIFF = TiffImagePlugin.READ_LIBTIFF, True
    try:
        yield
    finally:
        TiffImagePlugin.READ_LIBTIFF = before


@functools.cache
def _quiet_libtiff() -> None:
    """libtiff prints to stderr what is odd in a file; what matters comes as Pillow's error.

    Pillow gives no way to ask for that, so the library that it has loaded is asked itself, where it can be found.
    """
    package = Path(PIL.__file__).parent
    for folder in (package.parent / "pillow.libs", package.parent / "Pillow.libs", package / ".dylibs"):
        for path in folder.glob("libtiff*"):
            with contextlib.suppress(OSError, AttributeError):
                library = ctypes.CDLL(str(path))
                for setter in (library.TIFFSetWarningHandler, library.TIFFSetErrorHandler):
                    setter.restype, setter.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
                    setter(None)


def _reason(data: bytes, kind: str) -> str:
    """Why a file cannot be opened, and what to do."""
    if not data:
        return "is empty (0 bytes); get a complete copy"
    if plugin := PLUGINS.get(kind):
        if kind not in read_formats():
            return f"{plugin.what} picture, which needs a plugin: pip install {plugin.package}"
        return f"damaged, or {plugin.what} picture of a kind that the plugin does not know"
    if kind == "TIFF":
        return _tiff_reason(data)
    if kind == "JPEG" and (bits := _jpeg_bits(data)) not in (0, 8):
        return f"a JPEG of {bits} bits a sample is not supported; convert it to 8 bits"
    if kind:
        return f"damaged, or a kind of {kind} that is not supported"
    for magic, what in _OTHERS.items():
        if data.lstrip()[:64].startswith(magic):
            return f"not an image of a known kind ({', '.join(_FORMATS)}), but {what}"
    return f"not an image of a known kind ({', '.join(_FORMATS)})"


def _jpeg_bits(data: bytes) -> int:
    frames = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers that begin a frame
    return next((data[begin] for marker, begin, _ in jpeg.segments(data) if marker in frames), 0)


def _tiff_reason(data: bytes) -> str:
    """What kind of TIFF it is that Pillow does not know."""
    found = tiff.parse(tiff.pixels_only(data))
    if found is None or not found.numbers(tiff.WIDTH):
        return "a damaged TIFF file"
    bits = found.numbers(258) or (1,)
    form = {2: "signed ", 3: "floating-point "}.get(found.number(339, 1), "")
    kind = _TIFF_KINDS.get(found.number(tiff.PHOTOMETRIC, 0), "special")
    extra = " and alpha" if found.numbers(tiff.EXTRA) else ""
    planes = " in planes" if found.number(tiff.PLANAR, 1) == 2 else ""
    depth = f"{bits[0]}-bit" if len(set(bits)) == 1 else "-".join(map(str, bits)) + "-bit"
    what = f"{depth} {form}{kind}{extra} samples{planes}"
    return f"a TIFF with {what} is not supported; convert it to 8 or 16 bits of gray or RGB"
