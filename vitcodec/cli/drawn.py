"""What `sample` and `interpolate` share: options, and where pictures go that are no image's."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import files
from ..bitstream import container
from ..bitstream.container import MAGIC
from ..bitstream.header import Header
from ..errors import OutputError, UsageError, WeightsError
from ..filesystem.streams import is_stream
from . import codecs, decode, options
from .layout import FILES
from .output import Output

if TYPE_CHECKING:
    from ..picture import Picture

Count = Annotated[int, typer.Option("-n", "--count", metavar="N", help="How many pictures.")]
# -n is their number here, as it is in other programs that draw
DryRun = Annotated[bool, typer.Option("--dry-run", rich_help_panel=FILES, help="Print the plan and do nothing.")]


def is_folder(output: str) -> bool:
    """Whether -o names a folder: one that exists, or a name that ends in a slash."""
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def check_targets(targets: Sequence[Path | None], overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Before any work: that all can be written. None: standard output. Raises OutputError, UsageError."""
    taken = {path.resolve() for path in inputs}
    for path in targets:
        if path is None:
            files.check_stdout()
        elif path.resolve() in taken:
            raise UsageError(f"{path}: would replace an input; give another name")
        elif path.is_dir():
            raise OutputError(f"{path}: is a folder; give the name of a file")
        elif os.path.lexists(path) and not overwrite and not is_stream(path):
            raise OutputError(f"{path}: exists already; use --overwrite or another name")


def write(target: Path | None, data: bytes, overwrite: bool) -> None:
    """Raises OutputError."""
    if target is None:
        files.write_stdout(data)
    else:
        files.write_atomic(target, data, overwrite)


def image_bytes(picture: Picture, kind: str) -> tuple[bytes, list[str]]:
    """The image file, and notes on what it cannot hold. kind: as images.format_of has it."""
    from ..images import write_image

    buffer = io.BytesIO()
    notes = write_image(picture, buffer, kind)
    return buffer.getvalue(), notes


def is_encoded(path: Path) -> bool:
    """Whether a file is a .vitc file. Raises InputError."""
    try:
        with open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise files.unreadable(path, error) from error


def read_tokens(path: Path, limit: int, finest: int = 1) -> container.Contents:
    """The contents of a .vitc file, of a lossless one too. limit: on its pixels. Raises VitcodecError."""
    with open(path, "rb") as stream:
        decode.check_size(container.read_header(stream, str(path)), limit, str(path))
        stream.seek(0)
        contents = container.unpack(stream, finest, str(path))
    from ..bitstream.metadata import ERASED

    if ERASED in contents.metadata:
        raise UsageError(f"{path}: has erased tokens, which are in no file; encode the image with all tokens")
    return contents


def check_input(text: str) -> Path:
    """A file that is named on the command line. Raises UsageError."""
    if text == files.STDIO:
        raise UsageError("- is no file; name one")
    path = Path(text)
    if path.is_dir():
        raise UsageError(f"{text}: is a folder; name one file")
    return path


def codec_for(out: Output, header: Header | None, model: str | None, device: str, threads: int | None) -> Any:
    """The codec that draws: of a file, that which it names, or else that of -m. Raises WeightsError, DeviceError."""
    if header is None:
        return options.load_codec(out, model, device, threads)
    try:
        return codecs.Decoders(None, device, threads, lambda codec: options.say_device(out, codec, device)).of(header)
    except WeightsError:
        if model is None:
            raise
        return options.load_codec(out, model, device, threads)
