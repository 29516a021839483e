"""What a file holds beside the tokens: alpha, the mask of erased tokens, and the profile, EXIF and XMP of the picture."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ..errors import FormatError
from ..images import Picture
from ..tiles import Region
from .container import Contents
from .header import Header

ICC, EXIF, XMP, ALPHA, ERASED = "ICCP", "EXIF", "XMP ", "ALPH", "MASK"  # keys of Contents.metadata


def pack_metadata(picture: Picture, erased: np.ndarray | None) -> dict[str, bytes]:
    """What Contents.metadata holds of a picture. erased: (rows, columns) bool, the tokens that the encoder erased, or None."""
    found = {
        ICC: picture.icc,
        EXIF: picture.exif,
        XMP: picture.xmp,
        ALPHA: None if picture.alpha is None else _pack_alpha(picture.alpha),
        ERASED: np.packbits(erased).tobytes() if erased is not None and erased.any() else None,
    }
    return {key: data for key, data in found.items() if data is not None}


def unpack_picture(contents: Contents, rgb: np.ndarray, region: Region, reduce: int) -> Picture:
    """The picture around decoded colours. rgb: (H, W, 3) uint8, a region in pixels of the whole picture, halved `reduce` times.

    Raises FormatError where the alpha channel is damaged.
    """
    found = contents.metadata
    alpha = _unpack_alpha(found[ALPHA], contents.header, region, reduce) if ALPHA in found else None
    return Picture(rgb, alpha, contents.header.gray, found.get(ICC), found.get(EXIF), found.get(XMP), [])


def encoder_erasures(contents: Contents) -> np.ndarray | None:
    """(rows, columns) bool: the tokens that the encoder erased; None for none. Raises FormatError."""
    packed = contents.metadata.get(ERASED)
    if packed is None:
        return None
    whole = contents.header.grid.whole
    if len(packed) != -(-whole.h * whole.w // 8):
        raise FormatError(
            f"the mask of {len(packed)} bytes does not fit {whole.w}x{whole.h} tokens; get a complete and undamaged copy"
        )
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=whole.h * whole.w)
    return bits.astype(bool).reshape(whole.h, whole.w)


def all_erasures(contents: Contents) -> np.ndarray | None:
    """(rows, columns) bool: the tokens to fill in, as the encoder erased them or their tile's low band was not received; None for none."""
    erased = encoder_erasures(contents)
    for level, tile in contents.erased:
        if level == 0:
            if erased is None:
                whole = contents.header.grid.whole
                erased = np.zeros((whole.h, whole.w), bool)
            y, x, h, w = contents.header.grid.area(tile)
            erased[y : y + h, x : x + w] = True
    return erased


def _pack_alpha(alpha: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(alpha, "L").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _unpack_alpha(data: bytes, header: Header, region: Region, reduce: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.size != (header.width, header.height) or image.mode != "L":
                raise ValueError(f"it is {image.size[0]}x{image.size[1]} {image.mode}")
            image.load()
            part = image.reduce(1 << reduce) if reduce else image
            x, y, width, height = region.reduced(reduce)
            return np.asarray(part.crop((x, y, x + width, y + height)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"the alpha channel is damaged ({error})") from error
