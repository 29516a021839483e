"""`vitcodec eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..files import STDIO, find_inputs, image_suffixes
from ..filesystem.urls import is_url
from ..options import QUALITIES, EncodeOptions
from . import options, outputs, places, reporting
from .layout import CODING, FILES
from .output import DONE, FAILED, Output, explain

if TYPE_CHECKING:
    import numpy as np

    from ..evaluation.baselines import Baseline
    from ..evaluation.pictures import Render
    from ..evaluation.results import Failure, Row
    from ..picture import Picture

Images = Annotated[list[str], typer.Argument(metavar="INPUT...", show_default=False, help="Files, folders or globs.")]
Qualities = Annotated[
    list[str],
    typer.Option(
        "-q", "--quality", metavar="1..100[,...]", rich_help_panel=CODING, help="One or several, as 10,50,90."
    ),
]
Against = Annotated[
    list[Path] | None,
    typer.Option(
        "--against", metavar="JSON", show_default=False, help="Published curves to compare with; may be repeated."
    ),
]
Anchor = Annotated[
    list[str] | None,
    typer.Option(
        "--anchor",
        metavar="NAME[,...]",
        show_default=False,
        help="What BD-rates are taken against: baselines and names or ids of curves. [default: all]",
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="PATH",
        show_default=False,
        rich_help_panel=FILES,
        help="Write a row per codec, image and quality to this file.",
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown",
        metavar="PATH",
        show_default=False,
        rich_help_panel=FILES,
        help="Write the tables to this file.",
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="PATH",
        show_default=False,
        rich_help_panel=FILES,
        help="Write a page with plots and pictures to this file.",
    ),
]
Pictures = Annotated[
    int,
    typer.Option(
        "--pictures",
        min=0,
        metavar="N",
        rich_help_panel=FILES,
        help="Show the pictures of N images in the page, the worst first.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=FILES, help="Replace reports that exist.")]


def parse_qualities(texts: list[str]) -> list[int]:
    """["10,50", "90"] -> [10, 50, 90], each once, in the order given. Raises UsageError."""
    parts = options.listed(texts)
    for part in parts:
        if not (part.isascii() and part.isdigit() and int(part) in QUALITIES):
            raise UsageError(f"quality '{part}' is no whole number from 1 to 100; give one or several, as -q 10,50,90")
    return list(dict.fromkeys(map(int, parts)))


def eval_command(
    inputs: Images,
    quality: Qualities = ["10,30,50,70,90"],  # noqa: B006 (typer copies it)
    baselines: reporting.Baselines = "",
    against: Against = None,
    anchor: Anchor = None,
    recursive: options.Recursive = False,
    effort: options.Effort = EncodeOptions.effort,
    metrics: reporting.Metrics = "all",
    reps: reporting.Reps = 1,
    csv: Csv = None,
    markdown: Markdown = None,
    html: Html = None,
    pictures: Pictures = 24,
    overwrite: Overwrite = False,
    strict: options.Strict = False,
    model: options.Model = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Encode images for real, decode them again, and report rate, quality and speed, beside other codecs if asked for.

    Two folders, and nothing else, are originals and what any codec made of them, matched by name: these pictures are
    measured as they are.

    \b
    vitcodec eval photos/
    vitcodec eval photos/ -r -q 10,50,90 --baselines jpeg,avif --html report.html
    vitcodec eval photos/ --effort 9 --csv effort-9.csv
    vitcodec eval photos/ decoded-by-another-codec/
    """
    from ..evaluation import measures

    out = Output(json=json, quiet=quiet, verbose=verbose)
    qualities = parse_qualities(quality)
    if STDIO in inputs:
        raise UsageError("eval measures files; name files, folders or globs")
    targets = reporting.Targets(csv, markdown, html, overwrite)
    keys = measures.choose(options.listed([metrics]))
    if len(inputs) == 2 and all(Path(i).is_dir() and not is_url(i) for i in inputs):
        if baselines or against or anchor:
            raise UsageError(
                "two folders are measured as they are, without files or rates; "
                "leave --baselines, --against and --anchor out"
            )
        rest = reporting.Rest(find_inputs(inputs, image_suffixes(), recursive).left_out, strict)
        return _pairs(out, Path(inputs[0]), Path(inputs[1]), recursive, keys, targets, pictures, max_pixels, rest)
    found = outputs.without_wrong_kinds(places.here().find_inputs(inputs, image_suffixes(), recursive), vitc=False)
    rest = reporting.Rest(found.left_out, strict)
    for source in found.sources:
        if source.stream:
            raise UsageError(f"{source.name}: eval reads its images more than once; name files, folders or globs")
    files = [s.path for s in found.sources if s.path is not None]
    targets.check(files)
    if not files and not found.problems:
        out.say("nothing to do: no input of a known kind was found")
        left_out = out.left_out(rest.left_out, strict)
        out.summary({"command": "eval", "done": 0, "failed": 0, "left_out": rest.left_out.counts()})
        return FAILED if left_out else DONE

    from ..evaluation import baselines as others
    from ..evaluation.comparison import Comparison
    from ..evaluation.engine import Entrant
    from ..evaluation.provenance import provenance
    from ..evaluation.published import read_published
    from ..evaluation.results import Failure, Report

    chosen = others.choose(options.listed([baselines]))
    published = read_published(against or [])
    anchors = _anchors(options.listed(anchor or []), chosen, [(p.id, p.name) for p in published]) if anchor else None
    unreadable = [Failure(p.name, None, explain(p.error, p.name).line) for p in found.problems]
    read = reporting.reader(out, max_pixels)
    if not files:
        comparison = Comparison(
            [Report(model or "vitcodec", device, qualities, reps)], provenance(), unreadable=unreadable
        )
        return reporting.finish(out, "eval", comparison, targets, {}, read, pictures, rest)

    def start() -> places.Entrants:
        own = Entrant(options.load_codec(out, model, device, threads), EncodeOptions(effort=effort))
        return [(reporting.title(own), own, tuple(qualities)), *((b.name, b, b.settings) for b in chosen)]

    steps = {b.name: len(b.settings) for b in chosen}
    with out.progress(len(files) * (len(qualities) + sum(steps.values()))) as progress:

        def advance(result: Row | Failure, name: str) -> None:
            reporting.record(out, result, name)
            whole = steps.get(name, len(qualities))
            progress.advance(getattr(result, "megapixels", 0.0), whole if _is_unreadable(result) else 1)

        measuring = places.Measuring(start, reps, read, reporting.describe, advance, keys)
        measured = places.here().measure(files, measuring)
    comparison = Comparison(measured.reports, measured.provenance, published, anchors, unreadable)
    entrants = measured.entrants() if html is not None else []
    renders = {name: reporting.renderer(codec) for name, codec, _ in entrants}
    return reporting.finish(out, "eval", comparison, targets, renders, read, pictures, rest)


def _is_unreadable(result: Row | Failure) -> bool:
    return not hasattr(result, "values") and result.quality is None


def _anchors(names: list[str], baselines: list[Baseline], published: list[tuple[str, str]]) -> list[str]:
    """The codecs and curves that `names` mean by key, id or name. published: (id, name). Raises UsageError."""
    known = [*((b.key, b.name) for b in baselines), *published]
    anchors = []
    for name in names:
        meant = [full for key, full in known if name.lower() in (key.lower(), full.lower())]
        if not meant:
            keys = ", ".join(dict.fromkeys(key for key, _ in known)) or "none, for lack of --baselines and --against"
            raise UsageError(f"no anchor '{name}' among the baselines and published curves; there are {keys}")
        anchors += meant
    return list(dict.fromkeys(anchors))


def _pairs(
    out: Output,
    originals: Path,
    decoded: Path,
    recursive: bool,
    keys: list[str],
    targets: reporting.Targets,
    pictures: int,
    max_pixels: int | None,
    rest: reporting.Rest,
) -> int:
    """Two folders: originals, and what a codec made of them."""
    from ..evaluation import pairs
    from ..evaluation.comparison import Comparison
    from ..evaluation.engine import evaluate_decoded
    from ..evaluation.provenance import provenance
    from ..evaluation.results import Failure

    matched, problems = pairs.match(originals, decoded, recursive)
    targets.check([path for pair in matched for path in pair])
    read, name = reporting.reader(out, max_pixels), str(decoded)
    with out.progress(len(matched)) as progress:

        def advance(result: Row | Failure) -> None:
            reporting.record(out, result, name)
            progress.advance(getattr(result, "megapixels", 0.0))

        report = evaluate_decoded(name, matched, read, reporting.describe, advance, keys)
    unreadable = [Failure(p.name, None, explain(p.error, p.name).line) for p in problems]
    partners = {str(a): b for a, b in matched}

    def render(row: Row, original: Picture) -> np.ndarray:
        return read(partners[row.file]).rgb

    comparison = Comparison([report], provenance(), unreadable=unreadable)
    renders: dict[str, Render] = {name: render}
    return reporting.finish(out, "eval", comparison, targets, renders, read, pictures, rest)
