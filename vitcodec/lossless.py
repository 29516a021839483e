"""Lossless files: the pixels themselves, tile by tile, as lossless WebP in the container. No model is needed.

Screenshots, drawings and pixel art are smaller so than as tokens, and come back exactly.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import BinaryIO, Unpack

import numpy as np
from PIL import Image

from .bitstream import container
from .bitstream.chunks import Source
from .bitstream.container import PIXELS, Contents
from .bitstream.header import LOSSLESS, Header, check_limits
from .bitstream.metadata import pack_metadata, unpack_alpha, unpack_picture
from .conversion import as_picture
from .errors import FormatError, UsageError
from .imageio import transparency
from .options import DecodeChanges, DecodeOptions, EncodeChanges, EncodeOptions, decode_options, encode_options
from .picture import Picture
from .progress import report
from .tiles import SITE, Region

TILE = 2048  # pixels: large, as every tile begins anew to learn its colours and repetitions
# Pillow's settings. On seven screenshots the slowest ones make files 0.1 % smaller in ten times the time, PNG makes
# them 1.5 to 5 times as large
_SETTINGS = {"lossless": True, "quality": 100, "method": 4}
_QUICK = {"lossless": True, "quality": 20, "method": 1}
_GAIN = 0.4  # the settings make at least this of what the quick ones make: screenshots reach 0.46, photographs 0.95
_SAMPLE = 1 << 17  # pixels that are tried by the quick settings
_BAND = 32  # rows of the sample that are taken together
_MISSING = 128  # gray, in place of tiles that were not received


class LosslessCodec:
    """The interface of vitcodec.Codec without a model: lossless files alone."""

    name = "lossless"

    def encode(self, picture: Picture, options: EncodeOptions | None = None, **changes: Unpack[EncodeChanges]) -> bytes:
        """The bytes of a lossless .vitc file; of the options only `tile` matters. Raises as Codec.encode does."""
        return container.pack(pack(as_picture(picture), encode_options(options, changes).tile))

    def read(self, source: Source, options: DecodeOptions | None = None, name: str = "<bytes>") -> Contents:
        """What `decode` needs of a file. Raises as container.unpack does, UsageError for a region outside."""
        options = options or DecodeOptions()
        if options.region is None:
            return container.unpack(source, name=name)
        stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        start = stream.tell()
        header = container.read_header(stream, name)
        stream.seek(start)
        region = options.region.clipped(header.width, header.height)
        return container.unpack(stream, 1, name, header.grid.under(header.grid.touched(region)))

    def decode(
        self, data: Source | Contents, options: DecodeOptions | None = None, **changes: Unpack[DecodeChanges]
    ) -> Picture:
        """The picture of a lossless file; tiles that are not there are gray. Raises FormatError, UsageError."""
        options = decode_options(options, changes)
        contents = data if isinstance(data, Contents) else self.read(data, options)
        if options.imagine and contents.erased:
            raise UsageError("a lossless file has no model to imagine lost pixels with; decode it without imagining")
        header = contents.header
        region = (options.region or Region(0, 0, header.width, header.height)).clipped(header.width, header.height)
        shown = region.reduced(options.reduce)
        rgb = np.full((shown.height, shown.width, 3), _MISSING, np.uint8)
        alpha = unpack_alpha(contents, Region(0, 0, header.width, header.height)) if options.reduce else None
        for (_, tile), payload in contents.payloads.items():
            place = _place(header, tile)
            image = _unpack_tile(payload, place)
            if alpha is None:
                part = np.asarray(image.reduce(1 << options.reduce))
            else:
                x, y, w, h = place
                part, _ = transparency.reduced(np.asarray(image), alpha[y : y + h, x : x + w], options.reduce)
            _paste(part, place.reduced(options.reduce), rgb, shown)
        return unpack_picture(contents, rgb, region, options.reduce)


def pack(picture: Picture, tile: int | None = None) -> Contents:
    """The contents of a lossless file. tile: as EncodeOptions has it. Raises LimitError."""
    height, width = picture.rgb.shape[:2]
    header = Header(width, height, LOSSLESS, picture.gray, "", b"", tile or TILE)
    check_limits(header, "the image")
    payloads = {}
    for index in range(header.grid.count):
        x, y, w, h = _place(header, index)
        payloads[PIXELS, index] = _webp(picture.rgb[y : y + h, x : x + w], _SETTINGS)
        report((index + 1) / header.grid.count, width * height)
    return Contents(header, pack_metadata(picture, None), payloads)


def may_be_smaller(rgb: np.ndarray, size: int) -> bool:
    """Whether the pixels (H, W, 3) could take less than `size` bytes: False for photographs, in little time."""
    height, width = rgb.shape[:2]
    bands = [rgb[y : y + _BAND] for y in range(0, height, _BAND)]
    some = bands[:: max(1, height * width // _SAMPLE)]
    sample = np.concatenate(some)
    return _GAIN * len(_webp(sample, _QUICK)) * height / len(sample) < size


def _webp(rgb: np.ndarray, settings: Mapping[str, object]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, "WEBP", exact=True, **settings)
    return buffer.getvalue()


def _place(header: Header, tile: int) -> Region:
    """The pixels of the picture that a tile holds."""
    area = header.grid.area(tile)
    return Region(*(SITE * n for n in (area.x, area.y, area.w, area.h))).clipped(header.width, header.height)


def _unpack_tile(payload: bytes, place: Region) -> Image.Image:
    try:
        with Image.open(io.BytesIO(payload), formats=["WEBP", "PNG"]) as image:
            if image.size != (place.width, place.height):
                raise ValueError(f"it has {image.width}x{image.height} pixels")
            if image.mode not in ("L", "RGB"):
                raise ValueError(f"it has pixels of mode {image.mode}")
            return image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # for damaged files, Pillow's decoders raise nearly everything
        raise FormatError(f"a tile's pixels are damaged ({error})") from error


def _paste(part: np.ndarray, place: Region, rgb: np.ndarray, shown: Region) -> None:
    """Copy a tile's pixels to where they belong. shown: the region that rgb holds; both may be halved."""
    x, y = place.x - shown.x, place.y - shown.y
    target = rgb[max(y, 0) :, max(x, 0) :][: max(place.height + min(y, 0), 0), : max(place.width + min(x, 0), 0)]
    target[:] = part[max(-y, 0) :, max(-x, 0) :][: target.shape[0], : target.shape[1]]
