"""What `eval` and `compare` share: options, reading images, telling of results, and writing reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OutputError, UsageError
from ..files import LeftOut, is_stream, write_atomic
from ..filesystem.urls import stream_of, url_of
from . import values
from .batch import size
from .output import DONE, FAILED, Output, explain

if TYPE_CHECKING:
    from ..evaluation.attention import AttentionView
    from ..evaluation.comparison import Comparison
    from ..evaluation.engine import ImageCodec
    from ..evaluation.pictures import Render
    from ..evaluation.results import Failure, Row
    from ..picture import Picture

Baselines = Annotated[
    str,
    typer.Option(
        "--baselines",
        metavar="NAME[,...]",
        autocompletion=values.baselines,
        help="Measure these too: jpeg, webp, jpeg2000, avif, jxl, or all.",
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        metavar="NAME[,...]",
        autocompletion=values.metrics,
        help="Measure these beside PSNR: ssim, ms-ssim, ssimulacra2, or all.",
    ),
]
Reps = Annotated[
    int, typer.Option("--reps", min=1, metavar="N", help="Run everything N times; the median time counts.")
]


@dataclass(frozen=True)
class Rest:
    """What was left out of the folders, and whether that is a failure."""

    left_out: LeftOut = field(default_factory=LeftOut)
    strict: bool = False


@dataclass(frozen=True)
class Targets:
    """Where reports go."""

    csv: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    overwrite: bool = False

    def check(self, inputs: Sequence[Path]) -> None:
        """Before any work: that the reports can be written. Raises OutputError, UsageError."""
        taken = {path.resolve() for path in inputs}
        for path in (p for p in (self.csv, self.markdown, self.html) if p is not None):
            if path.resolve() in taken:
                raise UsageError(f"{path}: would replace an input or another report; give another name")
            taken.add(path.resolve())
            if path.is_dir():
                raise OutputError(f"{path}: is a folder; give the name of a file")
            if path.exists() and not self.overwrite and not is_stream(path):
                raise OutputError(f"{path}: exists already; use --overwrite or another name")


def reader(out: Output, max_pixels: int | None) -> Callable[[Path], Picture]:
    """Reads images; each kind of note is printed once, with -v for every file."""
    from ..images import MAX_PIXELS, read_image

    noted = set[Any]()

    def read(path: Path) -> Picture:
        picture = read_image(stream_of(path), max_pixels or MAX_PIXELS, url_of(path) or str(path))
        for note in picture.notes:
            key = (path, note) if out.verbose else note
            if key not in noted:
                out.warn(f"{path}: {note}")
            noted.add(key)
        return picture

    return read


def describe(error: Exception, file: str) -> str:
    """The message of a failure, as every command words it."""
    return explain(error, file).line


def record(out: Output, result: Row | Failure, codec: str) -> None:
    """A result for --json; failures come at the end."""
    from ..evaluation.report import row_record
    from ..evaluation.results import Row

    if isinstance(result, Row):
        out.record({"status": "done", **row_record(result, codec)})


def title(codec: ImageCodec) -> str:
    """What reports call a model of vitcodec's."""
    return f"vitcodec {codec.name}"


def renderer(codec: ImageCodec) -> Render:
    """Makes a codec's picture of a row again."""
    from ..evaluation.engine import colours_of

    return lambda row, picture: codec.decode(codec.encode(colours_of(picture), row.quality)).rgb


def finish(
    out: Output,
    command: str,
    comparison: Comparison,
    targets: Targets,
    renders: Mapping[str, Render],
    read: Callable[[Path], Picture],
    pictures: int,
    rest: Rest | None = None,
    attention: AttentionView | None = None,
) -> int:
    """Say and write everything; returns the exit code."""
    from ..evaluation import report
    from ..evaluation.verdict import verdict

    done, failures = sum(len(r.rows) for r in comparison.reports), comparison.failures()
    if found := verdict(comparison):
        image = Path(comparison.reports[0].rows[0].file).name
        out.result(f"{image}: {found.sentence}\n")
    if done:
        out.result(report.to_table(comparison))
    for failure in failures:
        out.record(
            {
                "status": "failed",
                "codec": failure.codec,
                "file": failure.file,
                "quality": failure.quality,
                "error": failure.message,
            }
        )
    if targets.csv is not None:
        _write(out, targets.csv, report.to_csv(comparison), targets.overwrite)
    if targets.markdown is not None:
        _write(out, targets.markdown, report.to_markdown(comparison), targets.overwrite)
    if targets.html is not None:
        _write(out, targets.html, _page(out, comparison, renders, read, pictures, attention), targets.overwrite)
    rest = rest or Rest()
    left_out = out.left_out(rest.left_out, rest.strict)
    # one line a failure, but what counts are images: a bad one fails once, or at every quality of every codec
    failed = {f.file for f in failures}
    images = failed | {row.file for r in comparison.reports for row in r.rows}
    counts = {"done": done, "failed": len(failures), "images": len(images), "images_failed": len(failed)}
    summary = {"command": command, **counts, "left_out": rest.left_out.counts(), **report.summary(comparison)}
    if attention:
        summary["attention"] = attention.record()
    out.summary(summary)
    out.failures([_line(f) for f in failures], len(images), len(failed), "images")
    return FAILED if failures or left_out else DONE


def _write(out: Output, path: Path, text: str, overwrite: bool) -> None:
    data = text.encode("utf-8", "backslashreplace")  # names of files need not be UTF-8
    write_atomic(path, data, overwrite)
    out.say(f"{path}: {size(len(data))}")


def _page(
    out: Output,
    comparison: Comparison,
    renders: Mapping[str, Render],
    read: Callable[[Path], Picture],
    count: int,
    attention: AttentionView | None,
) -> str:
    from ..evaluation.page import to_html
    from ..evaluation.pictures import scenes, worst_first

    with out.progress(min(count, len(worst_first(comparison)))) as progress:
        shown = scenes(comparison, renders, read, count, lambda row: progress.advance(row.megapixels))
    return to_html(comparison, shown, attention=attention)


def _line(failure: Failure) -> str:
    return (
        failure.message
        if failure.quality is None
        else f"{failure.message} (at quality {failure.quality:g}, {failure.codec})"
    )
