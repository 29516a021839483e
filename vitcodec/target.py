"""Encoding to a given size or PSNR: a search for the quality, then for the last percent within it."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Protocol

from .bitstream import container
from .errors import TargetError, UsageError
from .options import QUALITIES, EncodeOptions

if TYPE_CHECKING:
    from .conversion import PictureLike
    from .picture import Picture

TOLERANCE = 0.02  # of the size that is asked for
_WEIGHTS = 1.0, 4.0  # distortion weights within a quality: beyond that range nothing more is spent
_TRIALS = 5  # halvings of that range
_STRIPPED = {"iNAM", "iCCP", "eXIF", "xMPD"}  # chunks that --strip leaves out
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "ki": 1024, "mi": 1024**2}


class Encodes(Protocol):
    """What the search needs of a codec: vitcodec's own Codec."""

    def encode(self, picture: Picture, options: EncodeOptions) -> bytes: ...

    def decode(self, data: bytes) -> Picture: ...


@dataclass(frozen=True)
class Target:
    """One of these: bytes at most, or PSNR in dB at least."""

    size: float | None = None
    psnr: float | None = None


PixelTarget = Callable[[int], Target]  # the target of a picture, by its number of pixels


@dataclass(frozen=True)
class TargetResult:
    """A file, and how near it comes."""

    data: bytes
    quality: int
    note: str | None  # why the target is not met within 2 %, or None


def parse_size(text: str) -> int:
    """'60000', '60k', '1.5M', '64KiB' -> bytes. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(|[km]i?)b?", text.strip().lower())
    size = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not size:
        raise UsageError(f"size '{text}' is not understood; write it as 60000, 60k or 1.5M")
    return size


def encode(codec: Encodes, picture: PictureLike, target: Target, options: EncodeOptions | None = None) -> TargetResult:
    """The best file of at most so many bytes, or the smallest of at least so many dB. picture: as for Codec.encode.

    Bisects over the quality, which takes about seven encodings; for a size, and where that leaves more than 2 %, also
    over the distortion weight, which is continuous and no part of the file. options: of everything but quality and
    distortion weight. Raises TargetError where quality 1 is too large, or quality 100 not good enough, and as
    Codec.encode does.
    """
    from .conversion import as_picture

    options, picture = options or EncodeOptions(), as_picture(picture)
    if target.size is not None:
        return _at_most(codec, picture, target.size, options)
    return _at_least(codec, picture, target.psnr or 0, options)


def _at_most(codec: Encodes, picture: Picture, size: float, options: EncodeOptions) -> TargetResult:
    @cache
    def encoded(quality: int) -> bytes:
        return codec.encode(picture, replace(options, quality=quality))

    # the last quality that is small enough
    quality = bisect.bisect_right(QUALITIES, size, key=lambda q: len(encoded(q)))
    if not quality:
        raise TargetError(
            f"{math.ceil(size):,} byte{'s' * (size > 1)} cannot be reached: "
            f"quality 1 takes {len(encoded(1)):,}{_metadata(encoded(1))}; "
            "ask for as many, or make the picture smaller"
        )
    data, enough = encoded(quality), (1 - TOLERANCE) * size
    if len(data) >= enough:
        return TargetResult(data, quality, None)
    if quality == QUALITIES[-1]:
        best = "the picture is stored exactly" if container.read_header(data).lossless else "quality 100 takes no more"
        return TargetResult(data, quality, f"{_below(data, size)}: {best}")
    low, high = _WEIGHTS
    for _ in range(_TRIALS):
        weight = math.sqrt(low * high)
        trial = codec.encode(picture, replace(options, quality=quality, distortion_weight=weight))
        if len(trial) > size:
            high = weight
            continue
        low = weight
        data = max(data, trial, key=len)
        if len(data) >= enough:
            return TargetResult(data, quality, None)
    why = f"the next quality takes {len(encoded(quality + 1)):,}"
    return TargetResult(data, quality, f"{_below(data, size)}: {why}")


def _below(data: bytes, size: float) -> str:
    return f"{len(data):,} bytes are {100 - 100 * len(data) / size:.1f} % below {size:,.0f}"


def _at_least(codec: Encodes, picture: Picture, wanted: float, options: EncodeOptions) -> TargetResult:
    @cache
    def encoded(quality: int) -> bytes:
        return codec.encode(picture, replace(options, quality=quality))

    @cache
    def reached(quality: int) -> float:
        return _psnr_of_seen(picture, codec.decode(encoded(quality)))

    # the first quality that is good enough
    quality = min(1 + bisect.bisect_left(QUALITIES, wanted, key=reached), QUALITIES[-1])
    note = None
    if reached(quality) < wanted:
        raise TargetError(
            f"{wanted:g} dB cannot be reached: quality {quality} gives {reached(quality):.2f} dB; "
            "ask for no more, or store it exactly with --lossless"
        )
    if math.isinf(reached(quality)):
        note = f"stored exactly, which is more than {wanted:g} dB"
    elif reached(quality) > (1 + TOLERANCE) * wanted:
        note = f"{reached(quality):.2f} dB are more than {wanted:g}: quality {quality} is the lowest that reaches it"
    return TargetResult(encoded(quality), quality, note)


def _psnr_of_seen(original: Picture, decoded: Picture) -> float:
    """In dB, of the pixels that are not wholly transparent: the encoder changes the others at will."""
    import numpy as np

    from .metrics import psnr

    if original.alpha is None:
        return psnr(original.rgb, decoded.rgb)
    hidden = original.alpha == 0
    everywhere = psnr(original.rgb, np.where(hidden[..., None], original.rgb, decoded.rgb))
    return everywhere if math.isinf(everywhere) else everywhere + 10 * math.log10(1 - hidden.mean())


def _metadata(data: bytes) -> str:
    size = sum(chunk.size for chunk in container.describe(data).chunks if chunk.type in _STRIPPED)
    return f", of which {size:,} are metadata (--strip leaves them out)" if size else ""
