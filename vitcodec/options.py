"""What can be asked of encoding and decoding: the options that command line, Python API, target search and codec share.

Each option has its default here and nowhere else, and is checked once, when the options are made. Nothing here imports
torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, get_args

from .errors import UsageError
from .subbands import LEVELS
from .tiles import Region

QUALITIES = range(1, 101)
EFFORTS = range(1, 10)
_RANGE = f"{QUALITIES[0]} to {QUALITIES[-1]}"
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 5
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
    roi: Sequence[Region] = ()  # regions of interest, in pixels of the upright picture; kept as a tuple
    # of the tiles that a region touches and of the others: a quality, or "+20" or "-10" by the side of `quality`
    roi_quality: int | str = "+20"
    background_quality: int | str | None = None  # None: `quality`

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
        self._check_regions()

    def _check_regions(self) -> None:
        try:
            object.__setattr__(self, "roi", tuple(Region(*map(int, region)) for region in self.roi))
        except (TypeError, ValueError) as error:
            raise UsageError("regions of interest have to be a list of Region(x, y, width, height)") from error
        for region in self.roi:
            if region.width < 1 or region.height < 1:
                raise UsageError(f"region {region} has no area; give a width and height of 1 or more")
        resolved_quality(self.roi_quality, self.quality)
        if self.background_quality is not None:
            resolved_quality(self.background_quality, self.quality)
        if self.coding == "lossless" and self.roi:
            raise UsageError("a lossless file has one quality everywhere; leave out lossless or the regions")


def resolved_quality(value: int | str, quality: int) -> int:
    """The quality that a value means: 60 and "60" are absolute; "+20" is `quality` and 20, but within 1 to 100.

    Raises UsageError.
    """
    match = re.fullmatch(r"([+-]?)(\d{1,3})", str(value).strip())
    if not match:
        raise UsageError(f"quality '{value}' is not understood; give {_RANGE}, or an offset as +20 or -10")
    if int(match[2]) not in (range(len(QUALITIES)) if match[1] else QUALITIES):
        raise UsageError(f"quality {match[0]} is out of range; give {_RANGE}, or an offset as +20 or -10")
    return min(max(quality + int(match[0]), QUALITIES[0]), QUALITIES[-1]) if match[1] else int(match[2])


def check_drawing(temperature: float, seed: int) -> None:
    """Of tokens that are drawn. Raises UsageError."""
    if not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise UsageError(f"temperature {temperature:g} is out of range; give {MIN_TEMPERATURE} to {MAX_TEMPERATURE}")
    if seed < 0:
        raise UsageError(f"seed {seed} is out of range; give 0 or more")


def is_offset(value: int | str) -> bool:
    """Whether a value of resolved_quality is added to another."""
    return str(value).strip()[:1] in ("+", "-")


@dataclass(frozen=True)
class DecodeOptions:
    """Which part of a file is decoded, and what becomes of what a damaged one lacks.

    Raises UsageError for values out of range.
    """

    reduce: int = 0  # 0 to 4: how often the sides are halved; finer levels are not read
    region: Region | None = None  # in pixels of the whole picture; None: all of it
    # whether details that a salvaged file lacks are drawn from the learned prior, and so invented, or left out
    imagine: bool = False
    seed: int = 0  # of what is drawn, 0 or more: the same gives the same tokens on every machine
    temperature: float = 1.0  # 0.01 to 5: probabilities are taken to the power of 1 / temperature

    def __post_init__(self) -> None:
        if self.reduce not in range(LEVELS + 1):
            raise UsageError(f"reduce {self.reduce} is out of range; give 0 to {LEVELS}")
        check_drawing(self.temperature, self.seed)


class EncodeChanges(TypedDict, total=False):
    """EncodeOptions as keyword arguments."""

    quality: int
    effort: int
    distortion_weight: float
    tile: int | None
    keep_tokens: float
    coding: Coding
    roi: Sequence[Region]
    roi_quality: int | str
    background_quality: int | str | None


class DecodeChanges(TypedDict, total=False):
    """DecodeOptions as keyword arguments."""

    reduce: int
    region: Region | None
    imagine: bool
    seed: int
    temperature: float


def encode_options(options: EncodeOptions | None, changes: EncodeChanges) -> EncodeOptions:
    """An object and keywords that replace its fields, together. Raises UsageError."""
    return replace(options or EncodeOptions(), **changes)


def decode_options(options: DecodeOptions | None, changes: DecodeChanges) -> DecodeOptions:
    """An object and keywords that replace its fields, together. Raises UsageError."""
    return replace(options or DecodeOptions(), **changes)
