"""`vitcodec sample`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import files
from ..bitstream import container
from ..errors import UsageError
from ..subbands import LEVELS
from . import decode, drawn, options
from .batch import size as bytes_text
from .layout import CODING, FILES
from .output import DONE, Output, one_line

if TYPE_CHECKING:
    from ..codec import Codec

Size = Annotated[
    str | None,
    typer.Option(
        "--size", metavar="WxH", show_default=False, rich_help_panel=CODING, help="In pixels. [default: 256x256]"
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        rich_help_panel=CODING,
        help="Of the first picture; the next has the next. The same seed gives the same tokens on every machine.",
    ),
]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        metavar="0.01..5",
        rich_help_panel=CODING,
        help="Less draws what is probable and smooth, more what is improbable and rough.",
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE",
        show_default=False,
        rich_help_panel=CODING,
        help="Keep the coarse levels of this .vitc file, and draw the fine ones.",
    ),
]
KeepLevels = Annotated[
    int | None,
    typer.Option(
        "--keep-levels",
        metavar="0..3",
        show_default=False,
        rich_help_panel=CODING,
        help="Of --from: how many levels of details are kept beside the low band, of 4. [default: 2]",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        show_default=False,
        rich_help_panel=FILES,
        help="A file, in which several pictures become a contact sheet; a folder, for one file each; - for stdout. "
        "One picture can go to a .vitc file. [default: sample-SEED.png]",
    ),
]
KEPT = 2


@dataclass(frozen=True)
class _Output:
    """A file to write, and the seeds of the pictures in it. target: None for stdout."""

    target: Path | None
    seeds: range

    @property
    def name(self) -> str:
        return files.STDIO if self.target is None else str(self.target)

    @property
    def encoded(self) -> bool:
        return self.target is not None and self.target.suffix.lower() == files.SUFFIX


def sample_command(
    count: drawn.Count = 1,
    seed: Seed = 0,
    size: Size = None,
    temperature: Temperature = 1.0,
    quality: options.Quality = None,
    source: From = None,
    keep_levels: KeepLevels = None,
    output: Target = None,
    format: decode.Format = None,
    overwrite: options.Overwrite = False,
    model: options.Model = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dry_run: drawn.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Draw pictures from what a model has learned, or new fine details for a file.

    They look like abstract paintings: the model knows textures and edges, and nothing of things.

    \b
    vitcodec sample -n 9 --seed 1 -o sheet.png
    vitcodec sample --size 512x384 --temperature 0.8 -o painting.png
    vitcodec sample -n 9 -o samples/                  one file each
    vitcodec sample --from photo.vitc --keep-levels 2 -o imagined.png
    """
    from ..generation import check_drawn, check_size
    from ..sheets import sheet_size

    out = Output(json, quiet, verbose, to_stdout=output == files.STDIO)
    check_drawn(count, temperature, seed)
    contents, kept = None, KEPT if keep_levels is None else keep_levels
    if source is None:
        if keep_levels is not None:
            raise UsageError("--keep-levels is about the file of --from; give that too")
        pixels = _size(size)
        check_size(pixels)
    else:
        if size is not None or quality is not None:
            raise UsageError("--from gives size and quality; leave --size and --quality out")
        contents = _contents(drawn.check_input(source), kept)
        pixels = contents.header.width, contents.header.height
    plan = list(_plan(count, seed, source, output, format))
    kinds = [None if one.encoded else _kind(one, format) for one in plan]
    if len(plan) == 1:
        sheet_size(count, pixels)
    drawn.check_targets([one.target for one in plan], overwrite, [Path(source)] if source else [])
    if dry_run:
        for one in plan:
            out.result(f"seed {_seeds(one.seeds)} -> {one_line(one.name)}")
            out.record({"output": one.name, "seeds": list(one.seeds), "status": "planned"})
        out.summary({"command": "sample", "planned": len(plan), "done": 0, "failed": 0})
        return DONE
    codec = drawn.codec_for(out, contents.header if contents else None, model, device, threads)
    request: dict[str, Any] = {"temperature": temperature}
    if contents is None:
        request |= {"size": pixels, "quality": quality}
    else:
        request |= {"source": codec.decompress(contents, LEVELS - kept), "keep_levels": kept}
    with out.progress(len(plan), "file") as bar:
        for one, kind in zip(plan, kinds, strict=True):
            with bar.within(one_line(one.name)):
                _make(out, codec, one, kind, request, overwrite)
            bar.advance(len(one.seeds) * pixels[0] * pixels[1] / 1e6)
    out.summary({"command": "sample", "done": len(plan), "failed": 0})
    return DONE


def _make(out: Output, codec: Codec, one: _Output, kind: str | None, request: dict[str, Any], overwrite: bool) -> None:
    """Draw the pictures of a file, write it, and tell of it."""
    from ..sheets import contact_sheet

    began = time.perf_counter()
    tokens = codec.sample(len(one.seeds), seed=one.seeds[0], **request)
    first, notes = tokens[0], list[str]()
    if kind is None:
        (width, height), data = first.size, codec.compress(first)
    else:
        picture = contact_sheet([codec.decode(each) for each in tokens])
        (width, height), (data, notes) = picture.size, drawn.image_bytes(picture, kind)
    drawn.write(one.target, data, overwrite)
    for note in notes:
        out.warn(f"{one_line(one.name)}: {note}")
    out.say(f"seed {_seeds(one.seeds)} -> {one_line(one.name)}  {width}x{height}, {bytes_text(len(data))}")
    fields = {"seeds": list(one.seeds), "temperature": request["temperature"], "quality": first.quality}
    out.record(
        {
            "output": one.name,
            "status": "done",
            "width": width,
            "height": height,
            "bytes_out": len(data),
            **fields,
            "model": first.model,
            "keep_levels": request.get("keep_levels"),
            "seconds": round(time.perf_counter() - began, 4),
            "notes": notes,
        }
    )


def _plan(count: int, seed: int, source: str | None, output: str | None, format: str | None) -> Iterator[_Output]:
    """Raises UsageError."""
    seeds, stem = range(seed, seed + count), f"{Path(source).stem}-sample" if source else "sample"
    suffix = "." + (format or decode.DEFAULT_FORMAT).lower().lstrip(".")
    if output == files.STDIO:
        yield _Output(None, seeds)
    elif output is None:
        yield _Output((Path(source).parent if source else Path()) / f"{stem}-{seed}{suffix}", seeds)
    elif drawn.is_folder(output):
        for k in seeds:
            yield _Output(Path(output) / f"{stem}-{k}{suffix}", range(k, k + 1))
    else:
        one = _Output(Path(output), seeds)
        if one.encoded and count > 1:
            raise UsageError(
                f"{output}: a {files.SUFFIX} file holds one picture; leave -n out, or give an image's name"
            )
        if one.encoded and format:
            raise UsageError(f"{output}: --format {format} contradicts this name; give one of them")
        yield one


def _kind(one: _Output, format: str | None) -> str:
    """Pillow's name of the format to write. Raises UsageError."""
    from ..filesystem import suffixes
    from ..images import format_of

    wanted = f".{(format or '').lower().lstrip('.')}"
    promised = one.target.suffix.lower() if one.target and suffixes.promises_image(one.target) else wanted
    if format and not suffixes.same_format(promised, wanted):
        raise UsageError(f"{one.target}: --format {format} contradicts this name; give one of them")
    return format_of(one.target or "stdout.png", format)


def _size(text: str | None) -> tuple[int, int]:
    """Raises UsageError."""
    from ..generation import SIZE

    if text is None:
        return SIZE
    match = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", text)
    if not match:
        raise UsageError(f"--size '{text}' is not understood; write it as 512x384")
    return int(match[1]), int(match[2])


def _contents(path: Path, keep_levels: int) -> container.Contents:
    """Of the file of --from, as far as it is kept. Raises VitcodecError."""
    from ..generation import KEEP_LEVELS
    from ..images import MAX_PIXELS

    if keep_levels not in KEEP_LEVELS:
        raise UsageError(f"--keep-levels {keep_levels} is out of range; give {KEEP_LEVELS[0]} to {KEEP_LEVELS[-1]}")
    if not drawn.is_encoded(path):
        raise UsageError(f"{path}: is no .vitc file; encode the image first")
    contents = drawn.read_tokens(path, MAX_PIXELS, LEVELS + 1 - keep_levels)
    if contents.header.lossless:
        raise UsageError(f"{path}: is lossless and has no levels to keep; encode it with --tokens")
    return contents


def _seeds(seeds: range) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
