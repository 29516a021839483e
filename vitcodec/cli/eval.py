"""`vitcodec eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OutputError, UsageError
from ..files import IMAGE_SUFFIXES, STDIO, find_inputs, write_atomic
from . import options
from .output import DONE, FAILED, NOTHING, Output, explain

if TYPE_CHECKING:
    from ..evaluation.engine import Failure, Row

Qualities = Annotated[list[str], typer.Option("-q", "--quality", metavar="1..100[,...]", help="One or several, as 10,50,90.")]
Repeat = Annotated[int, typer.Option("--repeat", min=1, metavar="N", help="Runs of which the median time counts.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="PATH", show_default=False, help="Write a row per image and quality to this file.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the CSV file if it exists.")]


def parse_qualities(texts: list[str]) -> list[int]:
    """["10,50", "90"] -> [10, 50, 90], each once, in the order given. Raises UsageError."""
    parts = [part.strip() for text in texts for part in text.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdigit() and 1 <= int(part) <= 100):
            raise UsageError(f"quality '{part}' is no number from 1 to 100; give one or several, as -q 10,50,90")
    return list(dict.fromkeys(map(int, parts)))


def eval_command(
    inputs: options.Inputs,
    quality: Qualities = ["10,30,50,70,90"],  # noqa: B006 (typer copies it)
    recursive: options.Recursive = False,
    repeat: Repeat = 1,
    csv: Csv = None,
    overwrite: Overwrite = False,
    model: options.Model = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Encode images for real, decode them again, and report rate, quality and speed.

    \b
    vitcodec eval photos/
    vitcodec eval photos/ -r -q 40,80 --csv report.csv
    """
    out = Output(json=json, quiet=quiet, verbose=verbose)
    qualities = parse_qualities(quality)
    if STDIO in inputs:
        raise UsageError("eval measures files; name files, folders or globs")
    if csv is not None and csv.exists() and not overwrite:
        raise OutputError(f"{csv}: exists already; use --overwrite or another --csv")
    found = find_inputs(inputs, IMAGE_SUFFIXES, recursive)
    if not found.sources and not found.problems:
        out.say("nothing to do: no input of a known kind was found (-r looks into folders below)")
        out.summary({"command": "eval", "done": 0, "failed": 0})
        return NOTHING

    from ..codec import Codec
    from ..evaluation.engine import Failure, Report, Row, evaluate
    from ..evaluation.report import row_record, summary, to_csv, to_table
    from ..images import MAX_PIXELS, Picture, read_image

    said = set[str]()

    def read(path: Path) -> Picture:
        picture = read_image(path, max_pixels or MAX_PIXELS)
        for note in picture.notes:
            if note not in said or verbose:
                out.warn(f"{path}: {note}")
            said.add(note)
        return picture

    missing = [Failure(p.name, None, explain(p.error, p.name).line) for p in found.problems]
    files = [s.path for s in found.sources if s.path is not None]
    if files:
        codec = Codec.load(model, device, threads)
        options.say_device(out, codec.name, device)
        with out.progress(len(files) * len(qualities)) as progress:

            def advance(result: Row | Failure) -> None:
                if isinstance(result, Row):
                    out.record({"status": "done", **row_record(result)})
                    progress.advance(result.megapixels)
                else:
                    progress.advance(steps=len(qualities) if result.quality is None else 1)

            report = evaluate(codec, files, qualities, repeat, read, lambda error, file: explain(error, file).line, advance)
        out.result(to_table(report))
    else:
        report = Report(model or "", device, tuple(qualities), repeat)
    report.failures = missing + report.failures
    for failure in report.failures:
        out.record({"status": "failed", "file": failure.file, "quality": failure.quality, "error": failure.message})
    if csv is not None:
        write_atomic(csv, to_csv(report).encode(), overwrite)
    out.summary({"command": "eval", "done": len(report.rows), "failed": len(report.failures), **summary(report)})
    out.failures([_line(f) for f in report.failures], len(report.rows) + len(report.failures))
    return FAILED if report.failures else DONE


def _line(failure: Failure) -> str:
    return failure.message if failure.quality is None else f"{failure.message} (at quality {failure.quality})"
