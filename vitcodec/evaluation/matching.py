"""Finding the quality at which a codec makes a file of a wanted size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..options import QUALITIES

if TYPE_CHECKING:
    from ..picture import Picture
    from .engine import ImageCodec


def match_size(codec: ImageCodec, picture: Picture, target: float) -> float:
    """The quality of codec.scale (1 to 100 if it has none) whose file comes nearest to `target` bytes, in ratio.

    By bisection: sizes are assumed to rise along the scale, so that eight encodings do. Where no file is as small or as
    large as `target`, it is the first or the last quality.
    """
    scale: Sequence[float] = getattr(codec, "scale", QUALITIES)
    sizes: dict[int, int] = {}

    def size(index: int) -> int:
        if index not in sizes:
            sizes[index] = len(codec.encode(picture, scale[index]))
        return sizes[index]

    below, above = -1, len(scale)
    while above - below > 1:
        middle = (below + above) // 2
        if size(middle) <= target:
            below = middle
        else:
            above = middle
    ends = [index for index in (below, above) if 0 <= index < len(scale)]
    return scale[min(ends, key=lambda index: abs(math.log(size(index) / target)))]
