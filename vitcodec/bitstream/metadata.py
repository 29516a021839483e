"""What a file holds beside the tokens: alpha, the mask of erased tokens, profile, EXIF and XMP."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import FormatError
from ..images import Picture
from ..tiles import Region
from .container import Contents
from .header import Header

ICC, EXIF, XMP, ALPHA, ERASED = "ICCP", "EXIF", "XMP ", "ALPH", "MASK"  # keys of Contents.metadata


def pack_metadata(picture: Picture, erased: np.ndarray | None) -> dict[str, bytes]:
    """What Contents.metadata holds of a picture.

    erased: (rows, columns) bool, the tokens that the encoder erased, or None.
    """
    found = {
        ICC: picture.icc,
        EXIF: picture.exif,
        XMP: picture.xmp,
        ALPHA: None if picture.alpha is None else _pack_alpha(picture.alpha),
        ERASED: np.packbits(erased).tobytes() if erased is not None and erased.any() else None,
    }
    return {key: data for key, data in found.items() if data is not None}


def unpack_picture(contents: Contents, rgb: np.ndarray, region: Region, reduce: int) -> Picture:
    """The picture around decoded colours.

    rgb: (H, W, 3) uint8, a region in pixels of the whole picture, halved `reduce` times. Raises FormatError where the
    alpha channel is damaged.
    """
    found = contents.metadata
    alpha = _unpack_alpha(found[ALPHA], contents.header, region, reduce) if ALPHA in found else None
    return Picture(rgb, alpha, contents.header.gray, found.get(ICC), found.get(EXIF), found.get(XMP), [])


@dataclass(frozen=True)
class Erasures:
    """Which tokens are erased; each (rows, columns) bool, or None for none."""

    by_encoder: np.ndarray | None  # their values are in no payload
    to_fill: np.ndarray | None  # these, and those of tiles whose low band was not received


def unpack_erasures(contents: Contents) -> Erasures:
    """Which tokens of a file are erased. Raises FormatError where the mask does not fit the picture."""
    by_encoder = _unpack_mask(contents)
    to_fill = by_encoder
    if tiles := [tile for level, tile in contents.erased if level == 0]:
        whole = contents.header.grid.whole
        to_fill = np.zeros((whole.h, whole.w), bool) if by_encoder is None else by_encoder.copy()
        for tile in tiles:
            y, x, h, w = contents.header.grid.area(tile)
            to_fill[y : y + h, x : x + w] = True
    return Erasures(by_encoder, to_fill)


def _unpack_mask(contents: Contents) -> np.ndarray | None:
    packed = contents.metadata.get(ERASED)
    if packed is None:
        return None
    whole = contents.header.grid.whole
    if len(packed) != -(-whole.h * whole.w // 8):
        raise FormatError(
            f"the mask of {len(packed)} bytes does not fit {whole.w}x{whole.h} tokens; "
            "get a complete and undamaged copy"
        )
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=whole.h * whole.w)
    return bits.astype(bool).reshape(whole.h, whole.w)


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
