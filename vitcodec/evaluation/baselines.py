"""The codecs that people use today, through Pillow, in the shape of vitcodec's own: what reports and benchmarks compare with.

Each runs on one thread and without metadata, in its best setting for PSNR that is still in everyday use; AVIF also as libavif tunes it unasked,
which aims at the eye. What `quality` means is each codec's own affair; `settings` holds eight values that together cover about 0.1 to 2.5 bits
per pixel on photographs, and `scale` all that can be searched, both in order of rising rate.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from ..images import Picture


@dataclass(frozen=True)
class Baseline:
    """A codec of Pillow's; `encode` and `decode` are those of vitcodec's Codec."""

    key: str  # what users call it
    name: str
    format: str  # Pillow's name of it
    suffix: str
    settings: tuple[float, ...]
    scale: Sequence[float] = field(repr=False)
    options: Callable[[float], dict[str, Any]] = field(repr=False)
    description: str  # how it is run
    plugin: str | None = None  # a module to import first, of a package that is not required

    def encode(self, picture: Picture, quality: float) -> bytes:
        """The colours of `picture` as a file's bytes; alpha and metadata are left out."""
        from PIL import Image

        self._register()
        options = self.options(quality)
        gray = (
            picture.gray and "mct" not in options
        )  # with its colour transform, JPEG 2000 needs next to nothing for colours that are not there
        buffer = io.BytesIO()
        Image.fromarray(picture.rgb[..., 0] if gray else picture.rgb).save(buffer, format=self.format, **options)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Picture:
        import numpy as np
        from PIL import Image

        from ..images import Picture

        self._register()
        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            rgb = np.asarray(image.convert("RGB"))
        return Picture(rgb=rgb, alpha=None, gray=False, icc=None, exif=None, xmp=None, notes=[])

    def available(self) -> bool:
        """Whether this installation can run it."""
        from PIL import Image

        if self.plugin:
            return importlib.util.find_spec(self.plugin) is not None
        Image.init()
        return self.format in Image.SAVE

    def _register(self) -> None:
        if self.plugin:
            importlib.import_module(self.plugin)


def _avif(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "speed": 4, "subsampling": "4:4:4", "max_threads": 1}


def _avif_psnr(quality: float) -> dict[str, Any]:
    return _avif(quality) | {"advanced": {"tune": "psnr"}}


def _jpeg_2000(ratio: float) -> dict[str, Any]:
    # quality is the ratio of compression, so the rate is about 24 / ratio bits per pixel; irreversible is the 9/7 wavelet
    return {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1, "num_resolutions": 6}


def _jpeg(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "subsampling": "4:2:0", "optimize": True}


def _webp(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "method": 6}


def _jpeg_xl(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "effort": 7, "num_threads": 1}


_RATIOS = tuple(round(400 / 1.02**k, 3) for k in range(250))  # down to about 2.9
_AVIF = (8, 18, 30, 42, 54, 65, 76, 86)

JPEG = Baseline(
    "jpeg",
    "JPEG",
    "JPEG",
    ".jpg",
    (5, 10, 20, 35, 50, 70, 85, 94),
    range(1, 101),
    _jpeg,
    "4:2:0, optimised Huffman tables",
)
WEBP = Baseline("webp", "WebP", "WEBP", ".webp", (1, 5, 15, 35, 60, 80, 92, 100), range(101), _webp, "method 6")
JPEG_2000 = Baseline(
    "jpeg2000",
    "JPEG 2000",
    "JPEG2000",
    ".jp2",
    (240, 160, 96, 60, 36, 22, 14, 9),
    _RATIOS,
    _jpeg_2000,
    "9/7 wavelet; quality is the compression ratio",
)
AVIF = Baseline("avif", "AVIF (tune=psnr)", "AVIF", ".avif", _AVIF, range(101), _avif_psnr, "speed 4, 4:4:4, tune=psnr")
AVIF_DEFAULT = Baseline(
    "avif",
    "AVIF (default tuning)",
    "AVIF",
    ".avif",
    _AVIF,
    range(101),
    _avif,
    "speed 4, 4:4:4, tuned as libavif does unasked",
)
JPEG_XL = Baseline(
    "jxl", "JPEG XL", "JXL", ".jxl", (1, 10, 30, 60, 75, 85, 92, 95), range(1, 100), _jpeg_xl, "effort 7", "pillow_jxl"
)

BASELINES = (JPEG, WEBP, JPEG_2000, AVIF, AVIF_DEFAULT)
OPTIONAL = (JPEG_XL,)
KEYS = tuple(dict.fromkeys(b.key for b in (*BASELINES, *OPTIONAL)))


def choose(keys: Sequence[str]) -> list[Baseline]:
    """The baselines of these keys, in the order of KEYS; "all": those that this installation can run. Raises UsageError."""
    known = (*BASELINES, *OPTIONAL)
    for key in keys:
        if key not in (*KEYS, "all"):
            raise UsageError(f"no baseline '{key}'; there are {', '.join(KEYS)} and all")
        missing = [b for b in known if b.key == key and not b.available()]
        if missing and missing[0].plugin:
            raise UsageError(
                f"baseline {key} needs Pillow's plugin for it; pip install pillow-jxl-plugin, or leave {key} out"
            )
        if missing:
            raise UsageError(f"baseline {key} is not in this build of Pillow; leave {key} out")
    return [b for b in known if b.key in keys or ("all" in keys and b.available())]
