"""`vitcodec compare`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, UsageError, VitcodecError
from ..files import STDIO
from ..options import EncodeOptions
from . import options, reporting, values
from .layout import CODING, FILES, MODEL
from .output import Output

if TYPE_CHECKING:
    from ..attention import AttentionMap
    from ..evaluation.attention import AttentionView
    from ..evaluation.engine import Entrant, ImageCodec
    from ..evaluation.pictures import Render
    from ..evaluation.results import Report, Row
    from ..picture import Picture

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
        help=f"The quality of the first model, whose size the others match. [default: {EncodeOptions.quality}]",
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
Models = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        envvar="VITCODEC_MODEL",
        metavar="NAME[,...]",
        show_default=False,
        autocompletion=values.lists_of_models,
        rich_help_panel=MODEL,
        help="Models to compare, each a name, a folder or hf-hub:ORG/NAME[@REVISION].",
    ),
]
Baselines = Annotated[
    str | None,
    typer.Option(
        "--baselines",
        metavar="NAME[,...]",
        show_default=False,
        autocompletion=values.baselines,
        help="Measure these too: jpeg, webp, jpeg2000, avif, jxl, or all. [default: all; with several models, none]",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="X,Y",
        show_default=False,
        help="A pixel of the token whose attention the page shows, with several models or this option. "
        "[default: of the token whose pixels vary most]",
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
    baselines: Baselines = None,
    token: Token = None,
    output: Html = None,
    overwrite: Overwrite = False,
    effort: options.Effort = EncodeOptions.effort,
    metrics: reporting.Metrics = "all",
    reps: reporting.Reps = 1,
    model: Models = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """One image by vitcodec and by the codecs of today, at equal size: the numbers, and a page to look at.

    Of several models the page also shows what each attends to.

    \b
    vitcodec compare photo.jpg
    vitcodec compare photo.jpg --match-bpp 0.3 --baselines webp,avif -o page.html
    vitcodec compare photo.jpg -m swin,vit,beit,cnn --token 300,120
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
    named, place = _named(model), _pixel(token)
    targets = reporting.Targets(html=output or image.with_name(f"{image.stem}-compare.html"), overwrite=overwrite)
    targets.check([image])

    from ..evaluation import baselines as others
    from ..evaluation import measures

    keys = measures.choose(options.listed([metrics]))
    chosen = others.choose(options.listed([("all" if len(named) == 1 else "") if baselines is None else baselines]))
    read = reporting.reader(out, max_pixels)
    picture = read(image)
    if place is not None:
        from ..attention import check_token

        check_token(place, picture.rgb)

    from ..evaluation.comparison import Comparison
    from ..evaluation.engine import Entrant, colours_of, evaluate
    from ..evaluation.matching import match_size
    from ..evaluation.provenance import provenance
    from ..evaluation.results import Failure, Report
    from ..evaluation.verdict import SAME_SIZE

    entrants = _entrants(
        named, [Entrant(options.load_codec(out, n, device, threads), EncodeOptions(effort=effort)) for n in named]
    )
    pixels = picture.rgb.shape[0] * picture.rgb.shape[1]
    wanted = None if match_bpp is None else match_bpp * pixels / 8  # bytes
    bare = colours_of(picture)
    reports: list[Report] = []
    renders: dict[str, Render] = {}
    with out.progress(len(entrants) + len(chosen), "codec") as progress:

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

        first, *rest = entrants
        measure(first, entrants[first], wanted)
        made = next((r.bytes for r in reports[0].rows), None)
        # the others match the file that the first model made, if that is near what was asked for
        size = made if made and (wanted is None or abs(math.log(made / wanted)) <= NEAR) else wanted
        if size:
            for name in rest:
                measure(name, entrants[name], size)
            for baseline in chosen:
                measure(baseline.name, baseline, size)
    for report in reports:
        for row in report.rows:
            if size and row.bytes and abs(math.log(row.bytes / size)) > SAME_SIZE:
                out.warn(
                    f"{report.codec}: comes no nearer to {8 * size / pixels:.3g} bits per pixel than {row.bpp:.3g}"
                )
    title = f"{image.name} at {8 * size / pixels:.2g} bits per pixel" if size else image.name
    origin = provenance(entrants[first], others=[entrants[name] for name in rest])
    comparison = Comparison(reports, origin, title=title, at_equal_size=True)
    looks = len(entrants) > 1 or place is not None
    attention = _attention(out, entrants, reports, bare, place) if looks else None
    return reporting.finish(out, "compare", comparison, targets, renders, read, 1, attention=attention)


def _named(model: str | None) -> list[str | None]:
    """The models of --model; None for the default. Raises UsageError."""
    if model is None or Path(model).is_dir():  # a folder's name may have commas
        return [model]
    named = options.listed([model])
    if "" in named:
        raise UsageError(f"--model '{model}' has an empty name; give names with a comma between two")
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise UsageError(f"--model '{model}' names '{twice}' twice; name it once")
    return list(named)


def _pixel(token: str | None) -> tuple[int, int] | None:
    """Raises UsageError."""
    if token is None:
        return None
    match = re.fullmatch(r"(\d{1,6}),(\d{1,6})", token)
    if not match:
        raise UsageError(f"--token '{token}' is not understood; write it as X,Y, a pixel of the image")
    return int(match[1]), int(match[2])


def _entrants(named: list[str | None], entrants: list[Entrant]) -> dict[str, Entrant]:
    """By what reports call them: their names, or what they were asked by where two have one name."""
    names = [entrant.name for entrant in entrants]
    titles = [
        reporting.title(entrant) if names.count(entrant.name) == 1 else f"vitcodec {text}"
        for text, entrant in zip(named, entrants, strict=True)
    ]
    return dict(zip(titles, entrants, strict=True))


def _attention(
    out: Output,
    entrants: Mapping[str, Entrant],
    reports: list[Report],
    picture: Picture,
    place: tuple[int, int] | None,
) -> AttentionView:
    """What the models attend to, each at the quality that it was measured at."""
    from ..attention import most_varied
    from ..evaluation.attention import NO_ATTENTION, AttentionView, ModelAttention, untrained

    try:
        x, y = place or most_varied(picture.rgb)
    except InputError as error:  # the comparison stands
        return AttentionView(picture.rgb, 0, 0, True, (), f"No token's attention is shown: {error}.")
    models, rows = [], {report.codec: report.rows for report in reports}
    for index, (name, entrant) in enumerate(entrants.items()):
        quality = next((int(row.quality) for row in rows.get(name, []) if row.quality), EncodeOptions.quality)
        maps: Sequence[AttentionMap] = ()
        try:
            maps = entrant.codec.attention_maps(picture, (x, y), quality)
        except VitcodecError as error:
            note = f"No attention is shown: {error}."
            out.warn(f"{name}: attention is not shown: {error}")
        else:
            note = untrained(entrant.config.training) if maps else NO_ATTENTION
        models.append(ModelAttention(name, index, quality, maps, note))
    return AttentionView(picture.rgb, x, y, place is None, models)
