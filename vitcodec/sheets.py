"""Several pictures as one: a contact sheet, or an animation."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import LimitError
from .picture import Picture

GAP = 4  # pixels of white between the pictures of a sheet
# of the suffix of a file's name: what Pillow calls the format
ANIMATIONS = {".webp": "WEBP", ".gif": "GIF", ".png": "PNG", ".apng": "PNG"}
_SAVE: dict[str, dict[str, Any]] = {"WEBP": {"quality": 90, "method": 4}, "GIF": {}, "PNG": {"compress_level": 6}}


def sheet_size(count: int, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height in pixels of a sheet of so many pictures of one size. Raises LimitError."""
    from .images import MAX_PIXELS

    columns, rows = _layout(count)
    width, height = columns * (size[0] + GAP) - GAP, rows * (size[1] + GAP) - GAP
    if width * height > MAX_PIXELS:
        raise LimitError(
            f"a sheet of {count} pictures of {size[0]}x{size[1]} pixels exceeds the limit of {MAX_PIXELS:,} pixels; "
            "give -o a folder, or fewer or smaller pictures"
        )
    return width, height


def contact_sheet(pictures: Sequence[Picture]) -> Picture:
    """Pictures of one size in rows, as nearly a square as their number allows. Of one picture, that picture."""
    first = pictures[0]
    if len(pictures) == 1:
        return first
    columns, (width, height) = _layout(len(pictures))[0], sheet_size(len(pictures), first.size)
    rgb = np.full((height, width, 3), 255, np.uint8)
    alpha = None if first.alpha is None else np.full((height, width), 255, np.uint8)
    for k, picture in enumerate(pictures):
        row, column = divmod(k, columns)
        y, x = row * (first.size[1] + GAP), column * (first.size[0] + GAP)
        here = slice(y, y + first.size[1]), slice(x, x + first.size[0])
        rgb[here] = picture.rgb
        if alpha is not None and picture.alpha is not None:
            alpha[here] = picture.alpha
    return Picture(rgb, alpha, icc=None if first.gray else first.icc, cicp=first.cicp)


def animation(pictures: Sequence[Picture], format: str, milliseconds: int) -> bytes:
    """A file that shows pictures of one size one after another, again and again.

    format: WEBP, GIF or PNG (which is APNG then). milliseconds: that each is shown.
    """
    images = [picture.to_pil() for picture in pictures]
    if any(image.mode != images[0].mode for image in images):
        images = [image.convert("RGBA" if pictures[0].alpha is not None else "RGB") for image in images]
    options = dict(_SAVE[format])
    if pictures[0].icc and format != "GIF":
        options["icc_profile"] = pictures[0].icc
    buffer = io.BytesIO()
    images[0].save(buffer, format, save_all=True, append_images=images[1:], duration=milliseconds, loop=0, **options)
    return buffer.getvalue()


def _layout(count: int) -> tuple[int, int]:
    """Columns and rows."""
    columns = math.ceil(math.sqrt(count))
    return columns, -(-count // columns)
