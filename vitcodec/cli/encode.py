"""`vitcodec encode`."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import files, target
from ..bitstream import container
from ..errors import UsageError
from ..options import Coding, EncodeOptions
from ..pretrained import registry
from . import batch, codecs, options, outputs, places, regions, values
from .layout import CODING, MODEL
from .output import Output

if TYPE_CHECKING:
    from ..picture import Picture

TargetBpp = Annotated[
    float | None,
    typer.Option(
        "--target-bpp",
        metavar="BPP",
        show_default=False,
        rich_help_panel=CODING,
        help="The best quality of at most so many bits per pixel.",
    ),
]
TargetSize = Annotated[
    str | None,
    typer.Option(
        "--target-size",
        metavar="SIZE",
        show_default=False,
        rich_help_panel=CODING,
        help="The best quality of at most so large a file: 60k, 1.5M.",
    ),
]
TargetPsnr = Annotated[
    float | None,
    typer.Option(
        "--target-psnr",
        metavar="DB",
        show_default=False,
        rich_help_panel=CODING,
        help="The smallest file of at least this PSNR.",
    ),
]
Tune = Annotated[
    str | None,
    typer.Option(
        "--tune",
        metavar="NAME",
        show_default=False,
        autocompletion=values.tunings,
        rich_help_panel=MODEL,
        help="psnr, ms-ssim or ssimulacra2: what the search is after, with the model that fits it best unless -m names "
        "one. [default: what the model is trained for]",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="PIXELS",
        show_default=False,
        autocompletion=values.tiles,
        rich_help_panel=CODING,
        help="128, 256, 512 or 1024: side of the squares that are coded by themselves, which confine damage.",
    ),
]
KeepTokens = Annotated[
    float,
    typer.Option(
        "--keep-tokens",
        metavar="SHARE",
        show_default=False,
        rich_help_panel=CODING,
        help="Keep this share of the tokens, above 0 and up to 1, and erase those that the model fills in best "
        "(-m beit). [default: 1]",
    ),
]
Lossless = Annotated[
    bool,
    typer.Option(
        "--lossless",
        rich_help_panel=CODING,
        help="Store the pixels exactly. [default: where that is smaller than tokens]",
    ),
]
Tokens = Annotated[
    bool,
    typer.Option("--tokens", rich_help_panel=CODING, help="Store tokens, even where exact pixels would be smaller."),
]


@dataclass(frozen=True)
class _Encoded:
    data: bytes
    quality: int
    size_before: int
    width: int
    height: int
    notes: list[str]
    regions: regions.Applied


def encode_command(
    inputs: options.Inputs,
    output: options.Target = None,
    quality: options.Quality = None,
    target_bpp: TargetBpp = None,
    target_size: TargetSize = None,
    target_psnr: TargetPsnr = None,
    lossless: Lossless = False,
    tokens: Tokens = False,
    effort: options.Effort = EncodeOptions.effort,
    tile: Tile = EncodeOptions.tile,
    keep_tokens: KeepTokens = EncodeOptions.keep_tokens,
    roi: regions.Roi = [],  # noqa: B006 as typer reads it
    roi_mask: regions.RoiMask = None,
    roi_quality: regions.RoiQuality = str(EncodeOptions.roi_quality),
    background_quality: regions.BackgroundQuality = None,
    roi_detect: regions.RoiDetect = [],  # noqa: B006
    roi_detector: regions.RoiDetector = None,
    roi_score: regions.RoiScore = regions.SCORE,
    roi_categories: regions.RoiCategories = [],  # noqa: B006
    roi_annotations: regions.RoiAnnotations = None,
    recursive: options.Recursive = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    append_suffix: options.AppendSuffix = False,
    preserve: options.Preserve = False,
    strict: options.Strict = False,
    strip: options.Strip = False,
    model: options.Model = None,
    tune: Tune = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    jobs: options.Jobs = 1,
    max_pixels: options.MaxPixels = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Images to .vitc files.

    \b
    vitcodec encode photo.jpg                     photo.vitc, beside it
    vitcodec encode photos/ -r -o small/ -q 40    a tree of photos, mirrored
    vitcodec encode photo.jpg --target-size 60k   the best quality that fits
    vitcodec encode photo.jpg --roi 80,40,200,200 a region better than the rest
    vitcodec encode - -o - < a.png > a.vitc       through a pipe
    """
    inputs, output = outputs.encoding(inputs, output)
    out = Output(json, quiet, verbose, to_stdout=options.is_stdout(inputs, output))
    coding: Coding = "lossless" if lossless else "tokens" if tokens else "auto"
    how = EncodeOptions(effort=effort, tile=tile, keep_tokens=keep_tokens, coding=coding)
    how = how if quality is None else replace(how, quality=quality)
    wanted = _target(quality, target_bpp, target_size, target_psnr, lossless, tokens)
    interest = regions.asked(
        roi,
        roi_mask,
        roi_quality,
        background_quality,
        roi_detect,
        roi_detector,
        roi_score,
        roi_categories,
        roi_annotations,
    )
    if interest:
        if lossless:
            raise UsageError("--lossless and regions of interest contradict each other; leave one out")
        how = replace(how, roi_quality=roi_quality, background_quality=background_quality)
        if wanted:
            regions.check_target(how)
    if tune is not None:
        registry.check_tune(tune)
        model = model or registry.TUNED[tune]
    found = places.here().find_inputs(inputs, files.image_suffixes(), recursive)
    outputs.check_encoded_name(found, output)
    found = outputs.without_wrong_kinds(found, vitc=False)
    plan = places.here().plan_outputs(found, output, files.SUFFIX, overwrite, skip_existing, append_suffix)
    if preserve:
        outputs.check_preserved(plan)

    alone = len(found.sources) == 1

    def start() -> batch.Work:
        from ..images import MAX_PIXELS, read_image, stripped

        codec = codecs.load_lossless() if lossless else options.load_codec(out, model, device, threads, tune)
        ready = interest.with_detector(str(getattr(codec, "device", "cpu"))) if interest else None

        def read(job: files.Job) -> tuple[Picture, int]:
            data = outputs.read_image_file(job.source)
            picture = read_image(io.BytesIO(data), max_pixels or MAX_PIXELS, job.source.name)
            return stripped(picture) if strip else picture, len(data)

        def compute(job: files.Job, loaded: tuple[Picture, int]) -> _Encoded:
            picture, size_before = loaded
            height, width = picture.rgb.shape[:2]
            applied = regions.apply(ready, how, job.source, picture, alone)
            notes = [*picture.notes, *applied.notes]
            if wanted is None:
                data, used = codec.encode(picture, applied.options), how.quality
            else:
                result = target.encode(codec, picture, wanted(width * height), applied.options)
                data, used = result.data, result.quality
                notes += [result.note] if result.note else []
            return _Encoded(data, used, size_before, width, height, notes, applied)

        def write(job: files.Job, made: _Encoded) -> batch.Result:
            options.write(job, made.data, overwrite, preserve)
            bpp = 8 * len(made.data) / (made.width * made.height)
            sizes = f"{batch.size(made.size_before)} -> {batch.size(len(made.data))}"
            text = f"{made.width}x{made.height}, {sizes}, {bpp:.3f} bpp"
            stored = container.read_header(made.data).lossless
            text += ", lossless" if stored else f", quality {made.quality}" if wanted else ""
            text += made.regions.text(made.quality)
            fields: dict[str, Any] = {
                "quality": None if stored else made.quality,
                "lossless": stored,
                "model": None if stored else codec.name,
                "bpp": round(bpp, 5),
                **(made.regions.fields if interest else {}),
            }
            return batch.Result(made.size_before, len(made.data), made.width, made.height, text, made.notes, fields)

        return batch.Work(read, compute, write)

    return places.here().run(out, "encode", plan, dry_run, start, jobs, strict)


def _target(
    quality: int | None, bpp: float | None, size: str | None, psnr: float | None, lossless: bool, tokens: bool
) -> target.PixelTarget | None:
    """What to aim at, by the number of pixels; None for a quality. Raises UsageError."""
    if lossless and tokens:
        raise UsageError("--lossless and --tokens contradict each other; give one")
    values = {"--quality": quality, "--target-bpp": bpp, "--target-size": size, "--target-psnr": psnr}
    values["--lossless"] = lossless or None
    given = [name for name, value in values.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} contradict each other; give one")
    if any(value is not None and not value > 0 for value in (bpp, psnr)):
        raise UsageError(f"{given[0]} has to be more than 0")
    if bpp is not None:
        return lambda pixels: target.Target(size=bpp * pixels / 8)
    if size is not None:
        parsed = target.parse_size(size)
        return lambda pixels: target.Target(size=parsed)
    return (lambda pixels: target.Target(psnr=psnr)) if psnr is not None else None
