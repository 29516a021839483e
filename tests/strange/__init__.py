"""Image files of many kinds with odd contents, and what has to come of each: used by test_strange.py and fuzz.py.

`make(rng)` writes a small picture in a random format, depth and layout, byte by byte where Pillow cannot write it, and
adds blocks of metadata. `faults(strange)` reads it, writes it again, and lists what is wrong: exceptions, pictures
refused for their metadata, other pixels than those written, losses that no note tells. `damaged(rng)` and `misread`
are the same for files with bytes changed, of which only exceptions are wrong.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image, ImageCms

from vitcodec.errors import VitcodecError
from vitcodec.images import Picture, read_image, write_image

from .jpeg import jpeg
from .metadata import EXIF, lost, marks, srgb
from .others import avif, bmp, gif, jpeg2000, pnm, tiff_of_pillow, webp
from .pictures import Array, Strange, upright
from .png import png
from .tiff import tiff

CARRIERS: tuple[Callable[[Random], Strange], ...] = (
    *(png, png, png, png, jpeg, jpeg, jpeg, tiff, tiff, tiff),
    *(webp, webp, gif, bmp, bmp, pnm, jpeg2000, avif, tiff_of_pillow),
)
LOSSLESS = {"png", "tif", "webp"}
WRITTEN = ("tif", "webp", "jpg", "jp2", "bmp", "ppm")  # and png every time
HELD = {"exif", "xmp", "icc"}


def make(rng: Random) -> Strange:
    return rng.choice(CARRIERS)(rng)


def damaged(rng: Random) -> Strange:
    """A file with a few bytes changed, cut out or put in."""
    made = make(rng)
    data = bytearray(made.data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])])
            case 1:
                del data[at : at + rng.randrange(1, 30)]
            case 2:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case _ if rng.randrange(3) == 0:
                del data[at:]
    return replace(made, name=f"damaged {made.name}", data=bytes(data))


def misread(strange: Strange) -> list[str]:
    """What is wrong with reading a damaged file: anything but a picture or one line that says why not."""
    try:
        picture = read_image(io.BytesIO(strange.data), max_pixels=1_000_000, name="x")
        write_image(picture, io.BytesIO(), "png")
    except VitcodecError as error:
        return [f"a message of several lines: {error}"] if "\n" in str(error) else []
    except Exception as error:
        return [f"exception: {type(error).__name__}: {error}"]
    return []


def faults(strange: Strange, format: str = "tif") -> list[str]:
    """What is wrong with how a file is read, and written as PNG and another format."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = _faults(strange, format)
    # a warning is several lines on stderr that no user can do anything about
    return found + [f"warning: {w.category.__name__}: {w.message}" for w in warned[:1]]


def _faults(strange: Strange, format: str) -> list[str]:
    try:
        picture = read_image(io.BytesIO(strange.data), name="x")
    except VitcodecError as error:
        return _refused(strange, str(error))
    except Exception as error:
        return [f"exception: {type(error).__name__}: {error}"]
    found = [what for b in strange.blocks if (what := lost(b, picture))]
    if strange.says and not any(re.search(strange.says, note) for note in picture.notes):
        found.append(f"not said: {strange.says}")
    known = set().union(*(marks(b.data) for b in strange.blocks if b.key == EXIF and b.claimed and b.orientation))
    if not known <= marks(picture.exif) and not any("exif" in note.lower() for note in picture.notes):
        found.append("something of EXIF is lost")
    if strange.orientation not in (None, 1) and b"\xff\xd8\xff" in (picture.exif or b""):
        found.append("a thumbnail that is not turned")
    found += _pixels(strange, picture)
    for target in ("png", format):
        found += [f"as {target}: {what}" for what in _written(picture, target)]
    return found


def _refused(strange: Strange, message: str) -> list[str]:
    if "\n" in message:
        return [f"a message of several lines: {message}"]
    if strange.may_refuse and "not an image of a known kind" not in message:
        return []
    return [f"refused: {message}"]


def seen(picture: Picture) -> Array:
    """The colours as sRGB."""
    if not picture.icc:
        return picture.rgb
    profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
    gray = profile.profile.xcolor_space.strip() == "GRAY"
    image = Image.fromarray(np.ascontiguousarray(picture.rgb[..., 0] if gray else picture.rgb))
    target = ImageCms.ImageCmsProfile(io.BytesIO(srgb()))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    converted = ImageCms.profileToProfile(image, profile, target, renderingIntent=intent, outputMode="RGB")
    return np.asarray(converted)


def _pixels(strange: Strange, picture: Picture) -> list[str]:
    turn = strange.orientation
    if strange.rgb is None or turn is None:
        return []
    wanted, found = upright(strange.rgb, turn), []
    if wanted.shape != picture.rgb.shape:
        return [f"wrong picture: {picture.rgb.shape[:2]} and not {wanted.shape[:2]}"]
    shown = np.ones(wanted.shape[:2], bool)
    if isinstance(strange.alpha, str):  # in doubt
        shown = shown if picture.alpha is None else picture.alpha > 0
    elif strange.alpha is not None:
        alpha = upright(strange.alpha, turn)
        shown = alpha > 0
        had = picture.alpha if picture.alpha is not None else np.full_like(alpha, 255)
        if had.shape != alpha.shape or np.abs(had.astype(int) - alpha).max() > (strange.tolerance > 0):
            found.append("wrong transparency" if picture.alpha is not None else "transparency lost")
    elif picture.alpha is not None and picture.alpha.min() < 255:
        found.append("transparency from nowhere")
    difference = np.abs((seen(picture) if strange.seen else picture.rgb).astype(int) - wanted)[shown]
    if difference.size and difference.max() > strange.tolerance:
        found.append(f"wrong picture: {difference.max()} levels")
    return found


def _written(picture: Picture, format: str) -> list[str]:
    """What is wrong with a picture that is written and read again."""
    buffer = io.BytesIO()
    try:
        notes = write_image(picture, buffer, format)
        buffer.seek(0)
        again = read_image(buffer, name="x")
    except Exception as error:
        return [f"exception: {type(error).__name__}: {error}"]
    if again.rgb.shape != picture.rgb.shape:
        return [f"another size: {again.rgb.shape[:2]} and not {picture.rgb.shape[:2]}"]
    told, found = "; ".join(notes).lower(), []
    shown = np.ones(picture.rgb.shape[:2], bool) if picture.alpha is None else picture.alpha > 0
    # high dynamic range has no profile in TIFF and WebP
    if format in LOSSLESS and "converted to srgb" not in told and (again.rgb != picture.rgb)[shown].any():
        found.append("another picture")
    opaque = np.full(picture.rgb.shape[:2], 255, np.uint8)
    before, after = (p.alpha if p.alpha is not None else opaque for p in (picture, again))
    if "alpha" not in told and (before != after).any():
        found.append("another transparency")
    for key in HELD:
        if getattr(picture, key) and not getattr(again, key) and key not in told:
            found.append(f"silent loss: {key}")
    if getattr(picture, "dpi", None) and not getattr(again, "dpi", None) and "dpi" not in told:
        found.append("silent loss: dpi")
    if "exif" not in told and not marks(picture.exif) <= marks(again.exif):
        found.append("something of EXIF is lost")
    # a gray picture may need another profile
    for key in (HELD - {"icc"} if picture.gray else HELD) if format == "png" else ():
        if getattr(again, key) and getattr(again, key) != getattr(picture, key) and key not in told:
            found.append(f"another {key}")
    return found
