"""Encoding to a given size or PSNR: a search for the quality, then for the last percent within it."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    from .codec import Codec
    from .images import Picture

TOLERANCE = 0.02  # of the size that is asked for
_QUALITIES = range(1, 101)
_WEIGHTS = 1.0, 4.0  # of the encoder's rounding, in units of its usual one: beyond that nothing more is spent
_TRIALS = 5  # halvings of that range
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "ki": 1024, "mi": 1024**2}


@dataclass(frozen=True)
class Target:
    """One of these: bytes at most, or PSNR in dB at least."""

    size: float | None = None
    psnr: float | None = None


Pixels = Callable[[int], Target]  # the target of a picture, by its number of pixels


@dataclass(frozen=True)
class TargetResult:
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


def encode(codec: Codec, picture: Picture, target: Target, **options: Any) -> TargetResult:
    """The best file of at most so many bytes, or the smallest of at least so many dB.

    Bisects over the quality, which takes about seven encodings; for a size, and where that leaves more than 2 %, also over the encoder's error
    weight, which is continuous and no part of the file. options: of Codec.encode, and raises as that does.
    """
    if target.size is not None:
        return _at_most(codec, picture, target.size, options)
    return _at_least(codec, picture, target.psnr or 0, options)


def _at_most(codec: Codec, picture: Picture, size: float, options: dict[str, Any]) -> TargetResult:
    @cache
    def encoded(quality: int) -> bytes:
        return codec.encode(picture, quality, **options)

    quality = bisect.bisect_right(_QUALITIES, size, key=lambda q: len(encoded(q)))  # the last one that is small enough
    if not quality:
        data = encoded(1)
        return TargetResult(
            data, 1, f"{size:,.0f} bytes cannot be reached: quality 1 takes {len(data):,}{_metadata(picture)}"
        )
    data, enough = encoded(quality), (1 - TOLERANCE) * size
    if len(data) >= enough:
        return TargetResult(data, quality, None)
    if quality == _QUALITIES[-1]:
        return TargetResult(
            data,
            quality,
            f"{len(data):,} bytes are {100 - 100 * len(data) / size:.1f} % below {size:,.0f}: it is the best quality there is",
        )
    low, high = _WEIGHTS
    for _ in range(_TRIALS):
        weight = math.sqrt(low * high)
        trial = codec.encode(picture, quality, distortion_weight=weight, **options)
        if len(trial) > size:
            high = weight
            continue
        low = weight
        data = max(data, trial, key=len)
        if len(data) >= enough:
            return TargetResult(data, quality, None)
    why = f"the next quality takes {len(encoded(quality + 1)):,}"
    return TargetResult(
        data, quality, f"{len(data):,} bytes are {100 - 100 * len(data) / size:.1f} % below {size:,.0f}: {why}"
    )


def _at_least(codec: Codec, picture: Picture, wanted: float, options: dict[str, Any]) -> TargetResult:
    from .metrics import psnr

    @cache
    def encoded(quality: int) -> bytes:
        return codec.encode(picture, quality, **options)

    @cache
    def reached(quality: int) -> float:
        return psnr(picture.rgb, codec.decode(encoded(quality)).rgb)

    # the first one that is good enough
    quality = min(1 + bisect.bisect_left(_QUALITIES, wanted, key=reached), _QUALITIES[-1])
    note = None
    if reached(quality) < wanted:
        note = f"{wanted:g} dB cannot be reached: quality {quality} gives {reached(quality):.2f} dB"
    elif reached(quality) > (1 + TOLERANCE) * wanted:
        note = f"{reached(quality):.2f} dB are more than {wanted:g}: quality {quality} is the lowest that reaches it"
    return TargetResult(encoded(quality), quality, note)


def _metadata(picture: Picture) -> str:
    size = sum(len(data) for data in (picture.icc, picture.exif, picture.xmp) if data)
    return f", with {size:,} bytes of metadata before compression (--strip leaves them out)" if size else ""
