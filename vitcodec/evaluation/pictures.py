"""The pictures of a report's page: each image and what codecs made of it, bounded in size and worst first."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..picture import Picture
from .columns import quality_text
from .comparison import Comparison
from .report import shortened
from .results import Row
from .verdict import verdict

SIDE = 1280  # of a picture in the page; of a larger image the part that differs most is shown
STEP = 32  # pixels by which that part is moved
WINDOW, FINE_STEP = 64, 8  # pixels: of the window in which two codecs differ most, and by which it is moved

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
class Spot:
    """Where the first codec and another differ most: the middle of a window, in pixels of the part that is shown."""

    x: int
    y: int
    other: str
    nearer: str  # which of the two is nearer to the original there


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
    spot: Spot | None = None  # what the page opens at, enlarged

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
    found = verdict(comparison)
    if found:  # beside the first codec stands its nearest rival
        order = [found.codec, *(standing.codec for standing in found.against)]
        decoded.sort(key=lambda entry: order.index(entry[1].codec))
    pictures = [renders[report.codec](row, original) for _, report, row in decoded]
    spot = most_different(original.rgb, *pictures[:2]) if found and len(pictures) > 1 else None
    if spot is None:
        top, left, height, width = worst_part(original.rgb, pictures[0], SIDE)
    else:
        top, left, height, width = part_around(spot[0], spot[1], row.height, row.width, SIDE)

    def cut(rgb: np.ndarray) -> str:
        return data_uri(rgb[top : top + height, left : left + width])

    shots = [Shot(report.codec, i, row, cut(rgb)) for (i, report, row), rgb in zip(decoded, pictures, strict=True)]
    shown = None
    if spot is not None:
        x, y, first_is_nearer = spot
        shown = Spot(x - left, y - top, shots[1].codec, shots[0 if first_is_nearer else 1].codec)
    return Scene(name, (row.width, row.height), left, top, width, height, cut(original.rgb), shots, shown)


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
    parts = _windows(_block_errors(original, decoded, STEP), -(-h // STEP), -(-w // STEP))
    i, j = np.unravel_index(parts.argmax(), parts.shape)
    return min(int(i) * STEP, height - h), min(int(j) * STEP, width - w), h, w


def most_different(original: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[int, int, bool] | None:
    """Where the squared errors of two decoded pictures differ most: (x, y, whether `one` is nearer to the original).

    That is the middle of a window of 64x64 pixels. None where they differ nowhere.
    """
    height, width = original.shape[:2]
    blocks = _block_errors(original, one, FINE_STEP) - _block_errors(original, other, FINE_STEP)
    count = WINDOW // FINE_STEP
    windows = _windows(blocks, min(count, blocks.shape[0]), min(count, blocks.shape[1]))
    i, j = (int(k) for k in np.unravel_index(np.abs(windows).argmax(), windows.shape))
    if windows[i, j] == 0:
        return None
    y, x = ((k + min(k + WINDOW, end)) // 2 for k, end in ((i * FINE_STEP, height), (j * FINE_STEP, width)))
    return x, y, bool(windows[i, j] < 0)


def part_around(x: int, y: int, height: int, width: int, side: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part of at most side x side pixels with (x, y) in its middle if edges allow."""
    h, w = min(height, side), min(width, side)
    return min(max(y - h // 2, 0), height - h), min(max(x - w // 2, 0), width - w), h, w


def _block_errors(original: np.ndarray, decoded: np.ndarray, step: int) -> np.ndarray:
    """Sums of squared differences in blocks of step x step pixels, by strips so that a large picture needs no copy."""
    height, width = original.shape[:2]
    columns = np.arange(0, width, step)
    strips = ((original[y : y + step].astype(np.int32), decoded[y : y + step]) for y in range(0, height, step))
    return np.stack([np.add.reduceat(np.square(a - b).sum((0, 2), dtype=np.int64), columns) for a, b in strips])


def _windows(blocks: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Sums over every window of rows x columns blocks."""
    # sums over all blocks above and to the left, so that a window's sum is a difference of four
    sums = np.pad(blocks.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]


def data_uri(pixels: np.ndarray, quality: int | None = None) -> str:
    """(H, W, 3) uint8, or (H, W, 4) with opacity: what every browser shows, in as few bytes as that takes.

    quality: of WebP, 1 to 100; None: without loss.
    """
    from PIL import Image

    buffer, options = io.BytesIO(), {"lossless": True} if quality is None else {"quality": quality}
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", method=4, **options)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
