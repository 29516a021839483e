"""The pictures of a report's page: each image and what codecs made of it, bounded in size and worst first."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..images import Picture
from .columns import quality_text
from .comparison import Comparison
from .report import shortened
from .results import Row

SIDE = 1280  # of a picture in the page; of a larger image the part that differs most is shown
STEP = 32  # pixels by which that part is moved

# (row, original) -> the decoded picture that the row measured, (H, W, 3) uint8
Render = Callable[[Row, Picture], np.ndarray]


@dataclass(frozen=True)
class Shot:
    """What one codec made of an image."""

    codec: str
    index: int  # of the codec in the comparison, for its colour
    row: Row
    uri: str

    @property
    def caption(self) -> str:
        return self.codec if self.row.quality is None else f"{self.codec}, {quality_text(self.row.quality)}"


@dataclass(frozen=True)
class Scene:
    """An image, or the part of it that is shown, from (left, top) on and of width x height pixels."""

    name: str
    whole: tuple[int, int]  # width and height of the image
    left: int
    top: int
    width: int
    height: int
    original: str  # data URI
    shots: list[Shot]

    @property
    def is_part(self) -> bool:
        return self.whole != (self.width, self.height)


def shown_quality(comparison: Comparison) -> float | None:
    """The quality of the first codec that the page shows pictures of: the middle one of those measured."""
    measured = [m.quality for m in comparison.reports[0].means()]
    return measured[len(measured) // 2] if measured else None


def worst_first(comparison: Comparison) -> list[Row]:
    """The first codec's rows at the quality shown, those of lowest PSNR first."""
    quality = shown_quality(comparison)
    return sorted((r for r in comparison.reports[0].rows if r.quality == quality), key=lambda r: r.psnr)


def scenes(
    comparison: Comparison,
    renders: Mapping[str, Render],
    read: Callable[[Path], Picture],
    count: int,
    advance: Callable[[Row], None] = lambda row: None,
) -> list[Scene]:
    """The `count` worst images, each with the first codec's picture and the nearest in rate of every other codec.

    renders: by codec. Pictures are decoded anew: keeping those of a whole measurement in memory would bound its size.
    """
    chosen = worst_first(comparison)[:count]
    names = shortened([r.file for r in comparison.reports[0].rows])
    by_file = dict(zip((r.file for r in comparison.reports[0].rows), names, strict=True))
    found = []
    for row in chosen:
        found.append(_scene(by_file[row.file], row, comparison, renders, read(Path(row.file))))
        advance(row)
    return found


def _scene(name: str, row: Row, comparison: Comparison, renders: Mapping[str, Render], original: Picture) -> Scene:
    decoded = [(i, r, nearest) for i, r in enumerate(comparison.reports) if (nearest := _nearest(r.rows, row))]
    pictures = [renders[report.codec](found, original) for _, report, found in decoded]
    top, left, height, width = worst_part(original.rgb, pictures[0], SIDE)

    def cut(rgb: np.ndarray) -> str:
        return data_uri(rgb[top : top + height, left : left + width])

    shots = [Shot(report.codec, i, found, cut(rgb)) for (i, report, found), rgb in zip(decoded, pictures, strict=True)]
    return Scene(name, (row.width, row.height), left, top, width, height, cut(original.rgb), shots)


def _nearest(rows: list[Row], wanted: Row) -> Row | None:
    """Of the same image, the row that is nearest in rate."""
    same = [r for r in rows if r.file == wanted.file]
    if wanted.bytes is None:
        return next(iter(same), None)
    size = wanted.bytes
    return min(same, key=lambda r: abs(math.log((r.bytes or size) / size)), default=None)


def worst_part(original: np.ndarray, decoded: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part with the largest squared difference.

    The part is at most side x side pixels; its place is found in steps of 32 pixels.
    """
    height, width = original.shape[:2]
    if max(height, width) <= side:
        return 0, 0, height, width
    h, w = min(height, side), min(width, side)
    columns = np.arange(0, width, STEP)
    strips = ((original[y : y + STEP].astype(np.int32), decoded[y : y + STEP]) for y in range(0, height, STEP))
    error = np.stack([np.add.reduceat(np.square(a - b).sum((0, 2)), columns) for a, b in strips])
    # sums over all blocks above and to the left, so that a part's sum is a difference of four
    sums = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    r, c = -(-h // STEP), -(-w // STEP)
    parts = sums[r:, c:] - sums[:-r, c:] - sums[r:, :-c] + sums[:-r, :-c]
    i, j = np.unravel_index(parts.argmax(), parts.shape)
    return min(int(i) * STEP, height - h), min(int(j) * STEP, width - w), h, w


def data_uri(rgb: np.ndarray) -> str:
    """(H, W, 3) uint8, without loss: what every browser shows, in as few bytes as that takes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, "WEBP", lossless=True, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
