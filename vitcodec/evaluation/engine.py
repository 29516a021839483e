"""Measuring a codec on image files: real files on disk, real decoding from them."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .. import metrics
from ..errors import VitcodecError
from ..images import Picture, read_image


class ImageCodec(Protocol):
    """What can be measured: vitcodec's own Codec, and the baselines."""

    @property
    def name(self) -> str: ...

    def encode(self, picture: Picture, quality: int) -> bytes: ...

    def decode(self, data: bytes) -> Picture: ...


@dataclass(frozen=True)
class Row:
    """One image at one quality. Times are those of encode and decode alone, from and to arrays in memory, without reading or loading anything."""

    file: str
    quality: int
    width: int  # of the original, in pixels
    height: int
    bytes: int  # size of the encoded file on disk, metadata included
    psnr: float  # dB, 8-bit RGB; inf where the decoded image is identical
    ssim: float  # NaN where the image is too small for the measure
    ms_ssim: float
    encode_seconds: float  # the median over the repetitions
    decode_seconds: float

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6

    @property
    def bpp(self) -> float:
        return 8 * self.bytes / (self.width * self.height)

    @property
    def encode_mps(self) -> float:
        """Megapixels per second."""
        return self.megapixels / self.encode_seconds

    @property
    def decode_mps(self) -> float:
        return self.megapixels / self.decode_seconds


@dataclass(frozen=True)
class Mean:
    """One quality over all images that were measured at it.

    Every image counts once, whatever its size, in bpp (the mean of the images' own), PSNR (the mean of per-image values in dB), SSIM and
    MS-SSIM. Images without a value (identical ones have no finite PSNR, small ones no MS-SSIM) are left out of that mean. Speed is all
    megapixels by all seconds.
    """

    quality: int
    images: int
    identical: int  # images that came back without any difference
    without_ms_ssim: int
    bytes: int  # of all files together
    bpp: float
    psnr: float  # inf if every image is identical
    ssim: float
    ms_ssim: float
    encode_mps: float  # megapixels per second
    decode_mps: float


@dataclass(frozen=True)
class Failure:
    file: str
    quality: int | None  # None: the file could not be read
    message: str


@dataclass
class Report:
    codec: str
    device: str
    qualities: tuple[int, ...]
    repeat: int
    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was said about an image on reading, such as "16-bit reduced to 8"

    def means(self) -> list[Mean]:
        """One per quality that has rows, in the order of the qualities."""
        groups = ((q, [r for r in self.rows if r.quality == q]) for q in self.qualities)
        return [_mean(q, rows) for q, rows in groups if rows]


def describe(error: Exception, file: str) -> str:
    """One line on what went wrong with a file."""
    line = " ".join((str(error) if isinstance(error, VitcodecError) else f"{type(error).__name__}: {error}").split())
    return line if file in line else f"{file}: {line}"


def evaluate(
    codec: ImageCodec,
    files: Sequence[Path],
    qualities: Sequence[int],
    repeat: int = 1,
    read: Callable[[Path], Picture] = read_image,
    describe: Callable[[Exception, str], str] = describe,
    advance: Callable[[Row | Failure], None] = lambda result: None,
) -> Report:
    """Encode every file at every quality into a temporary file, decode it from there, and measure.

    repeat: how often encode and decode run for the times, of which the median counts. The first image that can be read runs once, unmeasured,
    as a warm-up. A file that fails, for whatever reason, is listed and never stops the rest; describe(error, file) is its message. advance:
    called after every result.
    """
    report = Report(codec.name, str(getattr(codec, "device", "cpu")), tuple(qualities), repeat)
    warm = False
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as folder:
        for file in files:
            try:
                picture = read(file)
            except Exception as error:
                report.failures.append(Failure(str(file), None, describe(error, str(file))))
                advance(report.failures[-1])
                continue
            report.notes.extend(f"{file}: {note}" for note in picture.notes)
            for quality in qualities:
                try:
                    if not warm:
                        codec.decode(codec.encode(picture, quality))
                        warm = True
                    row = measure(codec, file, picture, quality, Path(folder), repeat)
                except Exception as error:
                    report.failures.append(Failure(str(file), quality, describe(error, str(file))))
                    advance(report.failures[-1])
                else:
                    report.rows.append(row)
                    advance(row)
    return report


def measure(codec: ImageCodec, file: Path, picture: Picture, quality: int, folder: Path, repeat: int = 1) -> Row:
    """One image at one quality through a file in `folder`, which is removed again."""
    encode_seconds, decode_seconds = [], []
    target = folder / f"{file.stem}{getattr(codec, 'suffix', '.vitc')}"
    try:
        for _ in range(repeat):
            data, seconds = _timed(codec, lambda: codec.encode(picture, quality))
            encode_seconds.append(seconds)
        target.write_bytes(data)
        size, stored = target.stat().st_size, target.read_bytes()
        for _ in range(repeat):
            decoded, seconds = _timed(codec, lambda: codec.decode(stored))
            decode_seconds.append(seconds)
    finally:
        target.unlink(missing_ok=True)
    height, width = picture.rgb.shape[:2]
    a, b = picture.rgb, decoded.rgb
    measures = (metrics.psnr(a, b), metrics.ssim(a, b), metrics.ms_ssim(a, b))
    return Row(str(file), quality, width, height, size, *measures, statistics.median(encode_seconds), statistics.median(decode_seconds))


def _timed(codec: ImageCodec, work: Callable[[], Any]) -> tuple[Any, float]:
    _synchronise(codec)
    start = time.perf_counter()
    result = work()
    _synchronise(codec)
    return result, time.perf_counter() - start


def _synchronise(codec: ImageCodec) -> None:
    """Wait for the accelerator: its work is queued, and a clock read before it is done says nothing."""
    device = getattr(codec, "device", None)
    if device is not None and device.type in ("cuda", "mps"):
        import torch

        torch.cuda.synchronize(device) if device.type == "cuda" else torch.mps.synchronize()


def _mean(quality: int, rows: list[Row]) -> Mean:
    pixels = sum(r.megapixels for r in rows)
    identical = sum(math.isinf(r.psnr) for r in rows)
    return Mean(
        quality=quality,
        images=len(rows),
        identical=identical,
        without_ms_ssim=sum(math.isnan(r.ms_ssim) for r in rows),
        bytes=sum(r.bytes for r in rows),
        bpp=statistics.fmean(r.bpp for r in rows),
        psnr=math.inf if identical == len(rows) else _finite_mean(r.psnr for r in rows),
        ssim=_finite_mean(r.ssim for r in rows),
        ms_ssim=_finite_mean(r.ms_ssim for r in rows),
        encode_mps=pixels / sum(r.encode_seconds for r in rows),
        decode_mps=pixels / sum(r.decode_seconds for r in rows),
    )


def _finite_mean(values: Iterator[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return statistics.fmean(finite) if finite else math.nan
