"""Measuring a codec on image files, through real files on disk; and measuring pictures that were decoded elsewhere."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..errors import InputError, VitcodecError
from ..images import read_image
from ..options import QUALITIES, EncodeOptions
from ..picture import Picture
from . import measures
from .memory import peak_memory
from .results import Failure, Report, Row

if TYPE_CHECKING:
    import torch

    from ..codec import Codec
    from ..pretrained.config import PretrainedConfig


class ImageCodec(Protocol):
    """What can be measured: the baselines, and vitcodec's own codec as an Entrant.

    It may also have these attributes: device, a torch.device (default: CPU); description, how it is run; suffix, of its
    files; scale, all its qualities in order of rising rate.
    """

    @property
    def name(self) -> str: ...

    def encode(self, picture: Picture, quality: Any) -> bytes: ...

    def decode(self, data: bytes) -> Picture: ...


@dataclass(frozen=True)
class Entrant:
    """vitcodec's own codec as an ImageCodec: under `options`, of which only the quality varies."""

    codec: Codec
    options: EncodeOptions = field(default_factory=EncodeOptions)
    scale: ClassVar[Sequence[int]] = QUALITIES

    @property
    def name(self) -> str:
        return self.codec.name

    @property
    def config(self) -> PretrainedConfig:
        return self.codec.config

    @property
    def device(self) -> torch.device:
        return self.codec.device

    @property
    def description(self) -> str:
        """How it is run: the effort, and every other option that is not at its default."""
        chosen = {n: v for n, v in vars(self.options).items() if n == "effort" or v != getattr(EncodeOptions, n)}
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in chosen.items() if name != "quality")

    def encode(self, picture: Picture, quality: int) -> bytes:
        return self.codec.encode(picture, replace(self.options, quality=quality))

    def decode(self, data: bytes) -> Picture:
        return self.codec.decode(data)


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
    warm: bool = False,
    metrics: Sequence[str] = (measures.ALL,),
) -> Report:
    """Encode every file at every quality into a temporary file, decode it from there, and measure.

    Only the colours are encoded, without metadata and alpha, which not every codec keeps. The first image that can be
    read runs once, unmeasured, as a warm-up. A file that fails, for whatever reason, becomes a Failure and never stops
    the rest.

    codec: vitcodec's own as Entrant(codec, options). qualities: on the codec's own scale. reps: how often encode and
    decode run, for the median of their times. read: from a path to a picture. describe: from an error and the file to
    the failure's message. advance: called with every result. name: what the report calls the codec, if not codec.name.
    warm: the codec has run before, and needs no warm-up. metrics: what is measured beside PSNR, of measures.NAMES:
    "ssim", "ms-ssim", "ssimulacra2" or "all". Raises UsageError for others.
    """
    keys = measures.choose(metrics)
    description = getattr(codec, "description", "")
    device = str(getattr(codec, "device", "cpu"))
    report = Report(name or codec.name, device, tuple(qualities), reps, description=description)

    def fail(file: Path, quality: float | None, error: Exception) -> None:
        report.failures.append(Failure(str(file), quality, describe(error, str(file)), report.codec))
        advance(report.failures[-1])

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
                    row = measure(codec, file, picture, quality, Path(folder), reps, keys)
                except Exception as error:
                    fail(file, quality, error)
                else:
                    report.rows.append(row)
                    advance(row)
    return report


def colours_of(picture: Picture) -> Picture:
    """The picture without metadata and alpha: what all codecs are given to encode."""
    return Picture(picture.rgb, None, picture.gray, None, None, None, [])


def measure(
    codec: ImageCodec,
    file: Path,
    picture: Picture,
    quality: float,
    folder: Path,
    reps: int = 1,
    keys: Iterable[str] = tuple(measures.MEASURES),
) -> Row:
    """One image at one quality, through a file in `folder`, which is removed again. Raises what the codec raises.

    keys: of the measures.
    """
    target = folder / f"{file.stem}{getattr(codec, 'suffix', '.vitc')}"
    try:
        data, encode_seconds, encode_memory = _repeated(codec, lambda: codec.encode(picture, quality), reps)
        target.write_bytes(data)
        size, stored = target.stat().st_size, target.read_bytes()
        decoded, decode_seconds, decode_memory = _repeated(codec, lambda: codec.decode(stored), reps)
    finally:
        target.unlink(missing_ok=True)
    return Row(
        file=str(file),
        quality=quality,
        width=picture.rgb.shape[1],
        height=picture.rgb.shape[0],
        bytes=size,
        values=measures.compute(picture.rgb, decoded.rgb, keys),
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
        encode_memory=encode_memory,
        decode_memory=decode_memory,
    )


def evaluate_decoded(
    name: str,
    pairs: Sequence[tuple[Path, Path]],
    read: Callable[[Path], Picture] = read_image,
    describe: Callable[[Exception, str], str] = describe,
    advance: Callable[[Row | Failure], None] = lambda result: None,
    metrics: Sequence[str] = (measures.ALL,),
) -> Report:
    """Measure pictures that were decoded elsewhere, by whatever codec.

    name: what the report calls that codec. pairs: (original, decoded), as pairs.match finds them. The others are as in
    evaluate.
    """
    keys = measures.choose(metrics)
    report = Report(name, "", (None,), 0)
    for original, decoded in pairs:
        result: Row | Failure
        try:
            a, b = read(original).rgb, read(decoded).rgb
            if a.shape != b.shape:
                sizes = (f"{p.shape[1]}x{p.shape[0]}" for p in (b, a))
                raise InputError(
                    f"{decoded}: is {' and its original '.join(sizes)} pixels; give pictures of the original's size"
                )
            result = Row(str(original), None, a.shape[1], a.shape[0], None, measures.compute(a, b, keys))
            report.rows.append(result)
        except Exception as error:
            result = Failure(str(decoded), None, describe(error, str(decoded)), name)
            report.failures.append(result)
        advance(result)
    return report


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
