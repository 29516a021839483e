"""What was measured: a row for each image and quality, means over images, and failures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .measures import MEASURES


@dataclass(frozen=True)
class Row:
    """One image at one quality. Pictures that were decoded elsewhere have no quality, bytes, times and memory.

    Times are of encode and decode alone, from arrays to bytes and back, without reading files or loading a model.
    """

    file: str
    quality: float | None  # on the codec's own scale
    width: int  # of the original, in pixels
    height: int
    bytes: int | None  # size of the encoded file on disk, which holds colours only: no metadata, no alpha
    values: Mapping[str, float]  # by key of those MEASURES that were taken; NaN where the image is too small for one
    encode_seconds: float = math.nan  # the median over the repetitions
    decode_seconds: float = math.nan
    encode_memory: int | None = None  # most bytes held at once, above what was held before; None: unknown
    decode_memory: int | None = None

    @property
    def psnr(self) -> float:
        """dB; inf where the decoded picture is identical."""
        return self.values["psnr"]

    @property
    def identical(self) -> bool:
        return math.isinf(self.psnr)

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6

    @property
    def bpp(self) -> float:
        """Bits per pixel; NaN without a file."""
        return math.nan if self.bytes is None else 8 * self.bytes / (self.width * self.height)

    @property
    def encode_mps(self) -> float:
        """Megapixels per second."""
        return self.megapixels / self.encode_seconds

    @property
    def decode_mps(self) -> float:
        """Megapixels per second."""
        return self.megapixels / self.decode_seconds


@dataclass(frozen=True)
class Mean:
    """One quality over all images that were measured at it.

    Every image counts once, whatever its size: bpp and measures are the means of the images' own values. Images without
    a finite value (identical ones have no PSNR, small ones no MS-SSIM) do not enter the mean of that measure. Speed is
    all megapixels by all seconds, memory the largest of any image.
    """

    quality: float | None
    images: int
    identical: int  # images that came back without any difference
    without: Mapping[str, int]  # images that are too small, by key of the measures that need a smallest side
    bytes: int | None  # of all files together
    bpp: float
    values: Mapping[str, float]  # by key, as those of rows; PSNR is inf if every image is identical
    encode_mps: float  # megapixels per second
    decode_mps: float
    encode_memory: int | None  # bytes
    decode_memory: int | None

    @property
    def psnr(self) -> float:
        return self.values["psnr"]


@dataclass(frozen=True)
class Failure:
    """A file that a codec failed on, or that could not be read."""

    file: str
    quality: float | None  # None: the file could not be read
    message: str
    codec: str = ""


@dataclass
class Report:
    """What was measured of one codec."""

    codec: str
    device: str
    qualities: Sequence[float | None]
    reps: int
    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # on images, from reading them, such as "16-bit reduced to 8"
    description: str = ""  # how the codec is run

    def means(self) -> list[Mean]:
        """One per quality that has rows, in the order of the qualities."""
        groups = ((q, [r for r in self.rows if r.quality == q]) for q in self.qualities)
        return [_mean(q, rows) for q, rows in groups if rows]


def measured(rows: Iterable[Row]) -> list[str]:
    """The keys of MEASURES that any of these rows has, in the order of the table."""
    found = {key for row in rows for key in row.values}
    return [key for key in MEASURES if key in found]


def _mean(quality: float | None, rows: list[Row]) -> Mean:
    pixels = sum(r.megapixels for r in rows)
    sizes = [r.bytes for r in rows if r.bytes is not None]
    keys = measured(rows)
    small = [key for key in keys if MEASURES[key].smallest_side > 1]
    return Mean(
        quality=quality,
        images=len(rows),
        identical=sum(r.identical for r in rows),
        without={key: sum(math.isnan(r.values[key]) for r in rows) for key in small},
        bytes=sum(sizes) if sizes else None,
        bpp=statistics.fmean(r.bpp for r in rows),
        values={key: _finite_mean(r.values[key] for r in rows) for key in keys},
        encode_mps=pixels / sum(r.encode_seconds for r in rows),
        decode_mps=pixels / sum(r.decode_seconds for r in rows),
        encode_memory=max((r.encode_memory for r in rows if r.encode_memory is not None), default=None),
        decode_memory=max((r.decode_memory for r in rows if r.decode_memory is not None), default=None),
    )


def _finite_mean(values: Iterable[float]) -> float:
    """The mean of the finite values; inf if all are, NaN for none."""
    known = [v for v in values if not math.isnan(v)]
    finite = [v for v in known if math.isfinite(v)]
    return statistics.fmean(finite) if finite else math.inf if known else math.nan
