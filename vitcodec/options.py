"""What can be asked of encoding and decoding: the options that command line, Python API, target search and codec share.

Each option has its default here and nowhere else, and is checked once, when the options are made. Nothing here imports
torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypedDict, get_args

from .errors import UsageError
from .subbands import LEVELS
from .tiles import Region

QUALITIES = range(1, 101)
EFFORTS = range(1, 10)
TILE_SIDES = (128, 256, 512, 1024)  # pixels
# what a file holds: tokens; the pixels themselves, exactly; or whichever is smaller
Coding = Literal["auto", "tokens", "lossless"]


@dataclass(frozen=True)
class EncodeOptions:
    """How a picture is encoded. Raises UsageError for values out of range."""

    quality: int = 50  # 1 to 100: higher is better and larger
    effort: int = 3  # 1 to 9: time spent on smaller files; see docs/effort.md
    distortion_weight: float = 1.0  # multiplier on distortion in RDO, more than 0: less makes a smaller and worse file
    # side in pixels, of TILE_SIDES, of the squares that are coded by themselves; None: the model's
    tile: int | None = None
    keep_tokens: float = 1.0  # share of tokens that the file holds, more than 0, up to 1; the others are erased
    coding: Coding = "auto"

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise UsageError(f"quality {self.quality} is out of range; give {QUALITIES[0]} to {QUALITIES[-1]}")
        if self.effort not in EFFORTS:
            raise UsageError(f"effort {self.effort} is out of range; give {EFFORTS[0]} to {EFFORTS[-1]}")
        if not 0 < self.distortion_weight < float("inf"):
            raise UsageError(f"distortion weight {self.distortion_weight:g} is out of range; give more than 0")
        if self.tile is not None and self.tile not in TILE_SIDES:
            raise UsageError(f"tiles of {self.tile} pixels are not possible; give {', '.join(map(str, TILE_SIDES))}")
        if not 0 < self.keep_tokens <= 1:
            raise UsageError(f"a share of {self.keep_tokens:g} of the tokens cannot be kept; give more than 0, up to 1")
        if self.coding not in get_args(Coding):
            raise UsageError(f"unknown coding '{self.coding}'; give {', '.join(get_args(Coding))}")
        if self.coding == "lossless" and self.keep_tokens < 1:
            raise UsageError("a lossless file has no tokens to erase; keep all tokens, or leave lossless out")


@dataclass(frozen=True)
class DecodeOptions:
    """Which part of a file is decoded. Raises UsageError for values out of range."""

    reduce: int = 0  # 0 to 4: how often the sides are halved; finer levels are not read
    region: Region | None = None  # in pixels of the whole picture; None: all of it

    def __post_init__(self) -> None:
        if self.reduce not in range(LEVELS + 1):
            raise UsageError(f"reduce {self.reduce} is out of range; give 0 to {LEVELS}")


class EncodeChanges(TypedDict, total=False):
    """EncodeOptions as keyword arguments."""

    quality: int
    effort: int
    distortion_weight: float
    tile: int | None
    keep_tokens: float
    coding: Coding


class DecodeChanges(TypedDict, total=False):
    """DecodeOptions as keyword arguments."""

    reduce: int
    region: Region | None


def encode_options(options: EncodeOptions | None, changes: EncodeChanges) -> EncodeOptions:
    """An object and keywords that replace its fields, together. Raises UsageError."""
    return replace(options or EncodeOptions(), **changes)


def decode_options(options: DecodeOptions | None, changes: DecodeChanges) -> DecodeOptions:
    """An object and keywords that replace its fields, together. Raises UsageError."""
    return replace(options or DecodeOptions(), **changes)
