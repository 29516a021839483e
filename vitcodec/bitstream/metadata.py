"""What a file holds beside the tokens: alpha, the mask of erased tokens, colours, resolution, EXIF, XMP."""

from __future__ import annotations

import functools
import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .. import adaptive_filter
from ..adaptive_filter import AdaptiveFilter
from ..errors import FormatError
from ..imageio.metadata import per_inch
from ..imageio.profiles import number_of, well_known
from ..images import without_thumbnails
from ..options import QUALITIES
from ..picture import Picture
from ..tiles import SITE, Region
from .container import Contents
from .header import Header

# keys of Contents.metadata
ICC, EXIF, XMP, ALPHA, ERASED = "ICCP", "EXIF", "XMP ", "ALPH", "MASK"
NAME, CICP, DPI, QUALITY_OF_TILES, FILTER = "NAME", "CICP", "DPI ", "QUAL", "FILTER"
_WEBP_SIDE = 16383  # pixels


def pack_metadata(picture: Picture, erased: np.ndarray | None) -> dict[str, bytes]:
    """What Contents.metadata holds of a picture.

    erased: (rows, columns) bool, the tokens that the encoder erased, or None.
    """
    number = number_of(picture.icc) if picture.icc else None
    found = {
        NAME: None if number is None else bytes([number]),
        ICC: picture.icc if number is None else None,
        CICP: picture.cicp,
        DPI: None if picture.dpi is None else struct.pack("<2f", *picture.dpi),
        EXIF: picture.exif,
        XMP: picture.xmp,
        ALPHA: None if picture.alpha is None else _pack_alpha(picture.alpha),
        ERASED: np.packbits(erased).tobytes() if erased is not None and erased.any() else None,
    }
    return {key: data for key, data in found.items() if data}


def unpack_picture(contents: Contents, rgb: np.ndarray, region: Region, reduce: int) -> Picture:
    """The picture around decoded colours.

    rgb: (H, W, 3) uint8, a region in pixels of the whole picture, halved `reduce` times. Raises FormatError where the
    alpha channel is damaged. Other metadata that make no sense are left out, with a note.
    """
    found, header, notes = contents.metadata, contents.header, list[str]()
    alpha = _unpack_alpha(found[ALPHA], header, region, reduce) if ALPHA in found else None
    if contents.cut:
        notes.append("the file ends early: its profile, EXIF and XMP are not known")
    picture = Picture(rgb, alpha, header.gray, exif=found.get(EXIF), xmp=found.get(XMP), notes=notes)
    picture.icc = _unpack_profile(found, notes)
    if CICP in found:
        picture.cicp = found[CICP] if len(found[CICP]) == 4 else None
        if picture.cicp is None:
            notes.append("its colour code points (CICP) are damaged: left out")
    if DPI in found:
        picture.dpi = per_inch(*struct.unpack("<2f", found[DPI])) if len(found[DPI]) == 8 else None
        if picture.dpi is None:
            notes.append("its resolution (DPI) is damaged: left out")
    whole = (region.x, region.y, region.width, region.height) == (0, 0, header.width, header.height)
    return picture if whole else without_thumbnails(picture)


def unpack_alpha(contents: Contents, region: Region) -> np.ndarray | None:
    """The alpha of a region at full size, (H, W) uint8, or None. Raises FormatError where it is damaged."""
    if ALPHA not in contents.metadata:
        return None
    return _unpack_alpha(contents.metadata[ALPHA], contents.header, region, 0)


def _unpack_profile(found: dict[str, bytes], notes: list[str]) -> bytes | None:
    icc = found.get(ICC)
    if NAME in found:
        icc = well_known(found[NAME][0]) if len(found[NAME]) == 1 else None
        if icc is None:
            notes.append("its profile has a number that this version does not know: left out; upgrade vitcodec")
    return icc


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


def unpack_filter(contents: Contents, base: AdaptiveFilter | None) -> AdaptiveFilter | None:
    """The filter of a file's picture. base: that of its quality. Raises FormatError where it is damaged."""
    packed = contents.metadata.get(FILTER)
    if packed is None:
        return base
    if base is None:
        raise FormatError("the file changes a filter that its model does not have; get a complete and undamaged copy")
    return adaptive_filter.unpack(packed, base)


def tile_qualities(contents: Contents) -> np.ndarray:
    """The quality of every tile, (tiles,) int; (1,) where they share one. Raises FormatError."""
    packed = contents.metadata.get(QUALITY_OF_TILES)
    if packed is None:
        return np.array([contents.header.quality])
    found = np.frombuffer(packed, np.uint8).astype(int)
    if len(found) != contents.header.grid.count or not np.isin(found, QUALITIES).all():
        raise FormatError("the qualities of the tiles do not fit the picture; get a complete and undamaged copy")
    return found


def site_qualities(contents: Contents) -> np.ndarray:
    """The quality of every site, (h, w); (1, 1) where they share one. Raises FormatError."""
    of_tiles, grid = tile_qualities(contents), contents.header.grid
    if len(of_tiles) == 1:
        return of_tiles.reshape(1, 1)
    side = grid.tile // SITE
    return of_tiles.reshape(grid.rows, grid.columns).repeat(side, 0).repeat(side, 1)[: grid.whole.h, : grid.whole.w]


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
    """PNG or lossless WebP, whichever is smaller."""
    return _pack_plane(np.ascontiguousarray(alpha).tobytes(), (alpha.shape[1], alpha.shape[0]))


@functools.lru_cache(maxsize=1)  # a search for a target size packs the same plane again and again
def _pack_plane(plane: bytes, size: tuple[int, int]) -> bytes:
    image, made = Image.frombytes("L", size, plane), io.BytesIO()
    image.save(made, "PNG", optimize=True)
    if max(size) > _WEBP_SIDE:
        return made.getvalue()
    webp = io.BytesIO()
    image.convert("RGB").save(webp, "WEBP", lossless=True, quality=100, method=4)
    return min(made.getvalue(), webp.getvalue(), key=len)


def _unpack_alpha(data: bytes, header: Header, region: Region, reduce: int) -> np.ndarray:
    size = (header.width, header.height)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "WEBP"]) as image:
            mode = "L" if image.format == "PNG" else "RGB"  # WebP knows no gray
            if image.size != size or image.mode != mode:
                raise ValueError(f"it is {image.size[0]}x{image.size[1]} {image.mode}")
            image.load()
            gray = image.getchannel(mode[len(mode) // 2])
            part = gray.reduce(1 << reduce) if reduce else gray
            x, y, width, height = region.reduced(reduce)
            return np.asarray(part.crop((x, y, x + width, y + height)))
    except MemoryError:
        raise
    except Exception as error:  # for damaged data, Pillow's decoders raise nearly everything
        raise FormatError(f"the alpha channel is damaged ({error})") from error
