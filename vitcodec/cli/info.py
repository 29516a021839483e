"""`vitcodec info`: what a file says about itself. Imports neither torch nor PIL."""

from __future__ import annotations

from typing import Any, BinaryIO

from .. import files
from ..bitstream import container
from ..bitstream.glance import glance
from ..errors import VitcodecError
from . import described, options, outputs
from .output import DONE, FAILED, Output, explain


def info_command(
    inputs: options.Inputs,
    recursive: options.Recursive = False,
    strict: options.Strict = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """What .vitc files hold, without decoding them.

    Of one file, all that is known; of several, a line each. -v checks the whole file and lists its chunks.

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
            _show(out, source, out.verbose or not found.many)
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


def _show(out: Output, source: files.Source, detailed: bool) -> None:
    if source.path is None or source.stream:
        held = outputs.whole(source)
        text, record = _describe(source.name, held, held.getbuffer().nbytes, detailed, out.verbose)
    else:
        try:
            with open(source.path, "rb") as stream:
                text, record = _describe(source.name, stream, source.path.stat().st_size, detailed, out.verbose)
        except OSError as error:
            raise files.unreadable(source.path, error) from error
    out.result(text)
    out.record(record)


def _describe(name: str, stream: BinaryIO, length: int, detailed: bool, whole: bool) -> tuple[str, dict[str, Any]]:
    """For people and for --json. detailed: more than a line. whole: read and check the whole file."""
    found = glance(stream, name, container.METADATA.keys() - {"ALPH"})
    record = described.record_of(name, length, found)
    lines = [described.line_of(record)]
    if detailed:
        lines += [f"  {what:<18} {how}" for what, how in described.rows_of(record)]
    if whole:
        stream.seek(0)
        chunks = container.describe(stream, name).chunks
        record["chunks"] = [vars(chunk) for chunk in chunks]
        lines.append("  chunk     offset       bytes")
        lines += [f"  {chunk.type} {chunk.offset:>11,} {chunk.size:>11,}" for chunk in chunks]
    return "\n".join(lines), record
