"""An image in memory: what reading gives, encoding takes and decoding returns."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from PIL import Image


@dataclass(eq=False, repr=False)
class Picture:
    """Colours, perhaps alpha, and what the file says of them.

    It goes wherever an array goes: np.asarray(picture) is (H, W, 3) uint8, or (H, W, 4) with alpha. Notebooks show it.
    Two are equal where values and metadata are; notes do not count.
    """

    rgb: np.ndarray  # (H, W, 3) uint8, the values of the file, in the space of `cicp` or `icc` (sRGB without)
    alpha: np.ndarray | None = None  # (H, W) uint8
    gray: bool = False  # the three channels are equal, and the file had, or gets, one
    icc: bytes | None = None
    exif: bytes | None = None  # from its TIFF header ("II" or "MM") on, with the orientation reset
    xmp: bytes | None = None
    notes: list[str] = field(default_factory=list)  # what to tell the user once, such as "16-bit reduced to 8"
    cicp: bytes | None = None  # 4 bytes as in PNG's cICP: primaries, transfer, matrix, full range; counts before icc
    dpi: tuple[float, float] | None = None  # dots per inch, x and y

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as Pillow has them."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def to_pil(self) -> Image.Image:
        """A Pillow image of mode L, LA, RGB or RGBA. Profile, EXIF, XMP and resolution are in its `info`."""
        from .conversion import to_pil

        return to_pil(self)

    def save(
        self,
        target: str | PathLike[str] | BinaryIO,
        format: str | None = None,
        *,
        strip: bool = False,
        overwrite: bool = True,
    ) -> list[str]:
        """Write an image file, whole or not at all; `write_image` says how. Returns notes on what it cannot hold.

        Raises UsageError for an unknown format, OutputError.
        """
        from .images import write_image

        path = Path(target) if isinstance(target, str | PathLike) else target
        return write_image(self, path, format, strip, overwrite)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.alpha is None:
            return np.array(self.rgb, dtype) if copy or copy is None else np.asarray(self.rgb, dtype)
        return np.concatenate((self.rgb, self.alpha[..., None]), -1).astype(dtype or np.uint8)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.save(buffer, "png")
        return buffer.getvalue()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Picture):
            return NotImplemented
        from .conversion import same

        return same(self, other)

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        width, height = self.size
        parts = [f"{width}x{height}", "gray" if self.gray else "RGB"]
        named = {"alpha": self.alpha, "ICC": self.icc, "CICP": self.cicp, "EXIF": self.exif, "XMP": self.xmp}
        parts += [name for name, value in named.items() if value is not None]
        return f"Picture({', '.join(parts)})"


def check(picture: Picture) -> None:
    """Raises InputError for what cannot be encoded: without this, values in 0..1 would become black."""
    wanted = [("rgb", picture.rgb, "(height, width, 3)")]
    wanted += [] if picture.alpha is None else [("alpha", picture.alpha, "(height, width), as rgb has it")]
    for name, array, shape in wanted:
        fits = array.ndim == 3 and array.shape[2] == 3 if name == "rgb" else array.shape == picture.rgb.shape[:2]
        if array.dtype != np.uint8 or not fits or not array.size:
            raise InputError(
                f"{name} of a picture is uint8 {shape}, not {array.dtype} {array.shape}; values go from 0 to 255"
            )
