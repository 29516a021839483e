"""`vitcodec interpolate`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import files
from ..bitstream import container
from ..errors import UsageError
from . import codecs, decode, drawn, options
from .batch import size as bytes_text
from .layout import FILES
from .output import DONE, Output, one_line

if TYPE_CHECKING:
    from ..codec import Codec
    from ..picture import Picture
    from ..tokens import Tokens

QUALITY = 90  # of images: fine steps, so that the middle of the way keeps its details

Start = Annotated[str, typer.Argument(metavar="A", show_default=False, help="An image or a .vitc file.")]
End = Annotated[str, typer.Argument(metavar="B", show_default=False, help="Another of the same size.")]
Quality = Annotated[
    int | None,
    typer.Option(
        "-q",
        "--quality",
        min=1,
        max=100,
        metavar="1..100",
        show_default=False,
        help=f"Of what images become on the way. [default: {QUALITY}, or that of a .vitc file]",
    ),
]
Duration = Annotated[
    int, typer.Option("--duration", min=10, max=60000, metavar="MS", help="Milliseconds that each picture is shown.")
]
Back = Annotated[bool, typer.Option("--back", help="Let the animation go back the same way.")]
Target = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        show_default=False,
        rich_help_panel=FILES,
        help="An animation (.webp, .gif, .png or .apng), or a folder for pictures. [default: A-B.webp, beside A]",
    ),
]


@dataclass(frozen=True)
class _Input:
    """What an input is: a picture to encode, or the contents of a .vitc file of tokens."""

    path: Path
    picture: Picture | None = None
    contents: container.Contents | None = None

    @property
    def size(self) -> tuple[int, int]:
        if self.contents is not None:
            return self.contents.header.width, self.contents.header.height
        assert self.picture is not None
        return self.picture.size


def interpolate_command(
    start: Start,
    end: End,
    count: drawn.Count = 8,
    quality: Quality = None,
    output: Target = None,
    duration: Duration = 125,
    back: Back = False,
    format: decode.Format = None,
    overwrite: options.Overwrite = False,
    model: options.Model = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    dry_run: drawn.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Go from one image to another of the same size through a model's tokens, as an animation or as pictures.

    It is a cross-fade of latents: edges and textures fade, and nothing moves.

    \b
    vitcodec interpolate a.jpg b.jpg
    vitcodec interpolate a.vitc b.vitc -n 16 --back -o fade.gif
    vitcodec interpolate a.png b.png -n 5 -o steps/
    """
    from ..generation import check_interpolated

    out = Output(json, quiet, verbose)
    check_interpolated(count)
    paths = [drawn.check_input(text) for text in (start, end)]
    targets, kind = _targets(paths, count, output, format, back)
    drawn.check_targets(targets, overwrite, paths)
    inputs = [_read(path, max_pixels) for path in paths]
    _check_sizes(inputs)
    quality = _quality(inputs, quality)
    if dry_run:
        for target in targets:
            out.result(f"{one_line(start)}, {one_line(end)} -> {one_line(str(target))}")
            out.record({"files": [start, end], "output": str(target), "status": "planned"})
        out.summary({"command": "interpolate", "planned": len(targets), "done": 0, "failed": 0})
        return DONE
    headers = [one.contents.header for one in inputs if one.contents is not None]
    if len({header.weights for header in headers}) > 1:
        raise UsageError(f"{start} and {end}: were made by different models; encode both with one")
    codec = drawn.codec_for(out, headers[0] if headers else None, model, device, threads)
    began = time.perf_counter()
    ends = [_tokens(codec, one, quality) for one in inputs]
    between = codec.interpolate(*ends, count)
    for note in _notes(ends, between[0]):
        out.warn(note)
    fields = {"quality": quality, "model": codec.name, "width": between[0].size[0], "height": between[0].size[1]}
    with out.progress(count) as bar:

        def decoded(tokens: Tokens) -> Picture:
            with bar.within(one_line(f"{start} to {end}")):
                picture = codec.decode(tokens)
            bar.advance(tokens.size[0] * tokens.size[1] / 1e6)
            return picture

        def tell(target: Path, length: int, frames: int) -> None:
            out.say(f"{one_line(start)}, {one_line(end)} -> {one_line(str(target))}  {bytes_text(length)}")
            seconds = round(time.perf_counter() - began, 4)
            made = {"output": str(target), "status": "done", "frames": frames, "bytes_out": length}
            out.record({"files": [start, end], **made, **fields, "seconds": seconds})

        if len(targets) == 1:
            from ..sheets import animation

            pictures = [decoded(tokens) for tokens in between]
            pictures += pictures[-2:0:-1] if back else []
            data = animation(pictures, kind, duration)
            drawn.write(targets[0], data, overwrite)
            tell(targets[0], len(data), len(pictures))
        else:
            for target, tokens in zip(targets, between, strict=True):
                data, _ = drawn.image_bytes(decoded(tokens), kind)
                drawn.write(target, data, overwrite)
                tell(target, len(data), 1)
    out.summary({"command": "interpolate", "done": len(targets), "failed": 0})
    return DONE


def _targets(
    paths: list[Path], count: int, output: str | None, format: str | None, back: bool
) -> tuple[list[Path], str]:
    """What is written, and Pillow's name of its format. Raises UsageError."""
    from ..images import format_of
    from ..sheets import ANIMATIONS

    stem = "-".join(path.stem for path in paths)
    if output == files.STDIO:
        raise UsageError("interpolate writes files; give -o a name or a folder")
    if output is not None and drawn.is_folder(output):
        if back:
            raise UsageError("--back is about animations; leave it out, or give -o the name of one")
        suffix = "." + (format or decode.DEFAULT_FORMAT).lower().lstrip(".")
        names = [f"{stem}-{k:0{len(str(count))}}{suffix}" for k in range(1, count + 1)]
        return [Path(output) / name for name in names], format_of(names[0])
    if format:
        raise UsageError("--format is about pictures in a folder; give -o a folder, or the name of an animation alone")
    target = Path(output) if output is not None else paths[0].with_name(f"{stem}.webp")
    kind = ANIMATIONS.get(target.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{target}: animations are {', '.join(ANIMATIONS)}; give such a name, or a folder ({target}/) for pictures"
        )
    return [target], kind


def _read(path: Path, max_pixels: int | None) -> _Input:
    """Raises VitcodecError."""
    from ..images import MAX_PIXELS, read_image

    limit = max_pixels or MAX_PIXELS
    if not drawn.is_encoded(path):
        return _Input(path, read_image(path, limit, str(path)))
    contents = drawn.read_tokens(path, limit)
    if contents.header.lossless:
        return _Input(path, codecs.load_lossless().decode(contents))
    return _Input(path, contents=contents)


def _check_sizes(inputs: list[_Input]) -> None:
    """Raises UsageError."""
    if inputs[0].size != inputs[1].size:
        texts = [f"{one.path} is {one.size[0]}x{one.size[1]}" for one in inputs]
        raise UsageError(f"{' and '.join(texts)} pixels; make them one size first")


def _quality(inputs: list[_Input], asked: int | None) -> int:
    """Raises UsageError where inputs or options have different ones."""
    found = {one.path: one.contents.header.quality for one in inputs if one.contents is not None}
    for path, quality in found.items():
        if asked is not None and quality != asked:
            raise UsageError(f"{path}: has quality {quality}, not {asked}; leave --quality out, or give the image")
    if len(set(found.values())) > 1:
        texts = [f"{path} has quality {quality}" for path, quality in found.items()]
        raise UsageError(f"{' and '.join(texts)}; encode both at one quality")
    return asked or next(iter(found.values()), QUALITY)


def _tokens(codec: Codec, one: _Input, quality: int) -> Tokens:
    if one.contents is not None:
        return codec.decompress(one.contents)
    assert one.picture is not None
    return codec.encode_tokens(one.picture, quality=quality, effort=1)


def _notes(ends: list[Tokens], between: Tokens) -> list[str]:
    """What the pictures lack that an input has."""
    from ..bitstream.metadata import ALPHA, CICP, ICC, NAME

    lost = {key for tokens in ends for key in tokens.metadata} - between.metadata.keys()
    notes = ["the transparency of the two differs: left out"] if ALPHA in lost else []
    if lost & {ICC, NAME, CICP} and not all(_is_srgb(tokens) for tokens in ends):
        notes.append("the colour profiles of the two differ: left out, so colours may be off")
    return notes


def _is_srgb(tokens: Tokens) -> bool:
    """Whether colours mean what they do without a profile."""
    from ..bitstream.metadata import CICP, ICC, NAME
    from ..imageio import colour
    from ..imageio.profiles import well_known

    name = tokens.metadata.get(NAME)
    return colour.is_srgb(well_known(name[0]) if name else tokens.metadata.get(ICC), tokens.metadata.get(CICP))
