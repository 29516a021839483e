"""Measuring a codec on image files: real files on disk, real decoding from them. And pictures that others decoded, in folders."""

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
from ..errors import InputError, VitcodecError
from ..images import Picture, read_image
from .memory import peak_memory


class ImageCodec(Protocol):
    """What can be measured: vitcodec's own Codec, and the baselines."""

    @property
    def name(self) -> str: ...

    def encode(self, picture: Picture, quality: Any) -> bytes: ...

    def decode(self, data: bytes) -> Picture: ...


@dataclass(frozen=True)
class Row:
    """One image at one quality. Times are those of encode and decode alone, from and to arrays in memory, without reading or loading anything.

    Of pictures that others decoded there are no quality, bytes, times and memory.
    """

    file: str
    quality: float | None  # on the codec's own scale
    width: int  # of the original, in pixels
    height: int
    bytes: int | None  # size of the encoded file on disk, which holds colours only: no metadata, no alpha
    psnr: float  # dB, 8-bit RGB; inf where the decoded image is identical
    ssim: float  # NaN where the image is too small for the measure
    ms_ssim: float
    encode_seconds: float = math.nan  # the median over the repetitions
    decode_seconds: float = math.nan
    # most bytes held at once, above what was held before; None where the machine does not tell
    encode_memory: int | None = None
    decode_memory: int | None = None

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6

    @property
    def bpp(self) -> float:
        return math.nan if self.bytes is None else 8 * self.bytes / (self.width * self.height)

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
    megapixels by all seconds, memory the largest of any image.
    """

    quality: float | None
    images: int
    identical: int  # images that came back without any difference
    without_ms_ssim: int
    bytes: int | None  # of all files together
    bpp: float
    psnr: float  # inf if every image is identical
    ssim: float
    ms_ssim: float
    encode_mps: float  # megapixels per second
    decode_mps: float
    encode_memory: int | None  # bytes
    decode_memory: int | None


@dataclass(frozen=True)
class Failure:
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
    notes: list[str] = field(
        default_factory=list
    )  # what was said about an image on reading, such as "16-bit reduced to 8"
    description: str = ""  # how the codec is run

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
    qualities: Sequence[float],
    reps: int = 1,
    read: Callable[[Path], Picture] = read_image,
    describe: Callable[[Exception, str], str] = describe,
    advance: Callable[[Row | Failure], None] = lambda result: None,
    name: str | None = None,
) -> Report:
    """Encode every file at every quality into a temporary file, decode it from there, and measure.

    What is encoded are the colours: metadata and alpha, which other codecs than vitcodec's are not given either, are left out. reps: how often
    encode and decode run for the times, of which the median counts. The first image that can be read runs once, unmeasured, as a warm-up. A file
    that fails, for whatever reason, is listed and never stops the rest; describe(error, file) is its message. advance: called after every result.
    name: what the report calls the codec, if not codec.name.
    """
    description = getattr(codec, "description", "")
    report = Report(
        name or codec.name, str(getattr(codec, "device", "cpu")), tuple(qualities), reps, description=description
    )

    def fail(file: Path, quality: float | None, error: Exception) -> None:
        report.failures.append(Failure(str(file), quality, describe(error, str(file)), report.codec))
        advance(report.failures[-1])

    warm = False
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as folder:
        for file in files:
            try:
                picture = read(file)
            except Exception as error:
                fail(file, None, error)
                continue
            report.notes.extend(f"{file}: {note}" for note in picture.notes)
            picture = colours_of(picture)
            for quality in qualities:
                try:
                    if not warm:
                        codec.decode(codec.encode(picture, quality))
                        warm = True
                    row = measure(codec, file, picture, quality, Path(folder), reps)
                except Exception as error:
                    fail(file, quality, error)
                else:
                    report.rows.append(row)
                    advance(row)
    return report


def colours_of(picture: Picture) -> Picture:
    """The picture without metadata and alpha: what all codecs are given to encode."""
    return Picture(picture.rgb, None, picture.gray, None, None, None, [])


def measure(codec: ImageCodec, file: Path, picture: Picture, quality: float, folder: Path, reps: int = 1) -> Row:
    """One image at one quality through a file in `folder`, which is removed again."""
    target = folder / f"{file.stem}{getattr(codec, 'suffix', '.vitc')}"
    try:
        data, encode_seconds, encode_memory = _repeated(codec, lambda: codec.encode(picture, quality), reps)
        target.write_bytes(data)
        size, stored = target.stat().st_size, target.read_bytes()
        decoded, decode_seconds, decode_memory = _repeated(codec, lambda: codec.decode(stored), reps)
    finally:
        target.unlink(missing_ok=True)
    height, width = picture.rgb.shape[:2]
    measures = _measures(picture, decoded)
    return Row(
        str(file), quality, width, height, size, *measures, encode_seconds, decode_seconds, encode_memory, decode_memory
    )


def evaluate_decoded(
    name: str,
    pairs: Sequence[tuple[Path, Path]],
    read: Callable[[Path], Picture] = read_image,
    describe: Callable[[Exception, str], str] = describe,
    advance: Callable[[Row | Failure], None] = lambda result: None,
) -> Report:
    """Measure pictures that are decoded already, by whatever codec: (original, decoded) each. `name` is what the report calls that codec."""
    report = Report(name, "", (None,), 0)
    for original, decoded in pairs:
        result: Row | Failure
        try:
            a, b = read(original), read(decoded)
            if a.rgb.shape != b.rgb.shape:
                sizes = (f"{p.rgb.shape[1]}x{p.rgb.shape[0]}" for p in (b, a))
                raise InputError(
                    f"{decoded}: is {' and its original '.join(sizes)} pixels; give pictures of the original's size"
                )
            result = Row(str(original), None, a.rgb.shape[1], a.rgb.shape[0], None, *_measures(a, b))
            report.rows.append(result)
        except Exception as error:
            result = Failure(str(decoded), None, describe(error, str(decoded)), name)
            report.failures.append(result)
        advance(result)
    return report


def _measures(original: Picture, decoded: Picture) -> tuple[float, float, float]:
    a, b = original.rgb, decoded.rgb
    return metrics.psnr(a, b), metrics.ssim(a, b), metrics.ms_ssim(a, b)


def _repeated(codec: ImageCodec, work: Callable[[], Any], reps: int) -> tuple[Any, float, int | None]:
    """The last result, the median of the seconds, and the peak memory of the first run."""
    device = getattr(codec, "device", None)
    (result, first), memory = peak_memory(lambda: _timed(device, work), device)
    times = [first]
    for _ in range(reps - 1):
        result, seconds = _timed(device, work)
        times.append(seconds)
    return result, statistics.median(times), memory


def _timed(device: Any, work: Callable[[], Any]) -> tuple[Any, float]:
    _synchronise(device)
    start = time.perf_counter()
    result = work()
    _synchronise(device)
    return result, time.perf_counter() - start


def _synchronise(device: Any) -> None:
    """Wait for the accelerator: its work is queued, and a clock read before it is done says nothing."""
    if getattr(device, "type", "cpu") in ("cuda", "mps"):
        import torch

        torch.cuda.synchronize(device) if device.type == "cuda" else torch.mps.synchronize()


def _mean(quality: float | None, rows: list[Row]) -> Mean:
    pixels = sum(r.megapixels for r in rows)
    identical = sum(math.isinf(r.psnr) for r in rows)
    sizes = [r.bytes for r in rows if r.bytes is not None]
    return Mean(
        quality=quality,
        images=len(rows),
        identical=identical,
        without_ms_ssim=sum(math.isnan(r.ms_ssim) for r in rows),
        bytes=sum(sizes) if sizes else None,
        bpp=statistics.fmean(r.bpp for r in rows),
        psnr=math.inf if identical == len(rows) else _finite_mean(r.psnr for r in rows),
        ssim=_finite_mean(r.ssim for r in rows),
        ms_ssim=_finite_mean(r.ms_ssim for r in rows),
        encode_mps=pixels / sum(r.encode_seconds for r in rows),
        decode_mps=pixels / sum(r.decode_seconds for r in rows),
        encode_memory=max((r.encode_memory for r in rows if r.encode_memory is not None), default=None),
        decode_memory=max((r.decode_memory for r in rows if r.decode_memory is not None), default=None),
    )


def _finite_mean(values: Iterator[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return statistics.fmean(finite) if finite else math.nan
