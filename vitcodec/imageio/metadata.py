"""What an image file says beside its pixels, the same for every format."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

PIXEL_SHAPE = "shape of its pixels"  # in left_out: they are not square
MOST = 16 << 20  # bytes of one piece of metadata; more is left out


@dataclass
class FileMetadata:
    """icc, exif, xmp as bytes; exif from its TIFF header on, as it stands in the file.

    numbers: the profile that PNG's gAMA and cHRM make, called `numbers_name`. orientation: None where EXIF says it.
    left_out: what is not kept, in a few words each. notes: whole messages. crop: (x, y, width, height), where a file
    asks for a part of its picture.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    cicp: bytes | None = None
    numbers: bytes | None = None
    numbers_name: str = ""
    orientation: int | None = None
    crop: tuple[int, int, int, int] | None = None
    monochrome: bool = False  # gray, though Pillow loads it as RGB
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def leave_out_what_is_too_long(self) -> None:
        """What no file has room for."""
        for name, what in (("icc", "ICC profile"), ("exif", "EXIF"), ("xmp", "XMP")):
            if len(getattr(self, name) or b"") > MOST:
                setattr(self, name, None)
                self.left_out.append(f"{what} of more than {MOST >> 20} MiB")

    def damaged(self, what: str) -> None:
        """Say that a piece of metadata cannot be read."""
        self.notes.append(f"its {what} is damaged: left out")


def inflate(data: bytes) -> bytes | None:
    """A zlib stream of at most MOST bytes; None where it is damaged, cut off or longer."""
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(data, MOST)
    except zlib.error:
        return None
    return out if inflater.eof else None


def per_inch(x: float, y: float) -> tuple[float, float] | None:
    """Dots per inch, or None where they are no such numbers."""
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None
