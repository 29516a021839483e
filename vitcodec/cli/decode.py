"""`vitcodec decode`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import container, files, weights
from ..errors import LimitError
from . import batch, options
from .output import Output

Reduce = Annotated[int, typer.Option("--reduce", min=0, max=4, metavar="0..4", help="Halve the size N times, reading only the coarser levels.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", show_default=False, help="png, jpg, webp, avif, tif, bmp, jp2 or ppm. [default: the suffix of -o, or png]"
    ),
]
MadeBy = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="NAME",
        show_default=False,
        help="A model's name, local-dir:PATH or hf-hub:ORG/NAME. [default: the one that the file names]",
    ),
]
DEFAULT_FORMAT = "png"


def decode_command(
    inputs: options.Inputs,
    output: options.Target = None,
    reduce: Reduce = 0,
    format: Format = None,
    recursive: options.Recursive = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    strip: options.Strip = False,
    model: MadeBy = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
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
    vitcodec decode photo.vitc --reduce 3 -o thumbnail.png
    """
    out = Output(json, quiet, verbose, to_stdout=options.is_stdout(inputs, output))
    found = files.find_inputs(inputs, {files.SUFFIX}, recursive)
    suffix = "." + (format or DEFAULT_FORMAT).lower().lstrip(".")
    plan = files.plan_outputs(found, output, suffix, overwrite, skip_existing)
    formats = _formats(plan, format)

    def start() -> batch.Work:
        from ..codec import Codec
        from ..images import write_image

        codecs: dict[str, Codec] = {}

        def codec_for(header: container.Header) -> Codec:
            name = model or weights.made_by(header.model, header.weights)
            if name not in codecs:
                codecs[name] = Codec.load(name, device, threads)
                options.say_device(out, codecs[name].name, device)
            return codecs[name]

        def work(job: files.Job) -> batch.Result:
            contents, size = _unpack(job.source, reduce + 1, max_pixels)
            header = contents.header
            picture = codec_for(header).decode(contents, reduce)
            buffer = io.BytesIO()
            notes = write_image(picture, buffer, formats[job], strip)
            image = buffer.getvalue()
            options.write(job, image, overwrite)
            height, width = picture.rgb.shape[:2]
            text = f"{width}x{height}, {batch.size(size)} -> {batch.size(len(image))}"
            fields: dict[str, Any] = {"quality": header.quality, "model": header.model, "reduce": reduce, "format": formats[job]}
            return batch.Result(size, len(image), width, height, text, [*picture.notes, *notes], fields)

        return work

    return batch.run(out, "decode", plan, dry_run, start)


def _formats(plan: files.Plan, format: str | None) -> dict[files.Job, str]:
    """Pillow's name of the format of every job. Raises UsageError before any work."""
    if not plan.jobs:
        return {}
    from ..images import format_of

    return {job: format_of(job.target or Path("stdout.png"), format) for job in plan.jobs}


def _unpack(source: files.Source, finest: int, max_pixels: int | None) -> tuple[container.Contents, int]:
    """The parts of a file that are needed, and the bytes in the whole file."""
    if source.path is None:
        data = files.read_stdin()
        return _limited(io.BytesIO(data), finest, max_pixels, source.name), len(data)
    try:
        with open(source.path, "rb") as stream:
            return _limited(stream, finest, max_pixels, source.name), source.path.stat().st_size
    except OSError as error:
        raise files.unreadable(source.path, error) from error


def _limited(stream: Any, finest: int, max_pixels: int | None, name: str) -> container.Contents:
    header = container.read_header(stream, name)
    if max_pixels is not None and header.width * header.height > max_pixels:
        raise LimitError(f"{name}: {header.width}x{header.height} is more than {max_pixels:,} pixels; raise --max-pixels if you trust it")
    stream.seek(0)
    return container.unpack(stream, finest, name)
