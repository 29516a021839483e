"""`vitcodec decode`."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from .. import files
from ..bitstream import container, salvage
from ..bitstream.header import Header
from ..errors import LimitError, UsageError
from ..options import DecodeChanges, DecodeOptions
from ..subbands import LEVELS
from ..tiles import Region
from . import batch, codecs, options, outputs, places, values
from .layout import CODING, MODEL
from .output import Output

if TYPE_CHECKING:
    from ..picture import Picture

Reduce = Annotated[
    int,
    typer.Option(
        "--reduce",
        min=0,
        max=4,
        metavar="0..4",
        autocompletion=values.reductions,
        rich_help_panel=CODING,
        help="Halve width and height so many times, reading only the coarser levels.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        show_default=False,
        callback=values.check_format,
        autocompletion=values.formats,
        rich_help_panel=CODING,
        help="png, jpg, webp, avif, tif, bmp, jp2 or ppm. [default: the suffix of -o, or png]",
    ),
]
MadeBy = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="NAME",
        show_default=False,
        autocompletion=values.models,
        rich_help_panel=MODEL,
        help="A model's name, local-dir:PATH or hf-hub:ORG/NAME[@REVISION]. [default: the one that the file names]",
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        "--region",
        metavar="X,Y,W,H",
        show_default=False,
        rich_help_panel=CODING,
        help="Decode this part alone, in pixels of the whole picture.",
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        "--fit",
        metavar="WxH",
        show_default=False,
        rich_help_panel=CODING,
        help="Make it fit into so many pixels, reading only the levels needed.",
    ),
]
Salvage = Annotated[
    bool,
    typer.Option(
        "--salvage", rich_help_panel=CODING, help="Decode what is intact of damaged files, and say what is not."
    ),
]
Imagine = Annotated[
    bool,
    typer.Option(
        "--imagine",
        rich_help_panel=CODING,
        help="With --salvage: invent the details that the file lacks, out of what the model has learned.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        show_default=False,
        rich_help_panel=CODING,
        help="Of --imagine: the same seed gives the same details on every machine. [default: 0]",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        metavar="0.01..5",
        show_default=False,
        rich_help_panel=CODING,
        help="Of --imagine: less draws what is probable and smooth. [default: 1]",
    ),
]
DEFAULT_FORMAT = "png"


@dataclass(frozen=True)
class _Loaded:
    contents: container.Contents
    size: int  # bytes of the whole file
    options: DecodeOptions
    fitted: tuple[int, int] | None  # the size that is asked for
    damage: list[str]


def decode_command(
    inputs: options.Inputs,
    output: options.Target = None,
    reduce: Reduce = DecodeOptions.reduce,
    fit: Fit = None,
    region: Part = None,
    format: Format = None,
    recursive: options.Recursive = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    salvage: Salvage = False,
    imagine: Imagine = False,
    seed: Seed = None,
    temperature: Temperature = None,
    preserve: options.Preserve = False,
    strict: options.Strict = False,
    strip: options.Strip = False,
    model: MadeBy = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    jobs: options.Jobs = 1,
    max_pixels: options.MaxPixels = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """.vitc files back to images.

    \b
    vitcodec decode photo.vitc                    photo.png, beside it
    vitcodec decode small/ -r -o back/ --format jpg
    vitcodec decode photo.vitc --fit 320x240 -o thumbnail.png
    vitcodec decode photo.vitc --region 100,200,640,480 -o part.png
    vitcodec decode damaged.vitc --salvage
    vitcodec decode damaged.vitc --salvage --imagine --seed 3
    """
    inputs, output = outputs.decoding(inputs, output, format)
    out = Output(json, quiet, verbose, to_stdout=options.is_stdout(inputs, output))
    box = box_of(fit, reduce)
    wanted = replace(DecodeOptions(reduce, _region(region)), **_imagining(salvage, imagine, seed, temperature))
    found = places.here().find_inputs(inputs, {files.SUFFIX}, recursive)
    outputs.check_decoded_name(found, output, format)
    found = outputs.without_wrong_kinds(found, vitc=True)
    suffix = "." + (format or DEFAULT_FORMAT).lower().lstrip(".")
    plan = places.here().plan_outputs(found, output, suffix, overwrite, skip_existing)
    if preserve:
        outputs.check_preserved(plan)
    _check_formats(plan, format)

    def start() -> batch.Work:
        from ..images import MAX_PIXELS, resized, write_image

        decoders = codecs.Decoders(model, device, threads, lambda codec: options.say_device(out, codec, device))

        def read(job: files.Job) -> _Loaded:
            with stream_of(job.source) as stream:
                name, size = job.source.name, stream.seek(0, io.SEEK_END)
                stream.seek(0)
                header = container.read_header(stream, name)
                stream.seek(0)
                check_size(header, max_pixels or MAX_PIXELS, name)
                how, fitted = fitting(header, wanted, box) if box else (wanted, None)
                if salvage:
                    rescued = _salvage(stream, how.reduce + 1, name)
                    return _Loaded(rescued.contents, size, how, fitted, rescued.damage)
                if how.region is None:  # needs no model, so that a damaged file is refused before one is loaded
                    contents = container.unpack(stream, how.reduce + 1, name)
                else:
                    contents = decoders.of(header).read(stream, how, name)
                return _Loaded(contents, size, how, fitted, [])

        def compute(job: files.Job, loaded: _Loaded) -> tuple[_Loaded, Picture]:
            picture = decoders.of(loaded.contents.header).decode(loaded.contents, loaded.options)
            return loaded, resized(picture, *loaded.fitted) if loaded.fitted else picture

        def write(job: files.Job, made: tuple[_Loaded, Picture]) -> batch.Result:
            loaded, picture = made
            buffer = io.BytesIO()
            notes = write_image(picture, buffer, kind := _format(job, format), strip)
            image = buffer.getvalue()
            options.write(job, image, overwrite, preserve)
            height, width = picture.rgb.shape[:2]
            text = f"{width}x{height}, {batch.size(loaded.size)} -> {batch.size(len(image))}"
            header = loaded.contents.header
            stored = header.lossless
            fields: dict[str, Any] = {"quality": None if stored else header.quality, "lossless": stored}
            fields["model"] = None if stored else header.model
            fields |= {"reduce": loaded.options.reduce, "format": kind}
            if salvage:
                fields["damage"] = loaded.damage
                fields["imagine"] = {"seed": wanted.seed, "temperature": wanted.temperature} if imagine else None
            notes = [*loaded.damage, *picture.notes, *notes]
            return batch.Result(loaded.size, len(image), width, height, text, notes, fields)

        return batch.Work(read, compute, write)

    return places.here().run(out, "decode", plan, dry_run, start, jobs, strict)


_salvage = salvage.unpack  # the option has the module's name


def box_of(fit: str | None, reduce: int) -> tuple[int, int] | None:
    if fit is None:
        return None
    if reduce:
        raise UsageError("--fit chooses the reduction itself; leave --reduce out")
    match = re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", fit)
    if not match:
        raise UsageError(f"--fit '{fit}' is not understood; write it as 1920x1080")
    return int(match[1]), int(match[2])


def _imagining(salvage: bool, imagine: bool, seed: int | None, temperature: float | None) -> DecodeChanges:
    """Raises UsageError."""
    given = {"--seed": seed, "--temperature": temperature}
    if idle := [name for name, value in given.items() if value is not None and not imagine]:
        raise UsageError(f"{idle[0]} is about --imagine; give that too")
    if imagine and not salvage:
        raise UsageError("--imagine is about what --salvage finds missing; give that too")
    changes = DecodeChanges(imagine=imagine)
    if seed is not None:
        changes["seed"] = seed
    if temperature is not None:
        changes["temperature"] = temperature
    return changes


def _region(text: str | None) -> Region | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5}),(\d{1,5}),([1-9]\d{0,4}),([1-9]\d{0,4})", text)
    if not match:
        raise UsageError(f"--region '{text}' is not understood; write it as X,Y,WIDTH,HEIGHT in pixels")
    return Region(*map(int, match.groups()))


def fitting(header: Header, wanted: DecodeOptions, box: tuple[int, int]) -> tuple[DecodeOptions, tuple[int, int]]:
    """What to decode so that it fits into a box, no larger than it is, and its size in pixels then.

    Raises UsageError.
    """
    shown = wanted.region or Region(0, 0, header.width, header.height)
    _, _, width, height = shown.clipped(header.width, header.height)
    scale = min(box[0] / width, box[1] / height, 1)
    # as often as it can be halved and still be as large as that
    reduce = max(n for n in range(LEVELS + 1) if 2**-n >= scale)
    return replace(wanted, reduce=reduce), (max(1, round(scale * width)), max(1, round(scale * height)))


def _check_formats(plan: files.Plan, format: str | None) -> None:
    """Raises UsageError before any work where a format is not known."""
    for job in plan.jobs:
        _format(job, format)


def _format(job: files.Job, format: str | None) -> str:
    """Pillow's name of the format to write. Raises UsageError."""
    from ..images import format_of

    piped = job.target is None or files.is_stream(job.target)
    return format_of("stdout.png" if piped or job.target is None else job.target, format)


@contextmanager
def stream_of(source: files.Source) -> Iterator[BinaryIO]:
    """What a file is read from, seekable. Raises InputError."""
    if source.path is None or source.stream or source.url:
        yield outputs.whole(source)
        return
    try:
        with open(source.path, "rb") as stream:
            yield stream
    except OSError as error:
        raise files.unreadable(source.path, error) from error


def check_size(header: Header, max_pixels: int, name: str) -> None:
    if header.width * header.height > max_pixels:
        raise LimitError(
            f"{name}: {header.width}x{header.height} is more than {max_pixels:,} pixels; "
            "raise --max-pixels if you trust it"
        )
