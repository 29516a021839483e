"""`vitcodec compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..files import STDIO
from . import options, reporting
from .output import Output

if TYPE_CHECKING:
    from ..evaluation.engine import Failure, ImageCodec, Report, Row
    from ..evaluation.pictures import Render

FAR = 0.1  # a size that is this far off, as the logarithm of a ratio, is said

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
        help="The quality of vitcodec, whose size the others match. [default: 50]",
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

    from ..codec import DEFAULT_QUALITY, Codec
    from ..evaluation.comparison import Comparison
    from ..evaluation.engine import colours_of, evaluate
    from ..evaluation.matching import match_size
    from ..evaluation.provenance import provenance

    codec = Codec.load(model, device, threads)
    options.say_device(out, codec.name, device)
    pixels = picture.rgb.shape[0] * picture.rgb.shape[1]
    size = None if match_bpp is None else match_bpp * pixels / 8
    bare = colours_of(picture)
    reports: list[Report] = []
    renders: dict[str, Render] = {}
    with out.progress(1 + len(chosen), "codec") as progress:

        def measure(name: str, entrant: ImageCodec, setting: float) -> None:
            def advance(result: Row | Failure) -> None:
                reporting.record(out, result, name)

            reports.append(
                evaluate(entrant, [image], [setting], reps, lambda _: picture, reporting.describe, advance, name)
            )
            renders[name] = reporting.renderer(entrant)
            progress.advance(pixels / 1e6)

        measure(reporting.title(codec), codec, match_size(codec, bare, size) if size else quality or DEFAULT_QUALITY)
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
        reports, provenance(codec), title=f"{image.name} at {8 * (size or 0) / pixels:.2g} bits per pixel"
    )
    return reporting.finish(out, "compare", comparison, targets, renders, read, 1)
