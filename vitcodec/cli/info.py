"""`vitcodec info`: what a file says about itself. Imports neither torch nor PIL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from .. import files
from ..bitstream import container, salvage
from ..bitstream.chunks import Chunk
from ..bitstream.header import Header
from ..errors import VitcodecError
from . import options, outputs
from .batch import size
from .output import DONE, FAILED, Output, explain, one_line


def info_command(
    inputs: options.Inputs,
    recursive: options.Recursive = False,
    strict: options.Strict = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """What .vitc files hold, without decoding them. -v checks the whole file and lists its chunks.

    \b
    vitcodec info photo.vitc
    vitcodec info -v photo.vitc
    vitcodec info small/ -r --json
    """
    out = Output(json, quiet, verbose)
    found = outputs.without_wrong_kinds(files.find_inputs(inputs, {files.SUFFIX}, recursive), vitc=True)
    failed = []
    for source in found.sources:
        try:
            _show(out, source)
        except VitcodecError as error:
            failed.append(_fail(out, source.name, error))
    failed += [_fail(out, problem.name, problem.error) for problem in found.problems]
    total = len(found.sources) + len(found.problems)
    if not total:
        out.say("nothing to do: no .vitc file was found")
    left_out, counts = out.left_out(found.left_out, strict), found.left_out.counts()
    out.summary({"command": "info", "done": total - len(failed), "failed": len(failed), "left_out": counts})
    out.failures(failed, total)
    return FAILED if failed or left_out else DONE


def _fail(out: Output, name: str, error: VitcodecError) -> str:
    line = explain(error, name).line
    out.record({"file": name, "status": "failed", "error": line})
    return line


def _show(out: Output, source: files.Source) -> None:
    if source.path is None or source.stream:
        held = outputs.whole(source)
        text, record = _describe(source.name, held, held.getbuffer().nbytes, out.verbose)
    else:
        try:
            with open(source.path, "rb") as stream:
                text, record = _describe(source.name, stream, source.path.stat().st_size, out.verbose)
        except OSError as error:
            raise files.unreadable(source.path, error) from error
    out.result(text)
    out.record(record)


def _describe(name: str, stream: BinaryIO, length: int, whole: bool) -> tuple[str, dict[str, Any]]:
    """For people and for --json. whole: read and check the whole file, not the header alone."""
    header = container.read_header(stream, name)
    bpp = 8 * length / (header.width * header.height)
    record: dict[str, Any] = {
        "file": name,
        "status": "done",
        "width": header.width,
        "height": header.height,
        "gray": header.gray,
        "lossless": header.lossless,
        "quality": None if header.lossless else header.quality,
        "model": header.model or None,
        "weights": header.weights.hex() or None,
        "tiles": header.grid.count,
        "bytes": length,
        "bpp": round(bpp, 5),
    }
    colour = "gray, " if header.gray else ""
    coding = "lossless" if header.lossless else f"quality {header.quality}, model {header.model}"
    shape = f"{header.width}x{header.height}, {colour}{coding}"
    stream.seek(0)
    record["whole"] = salvage.is_whole(stream)
    cut = "" if record["whole"] else ", cut off or damaged: decode what is intact with --salvage"
    text = f"{one_line(name)}: {shape}, {size(length)}, {bpp:.3f} bpp{cut}"
    if whole:
        stream.seek(0)
        layout = container.describe(stream, name)
        record |= {"chunks": [vars(chunk) for chunk in layout.chunks], "level_bytes": layout.level_bytes}
        text += "\n" + _details(header, layout.chunks, layout.level_bytes, length)
    return text, record


def _details(header: Header, chunks: Sequence[Chunk], level_bytes: dict[int, int], length: int) -> str:
    tiles = f"{header.grid.count} tile(s) of up to {header.tile}x{header.tile} pixels"
    lines = [f"  {tiles}" if header.lossless else f"  weights {header.weights.hex()}, {tiles}"]
    for level, count in level_bytes.items():
        what = "pixels" if level == container.PIXELS else f"details of level {level}" if level else "low band"
        lines.append(f"  {what:<18} {count:>10,} bytes  {100 * count / length:5.1f} %")
    lines.append("  chunk     offset       bytes")
    lines += [f"  {chunk.type} {chunk.offset:>11,} {chunk.size:>11,}" for chunk in chunks]
    return "\n".join(lines)
