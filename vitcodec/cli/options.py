"""Options that several commands share, so that each has one name, one meaning and one help text."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from .. import files
from ..options import EFFORTS, QUALITIES, EncodeOptions
from . import codecs, places, values
from .layout import CODING, FILES, MESSAGES, MODEL
from .output import Output

if TYPE_CHECKING:
    from ..codec import Codec

Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT...", show_default=False, help="Files, folders or globs; - for stdin.")
]
Target = Annotated[
    str | None,  # no Path, which would lose the slash by which a new folder is told from a file
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        show_default=False,
        rich_help_panel=FILES,
        help="A file for one input, a folder for several, - for stdout. [default: beside the input]",
    ),
]
Recursive = Annotated[
    bool,
    typer.Option("-r", "--recursive", rich_help_panel=FILES, help="Take folders with everything below them."),
]
Quality = Annotated[
    int | None,
    typer.Option(
        "-q",
        "--quality",
        min=QUALITIES[0],
        max=QUALITIES[-1],
        metavar=f"{QUALITIES[0]}..{QUALITIES[-1]}",
        show_default=False,
        rich_help_panel=CODING,
        help=f"Higher is better and larger. [default: {EncodeOptions.quality}]",
    ),
]
Effort = Annotated[
    int,
    typer.Option(
        "--effort",
        min=EFFORTS[0],
        max=EFFORTS[-1],
        metavar=f"{EFFORTS[0]}..{EFFORTS[-1]}",
        autocompletion=values.efforts,
        rich_help_panel=CODING,
        help="More effort takes more time in encoding and makes smaller files; decoding takes as long.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        envvar="VITCODEC_MODEL",
        metavar="NAME",
        show_default=False,
        autocompletion=values.models,
        rich_help_panel=MODEL,
        help="A model's name, a folder or hf-hub:ORG/NAME[@REVISION].",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="VITCODEC_DEVICE",
        metavar="NAME",
        callback=values.check_device,
        autocompletion=values.devices,
        rich_help_panel=MODEL,
        help="auto, cpu, cuda[:N] or mps.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        show_default=False,
        rich_help_panel=MODEL,
        help="CPU threads. [default: all cores]",
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "-j",
        "--jobs",
        min=1,
        max=64,
        metavar="N",
        rich_help_panel=FILES,
        help="Read and write up to N files at once while the model works.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        min=1,
        metavar="N",
        show_default=False,
        rich_help_panel=FILES,
        help="Refuse larger images. [default: 179 million]",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=FILES, help="Replace outputs that exist.")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", rich_help_panel=FILES, help="Skip inputs whose output exists.")
]
AppendSuffix = Annotated[
    bool,
    typer.Option(
        "--append-suffix", rich_help_panel=FILES, help="a.jpg.vitc for a.jpg, so that a.png can be encoded beside it."
    ),
]
Preserve = Annotated[
    bool,
    typer.Option("--preserve", rich_help_panel=FILES, help="Give outputs the modification time of their inputs."),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", rich_help_panel=FILES, help="Exit code 1 if anything in folders was left out, as other files."
    ),
]
Strip = Annotated[bool, typer.Option("--strip", rich_help_panel=FILES, help="Drop ICC, EXIF and XMP.")]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", rich_help_panel=FILES, help="Print the plan and do nothing.")]
Json = Annotated[bool, typer.Option("--json", rich_help_panel=MESSAGES, help="JSON objects on stdout, one a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", rich_help_panel=MESSAGES, help="Print errors only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", rich_help_panel=MESSAGES, help="Say more.")]


def listed(texts: list[str]) -> list[str]:
    """["a,b", "c"] -> ["a", "b", "c"], of an option that may be repeated and takes commas."""
    return [part.strip() for text in texts if text for part in text.split(",")]


def is_stdout(inputs: list[str], output: str | None) -> bool:
    """Whether the one output goes to standard output: `-o -`, or stdin without -o."""
    return output == files.STDIO or (output is None and files.STDIO in inputs)


def write(job: files.Job, data: bytes, overwrite: bool, preserve: bool = False) -> None:
    """preserve: with the input's time of modification."""
    if job.target is None:
        files.write_stdout(data)
        return
    modified = os.stat(job.source.path).st_mtime_ns if preserve and job.source.path is not None else None
    places.here().write(job, data, overwrite, modified)


def say_device(out: Output, codec: Codec, device: str) -> None:
    """With -v, what was chosen and why."""
    if out.verbose:
        chosen, reason = codecs.describe_device(device)
        out.detail(f"model {codec.name} on {chosen}: {reason}")
        out.detail(f"networks run on {codec.engine}{f': {codec.reason}' if codec.reason else ''}")


def load_codec(out: Output, model: str | None, device: str, threads: int | None, tune: str | None = None) -> Codec:
    """codecs.load_codec; with -v, what it is and where it runs."""
    codec = codecs.load_codec(model, device, threads, tune)
    say_device(out, codec, device)
    return codec
