"""Baselines: the codecs that people use today, through Pillow, which reports and benchmarks compare vitcodec with.

Each runs on one thread and without metadata, at its best setting for PSNR that is still in everyday use; AVIF also as
libavif tunes it by default, which aims at the eye. Every codec has its own scale of quality, in order of rising rate:
`settings` holds eight values that together cover about 0.1 to 2.5 bits per pixel on photographs, and `scale` all values
that can be searched.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import InputError, UsageError

if TYPE_CHECKING:
    from ..picture import Picture


@dataclass(frozen=True)
class Baseline:
    """A codec of Pillow's, as an engine.ImageCodec."""

    key: str  # what users call it
    name: str
    format: str  # Pillow's name of it
    suffix: str
    settings: tuple[float, ...]  # eight qualities that make a curve
    scale: Sequence[float] = field(repr=False)  # all qualities
    options: Callable[[float], dict[str, Any]] = field(repr=False)
    description: str  # how it is run
    plugin: str | None = None  # a module to import first, of a package that is optional

    def encode(self, picture: Picture, quality: float) -> bytes:
        """The colours of `picture` as a file's bytes, without alpha and metadata. Raises InputError where it cannot."""
        from PIL import Image

        self._register()
        options = self.options(quality)
        # JPEG 2000 with its colour transform needs next to nothing for the colours of a gray picture
        gray = picture.gray and "mct" not in options
        buffer = io.BytesIO()
        try:
            Image.fromarray(picture.rgb[..., 0] if gray else picture.rgb).save(buffer, format=self.format, **options)
        except (OSError, ValueError, RuntimeError) as error:  # such as WebP's limit of 16383 pixels
            raise InputError(f"{self.name} cannot store this picture: {error}") from error
        return buffer.getvalue()

    def decode(self, data: bytes) -> Picture:
        """The colours alone. Raises what Pillow raises."""
        import numpy as np
        from PIL import Image

        from ..picture import Picture

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
    # quality is the compression ratio, so the rate is about 24 / ratio bits per pixel; irreversible is the 9/7 wavelet
    return {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1, "num_resolutions": 6}


def _jpeg(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "subsampling": "4:2:0", "optimize": True}


def _webp(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "method": 6}


def _jpeg_xl(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "effort": 7, "num_threads": 1}


_RATIOS = tuple(round(400 / 1.02**k, 3) for k in range(250))  # down to about 2.9

JPEG = Baseline(
    key="jpeg",
    name="JPEG",
    format="JPEG",
    suffix=".jpg",
    settings=(5, 10, 20, 35, 50, 70, 85, 94),
    scale=range(1, 101),
    options=_jpeg,
    description="4:2:0, optimised Huffman tables",
)
WEBP = Baseline(
    key="webp",
    name="WebP",
    format="WEBP",
    suffix=".webp",
    settings=(1, 5, 15, 35, 60, 80, 92, 100),
    scale=range(101),
    options=_webp,
    description="method 6",
)
JPEG_2000 = Baseline(
    key="jpeg2000",
    name="JPEG 2000",
    format="JPEG2000",
    suffix=".jp2",
    settings=(240, 160, 96, 60, 36, 22, 14, 9),
    scale=_RATIOS,
    options=_jpeg_2000,
    description="9/7 wavelet; quality is the compression ratio",
)
AVIF = Baseline(
    key="avif",
    name="AVIF (tune=psnr)",
    format="AVIF",
    suffix=".avif",
    settings=(8, 18, 30, 42, 54, 65, 76, 86),
    scale=range(101),
    options=_avif_psnr,
    description="speed 4, 4:4:4, tune=psnr",
)
AVIF_DEFAULT = replace(
    AVIF,
    name="AVIF (default tuning)",
    options=_avif,
    description="speed 4, 4:4:4, libavif's default tuning",
)
JPEG_XL = Baseline(
    key="jxl",
    name="JPEG XL",
    format="JXL",
    suffix=".jxl",
    settings=(1, 10, 30, 60, 75, 85, 92, 95),
    scale=range(1, 100),
    options=_jpeg_xl,
    description="effort 7",
    plugin="pillow_jxl",
)

BASELINES = (JPEG, WEBP, JPEG_2000, AVIF, AVIF_DEFAULT)
OPTIONAL = (JPEG_XL,)
KEYS = tuple(dict.fromkeys(b.key for b in (*BASELINES, *OPTIONAL)))


def choose(keys: Sequence[str]) -> list[Baseline]:
    """The baselines of these keys, in the order of KEYS; "all": those that this installation can run.

    Raises UsageError for an unknown key, and for a baseline that this installation cannot run.
    """
    known = (*BASELINES, *OPTIONAL)
    for key in keys:
        if key not in (*KEYS, "all"):
            raise UsageError(f"no baseline '{key}'; there are {', '.join(KEYS)} and all")
        unavailable = [b for b in known if b.key == key and not b.available()]
        if unavailable and unavailable[0].plugin:
            raise UsageError(
                f"baseline {key} needs Pillow's plugin for it; pip install pillow-jxl-plugin, or leave {key} out"
            )
        if unavailable:
            raise UsageError(f"baseline {key} is not in this build of Pillow; leave {key} out")
    return [b for b in known if b.key in keys or ("all" in keys and b.available())]
