"""The codecs that people use today, through Pillow, in the shape of vitcodec's own: what benchmarks compare with.

Each runs in its best setting for PSNR that is still in everyday use, on one thread, without metadata. What `quality` means is each codec's
own affair; `settings` holds eight values that together cover about 0.1 to 2.5 bits per pixel on photographs, in order of rising rate.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..images import Picture


@dataclass(frozen=True)
class Baseline:
    """A codec of Pillow's; `encode` and `decode` are those of vitcodec's Codec."""

    name: str
    format: str  # Pillow's name of it
    suffix: str
    settings: tuple[int, ...]
    options: Callable[[int], dict[str, Any]] = field(repr=False)

    def encode(self, picture: Picture, quality: int) -> bytes:
        """The colours of `picture` as a file's bytes; alpha and metadata are left out."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(picture.rgb).save(buffer, format=self.format, **self.options(quality))
        return buffer.getvalue()

    def decode(self, data: bytes) -> Picture:
        import numpy as np
        from PIL import Image

        from ..images import Picture

        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            rgb = np.asarray(image.convert("RGB"))
        return Picture(rgb=rgb, alpha=None, gray=False, icc=None, exif=None, xmp=None, notes=[])


def _avif(quality: int) -> dict[str, Any]:
    # Pillow's default, tune=iq, aims at the eye and costs 10 % in PSNR
    return {"quality": quality, "speed": 4, "subsampling": "4:4:4", "max_threads": 1, "advanced": {"tune": "psnr"}}


def _jpeg_2000(ratio: int) -> dict[str, Any]:
    # quality is the ratio of compression, so the rate is about 24 / ratio bits per pixel; irreversible is the 9/7 wavelet
    return {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1, "num_resolutions": 6}


JPEG = Baseline("JPEG", "JPEG", ".jpg", (5, 10, 20, 35, 50, 70, 85, 94), lambda q: {"quality": q, "subsampling": "4:2:0", "optimize": True})
WEBP = Baseline("WebP", "WEBP", ".webp", (1, 5, 15, 35, 60, 80, 92, 100), lambda q: {"quality": q, "method": 6})
JPEG_2000 = Baseline("JPEG 2000", "JPEG2000", ".jp2", (240, 160, 96, 60, 36, 22, 14, 9), _jpeg_2000)
AVIF = Baseline("AVIF", "AVIF", ".avif", (8, 18, 30, 42, 54, 65, 76, 86), _avif)

BASELINES = (JPEG, WEBP, JPEG_2000, AVIF)
