"""`vitcodec compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..files import STDIO
from ..options import EncodeOptions
from . import options, reporting
from .layout import CODING, FILES
from .output import Output

if TYPE_CHECKING:
    from ..evaluation.engine import ImageCodec
    from ..evaluation.pictures import Render
    from ..evaluation.results import Row

NEAR = 0.1  # logarithm of the ratio of vitcodec's size to the size asked for up to which the others match vitcodec's

Image = Annotated[Path, typer.Argument(metavar="IMAGE", show_default=False, help="The image to compare codecs on.")]
Quality = Annotated[
    int | None,
    typer.Option(
        "-q",
        "--quality",
        min=1,
        max=100,
        metavar="1..100",
        show_default=False,
        rich_help_panel=CODING,
        help=f"The quality of vitcodec, whose size the others match. [default: {EncodeOptions.quality}]",
    ),
]
MatchBpp = Annotated[
    float | None,
    typer.Option(
        "--match-bpp",
        metavar="RATE",
        show_default=False,
        rich_help_panel=CODING,
        help="Bits per pixel that all match, instead of --quality.",
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        show_default=False,
        rich_help_panel=FILES,
        help="The page. [default: IMAGE-compare.html, beside the input]",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=FILES, help="Replace the page if it exists.")]


def compare_command(
    image: Image,
    quality: Quality = None,
    match_bpp: MatchBpp = None,
    baselines: reporting.Baselines = "all",
    output: Html = None,
    overwrite: Overwrite = False,
    effort: options.Effort = EncodeOptions.effort,
    metrics: reporting.Metrics = "all",
    reps: reporting.Reps = 1,
    model: options.Model = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """One image by vitcodec and by the codecs of today, at equal size: the numbers, and a page to look at.

    \b
    vitcodec compare photo.jpg
    vitcodec compare photo.jpg --match-bpp 0.3 --baselines webp,avif -o page.html
    """
    out = Output(json=json, quiet=quiet, verbose=verbose)
    if str(image) == STDIO:
        raise UsageError("compare reads a file; name one")
    if image.is_dir():
        raise UsageError(f"{image}: is a folder; name one image")
    if quality is not None and match_bpp is not None:
        raise UsageError("--quality and --match-bpp contradict each other; give one")
    if match_bpp is not None and not 0 < match_bpp <= 24:
        raise UsageError(f"--match-bpp {match_bpp:g} is no rate above 0 and up to 24 bits per pixel")
    targets = reporting.Targets(html=output or image.with_name(f"{image.stem}-compare.html"), overwrite=overwrite)
    targets.check([image])

    from ..evaluation import baselines as others
    from ..evaluation import measures

    keys = measures.choose(options.listed([metrics]))
    chosen = others.choose(options.listed([baselines]))
    read = reporting.reader(out, max_pixels)
    picture = read(image)

    from ..evaluation.comparison import Comparison
    from ..evaluation.engine import Entrant, colours_of, evaluate
    from ..evaluation.matching import match_size
    from ..evaluation.provenance import provenance
    from ..evaluation.results import Failure, Report
    from ..evaluation.verdict import SAME_SIZE

    own = Entrant(options.load_codec(out, model, device, threads), EncodeOptions(effort=effort))
    pixels = picture.rgb.shape[0] * picture.rgb.shape[1]
    wanted = None if match_bpp is None else match_bpp * pixels / 8  # bytes
    bare = colours_of(picture)
    reports: list[Report] = []
    renders: dict[str, Render] = {}
    with out.progress(1 + len(chosen), "codec") as progress:

        def measure(name: str, codec: ImageCodec, size: float | None) -> None:
            """At this size, or at the quality asked for."""

            def advance(result: Row | Failure) -> None:
                reporting.record(out, result, name)

            try:
                setting = match_size(codec, bare, size) if size else quality or EncodeOptions.quality
            except Exception as error:  # a codec that cannot do this image does not stop the others
                failure = Failure(str(image), None, f"{reporting.describe(error, str(image))} ({name})", name)
                reports.append(Report(name, "cpu", (), reps, failures=[failure]))
            else:
                reports.append(
                    evaluate(
                        codec,
                        [image],
                        [setting],
                        reps,
                        lambda _: picture,
                        reporting.describe,
                        advance,
                        name,
                        metrics=keys,
                    )
                )
                renders[name] = reporting.renderer(codec)
            progress.advance(pixels / 1e6)

        measure(reporting.title(own), own, wanted)
        made = next((r.bytes for r in reports[0].rows), None)
        # the others match the file that vitcodec made, if that is near what was asked for
        size = made if made and (wanted is None or abs(math.log(made / wanted)) <= NEAR) else wanted
        for baseline in chosen if size else []:
            measure(baseline.name, baseline, size)
    for report in reports:
        for row in report.rows:
            if size and row.bytes and abs(math.log(row.bytes / size)) > SAME_SIZE:
                out.warn(
                    f"{report.codec}: comes no nearer to {8 * size / pixels:.3g} bits per pixel than {row.bpp:.3g}"
                )
    title = f"{image.name} at {8 * size / pixels:.2g} bits per pixel" if size else image.name
    comparison = Comparison(reports, provenance(own), title=title, at_equal_size=True)
    return reporting.finish(out, "compare", comparison, targets, renders, read, 1)
