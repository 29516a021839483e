"""`vitcodec compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..files import STDIO
from ..options import EncodeOptions
from . import codecs, options, reporting
from .output import Output

if TYPE_CHECKING:
    from ..evaluation.engine import ImageCodec
    from ..evaluation.pictures import Render
    from ..evaluation.results import Failure, Report, Row

FAR = 0.1  # logarithm of the ratio of sizes from which on a codec counts as not matched

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
        help=f"The quality of vitcodec, whose size the others match. [default: {EncodeOptions.quality}]",
    ),
]
MatchBpp = Annotated[
    float | None,
    typer.Option(
        "--match-bpp", metavar="RATE", show_default=False, help="Bits per pixel that all match, instead of --quality."
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        show_default=False,
        help="The page. [default: IMAGE-compare.html, beside the input]",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the page if it exists.")]


def compare_command(
    image: Image,
    quality: Quality = None,
    match_bpp: MatchBpp = None,
    baselines: reporting.Baselines = "all",
    output: Html = None,
    overwrite: Overwrite = False,
    effort: options.Effort = EncodeOptions.effort,
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
    vitcodec compare photo.jpg --match-bpp 0.3 --baselines webp,avif -o side-by-side.html
    """
    out = Output(json=json, quiet=quiet, verbose=verbose)
    if str(image) == STDIO:
        raise UsageError("compare reads a file; name one")
    if quality is not None and match_bpp is not None:
        raise UsageError("--quality and --match-bpp contradict each other; give one")
    if match_bpp is not None and not 0 < match_bpp <= 24:
        raise UsageError(f"--match-bpp {match_bpp:g} is no rate above 0 and up to 24 bits per pixel")
    targets = reporting.Targets(html=output or image.with_name(f"{image.stem}-compare.html"), overwrite=overwrite)
    targets.check([image])

    from ..evaluation import baselines as others

    chosen = others.choose(options.listed([baselines]))
    read = reporting.reader(out, max_pixels)
    picture = read(image)

    from ..evaluation.comparison import Comparison
    from ..evaluation.engine import Entrant, colours_of, evaluate
    from ..evaluation.matching import match_size
    from ..evaluation.provenance import provenance

    own = Entrant(codecs.load_codec(model, device, threads), EncodeOptions(effort=effort))
    options.say_device(out, own.name, device)
    pixels = picture.rgb.shape[0] * picture.rgb.shape[1]
    size = None if match_bpp is None else match_bpp * pixels / 8
    bare = colours_of(picture)
    reports: list[Report] = []
    renders: dict[str, Render] = {}
    with out.progress(1 + len(chosen), "codec") as progress:

        def measure(name: str, codec: ImageCodec, setting: float) -> None:
            def advance(result: Row | Failure) -> None:
                reporting.record(out, result, name)

            reports.append(
                evaluate(codec, [image], [setting], reps, lambda _: picture, reporting.describe, advance, name)
            )
            renders[name] = reporting.renderer(codec)
            progress.advance(pixels / 1e6)

        wanted = match_size(own, bare, size) if size else quality or EncodeOptions.quality
        measure(reporting.title(own), own, wanted)
        for baseline in chosen:
            size = size or next((r.bytes for r in reports[0].rows), None)
            if size:
                measure(baseline.name, baseline, match_size(baseline, bare, size))
    for report in reports:
        for row in report.rows:
            if size and abs(math.log(8 * size / pixels / row.bpp)) > FAR:
                out.warn(
                    f"{report.codec}: comes no nearer to {8 * size / pixels:.3g} bits per pixel than {row.bpp:.3g}"
                )
    comparison = Comparison(
        reports, provenance(own), title=f"{image.name} at {8 * (size or 0) / pixels:.2g} bits per pixel"
    )
    return reporting.finish(out, "compare", comparison, targets, renders, read, 1)
