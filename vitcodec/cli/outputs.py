"""What `encode`, `decode` and others make of the names on the command line, before any work.

Who writes where: `encode IN OUT.vitc` as cjxl and avifenc have it, names that promise another kind of file than would
be written, inputs that are of the wrong kind or empty.
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import files
from ..bitstream.container import MAGIC
from ..errors import FormatError, InputError, UsageError, VitcodecError
from ..files import STDIO, SUFFIX, Found, Plan, Problem, Source
from ..filesystem import suffixes
from ..filesystem.inputs import refuse_nameless
from ..filesystem.streams import Kind, descriptor_of, is_stream, kind_of
from ..filesystem.urls import is_url, read_url


def encoding(inputs: Sequence[str], output: str | None) -> tuple[list[str], str | None]:
    """Inputs and output of `encode`: told apart, and the output's name checked. Raises UsageError."""
    return _told_apart(inputs, output, frozenset((SUFFIX,)), suffixes.image_suffixes(), SUFFIX)


def decoding(inputs: Sequence[str], output: str | None, format: str | None) -> tuple[list[str], str | None]:
    """Inputs and output of `decode`, as for `encode`. Raises UsageError."""
    default = f".{(format or 'png').lower().lstrip('.')}"
    return _told_apart(inputs, output, frozenset(suffixes.WRITE_FORMATS), frozenset((SUFFIX,)), default)


def _told_apart(
    inputs: Sequence[str], output: str | None, made: frozenset[str], read: frozenset[str], default: str
) -> tuple[list[str], str | None]:
    """`IN OUT` as `IN -o OUT`, where that is what it has to mean.

    made: suffixes of outputs. read: those of inputs. default: the suffix of an output beside its input.
    """
    refuse_nameless(inputs)
    if output == "":
        raise UsageError("-o has an empty name; for the working folder give .")
    if output is not None:
        return list(inputs), STDIO if descriptor_of(output) == 1 else output
    *firsts, last = inputs
    if not firsts or last == STDIO or is_url(last):
        return list(inputs), None
    suffix, exists = Path(last).suffix.lower(), os.path.lexists(last)
    single = len(firsts) == 1 and _is_one_file(firsts[0])
    if suffix in made:
        beside = single and firsts[0] != STDIO and Path(firsts[0]).with_suffix(default) == Path(last)
        if single and (not exists or beside):
            return firsts, last
        if single or not (exists or glob.has_magic(last)):
            what = "exists" if exists else "does not exist"
            again = " --overwrite" if exists else ""
            raise UsageError(f"{last}: {what}, and is no input; if it is the output, use -o {last}{again}")
    elif not exists and not glob.has_magic(last) and suffix not in read and not suffixes.promises_image(Path(last)):
        raise UsageError(f"{last}: no such file or folder; if it is the output, use -o {last}")
    return list(inputs), None


def _is_one_file(text: str) -> bool:
    if text == STDIO:
        return True
    try:
        kind = kind_of(text)
    except (OSError, ValueError):
        return True
    return kind != Kind.FOLDER and (kind is not None or not glob.has_magic(text))


def check_encoded_name(found: Found, output: str | None) -> None:
    """Raises UsageError where -o promises an image, or a file and there may be several."""
    if output is None or output == STDIO or is_stream(output):
        return
    path = Path(output)
    if files.names_file(found, output):
        if suffixes.promises_image(path):
            raise UsageError(
                f"{output}: encode writes {SUFFIX} files, and this name says {path.suffix}; "
                f"use -o {path.with_suffix(SUFFIX)} (decode makes images)"
            )
    elif path.suffix.lower() == SUFFIX:
        _refuse_folder(output)


def check_decoded_name(found: Found, output: str | None, format: str | None) -> None:
    """Raises UsageError where -o promises another format than is written, or a file and there may be several."""
    if output is None or output == STDIO or is_stream(output):
        return
    suffix, wanted = Path(output).suffix.lower(), f".{(format or '').lower().lstrip('.')}"
    if not files.names_file(found, output):
        if suffix in suffixes.WRITE_FORMATS:
            _refuse_folder(output)
    elif suffix == SUFFIX:
        raise UsageError(f"{output}: decode writes images; give -o a name that ends in .png, .jpg, ...")
    elif format and suffixes.promises_image(Path(output)) and not suffixes.same_format(suffix, wanted):
        raise UsageError(f"{output}: --format {format} contradicts this name, which says {suffix}; give one of them")


def _refuse_folder(output: str) -> None:
    """-o a.vitc, with several inputs."""
    if not os.path.lexists(output) and not output.endswith(("/", os.sep)):
        raise UsageError(
            f"{output}: is the name of a file, and there may be several outputs; "
            f"give -o a folder ({output}/ if that is its name)"
        )


def without_wrong_kinds(found: Found, vitc: bool) -> Found:
    """`found`, with inputs that are empty, or plainly of the other kind, as problems. vitc: .vitc files are wanted."""
    sources, problems = list[Source](), list(found.problems)
    for source in found.sources:
        error = None if source.path is None or source.stream else _wrong_kind(source.path, vitc)
        if error is None:
            sources.append(source)
        else:
            problems.append(Problem(source.name, error))
    return replace(found, sources=sources, problems=problems)


def _wrong_kind(path: Path, vitc: bool) -> VitcodecError | None:
    try:
        if path.stat().st_size == 0:
            return empty(str(path))
        if (path.suffix.lower() == SUFFIX) == vitc:  # what it says it is; reading will tell
            return None
        with open(path, "rb") as stream:
            is_vitc = stream.read(4) == MAGIC[:4]
    except OSError:
        return None  # fails when it is read
    if is_vitc == vitc:
        return None
    if not vitc:
        return _encoded(str(path))
    return FormatError(f"{path}: not a .vitc file; only files that vitcodec has encoded can be decoded")


def _encoded(name: str) -> InputError:
    return InputError(f"{name}: is a .vitc file already; decode makes an image of it")


def empty(name: str) -> InputError:
    """What to raise for an input of no bytes."""
    return InputError(f"{name}: is empty (0 bytes); get a complete copy")


def read_image_file(source: Source) -> bytes:
    """The bytes of an input of encode. Raises InputError where they are none, or a .vitc file's."""
    data = _read(source)
    if data.startswith(MAGIC):
        raise _encoded(source.name)
    return data


def whole(source: Source) -> io.BytesIO:
    """All that a stream or a URL holds, seekable. Raises InputError."""
    return io.BytesIO(_read(source))


def _read(source: Source) -> bytes:
    if source.url is not None:
        data = read_url(source.url)
    else:
        data = files.read_stdin() if source.path is None else files.read_bytes(source.path)
    if not data:
        raise empty(source.name)
    return data


def check_preserved(plan: Plan) -> None:
    """Raises UsageError where --preserve is asked for and there is no file to take a time from or to give one to."""
    for job in plan.jobs:
        if job.source.path is None or job.source.stream or job.source.url:
            raise UsageError(f"--preserve keeps the times of files, and {job.source.name} has none")
        if job.target is None or is_stream(job.target) or job.url:
            raise UsageError(f"--preserve keeps the times of files, and {job.target_name} has none")
