"""Finding the setting of a codec that makes a file of a wanted size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..images import Picture
    from .engine import ImageCodec

VITCODEC_SCALE = range(1, 101)


def match_size(codec: ImageCodec, picture: Picture, target: float) -> float:
    """The setting of codec.scale (vitcodec's own qualities if it has none) whose file comes nearest to `target` bytes, in ratio.

    By bisection, so sizes are taken to rise along the scale: eight encodings, not a hundred. Where no setting is as small or as large as
    `target`, it is the first or the last.
    """
    scale: Sequence[float] = getattr(codec, "scale", VITCODEC_SCALE)
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
