"""Numbers as pictures: maps of neurons, subbands in one square, heat. All arrays are uint8 unless said otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vitcodec.analysis import COLOUR
from vitcodec.subbands import LEVELS, Subbands

Array = np.ndarray

GAP = 4  # pixels between the parts of a figure; it is transparent, so that any page's colour shows there
WEBP: dict[str, Any] = {"quality": 84, "method": 6}
_HEAT = np.array([[0, 0, 4], [65, 15, 110], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], np.float64)


def signed(x: Array, percentile: float = 98) -> Array:
    """Floats (h, w) -> gray (h, w): the median is mid-gray; so many per cent are neither black nor white."""
    x = x - np.median(x)
    return np.clip(127.5 + 127.5 * x / (np.percentile(np.abs(x), percentile) + 1e-9), 0, 255).astype(np.uint8)


def weights(x: Array) -> Array:
    """Weights (h, w) -> gray: zero is mid-gray, the largest magnitude black or white."""
    return np.clip(np.rint(127.5 + 127.5 * x / np.abs(x).max()), 0, 255).astype(np.uint8)


def heat(x: Array) -> Array:
    """Floats (h, w), 0 and more -> (h, w, 3): black for 0, light yellow for the largest; the scale is a square root."""
    place = np.sqrt(x / x.max()) * (len(_HEAT) - 1)
    below = np.minimum(place.astype(int), len(_HEAT) - 2)
    share = (place - below)[..., None]
    return np.rint(_HEAT[below] * (1 - share) + _HEAT[below + 1] * share).astype(np.uint8)


def enlarged(x: Array, side: int) -> Array:
    """(h, w) or (h, w, 3) -> at least `side` pixels high, each pixel as a square."""
    return x.repeat(side // len(x), 0).repeat(side // len(x), 1)


def subband_square(bands: Subbands) -> Array:
    """Coefficients (1, h, w, C) as the usual square: the low band in its upper left corner, finer levels outwards.

    Details are drawn around mid-gray: of each level horizontal ones to the right, vertical ones below. Each level has a
    contrast of its own, or the fine ones would not be seen.
    """
    square = bands.low[0] / (1 << LEVELS) @ COLOUR + 128
    for level in range(LEVELS, 0, -1):
        height, width = bands[level].shape[1:3]
        details = bands[level][0].reshape(height, width, 3, 3)  # colour, orientation
        scale = 127 / np.percentile(np.abs(details), 99.5)
        across, down, diagonal = (scale * details[..., k] @ COLOUR + 128 for k in range(3))
        square = np.block([[[square], [across]], [[down], [diagonal]]])
        square[height, : 2 * width] = square[: 2 * height, width] = 255
    return np.clip(np.rint(square), 0, 255).astype(np.uint8)


def coherent(maps: Array, count: int) -> list[int]:
    """The channels of floats (h, w, C) whose neighbouring values agree most, each unlike those chosen before it."""
    x = (maps - maps.mean((0, 1))) / (maps.std((0, 1)) + 1e-9)
    agreement = (x[1:] * x[:-1]).mean((0, 1)) + (x[:, 1:] * x[:, :-1]).mean((0, 1))
    flat = x.reshape(-1, x.shape[-1])
    alike = np.abs(flat.T @ flat) / len(flat)
    chosen: list[int] = []
    for channel in np.argsort(-agreement).tolist():
        if len(chosen) < count and all(alike[channel, other] < 0.5 for other in chosen):
            chosen.append(channel)
    return chosen


def figure(rows: Sequence[Sequence[Array]]) -> Image.Image:
    """Pictures of one height a row, gray, RGB or RGBA, side by side with gaps between them."""
    lines = [_joined([_rgba(part) for part in row], 1) for row in rows]
    widest = max(line.shape[1] for line in lines)
    return Image.fromarray(_joined([np.pad(x, ((0, 0), (0, widest - x.shape[1]), (0, 0))) for x in lines], 0))


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **WEBP)


def _rgba(x: Array) -> Array:
    if x.shape[2:] == (4,):
        return x
    colour = x[..., None].repeat(3, -1) if x.ndim == 2 else x
    return np.concatenate((colour, np.full_like(colour[..., :1], 255)), -1)


def _joined(parts: Sequence[Array], axis: int) -> Array:
    shape = list(parts[0].shape)
    shape[axis] = GAP
    gaps = [np.zeros(shape, np.uint8)] * (len(parts) - 1)
    return np.concatenate([x for pair in zip(parts, [*gaps, None], strict=True) for x in pair if x is not None], axis)
