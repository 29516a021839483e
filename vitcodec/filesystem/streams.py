"""Bytes from and to what a path names: a file, a pipe, a device, a standard stream.

A path that is no file is written into and never replaced: as root, replacing /dev/null would break the machine. Names
such as /dev/stdin and /dev/fd/63 (a shell's `<(command)`) stand for files that this process has open, whatever these
are; they are read and written where they stand.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import InputError, OutputError, UsageError

STDIO = "-"  # on a command line: standard input or output
MOST_BYTES = 1 << 31  # taken from a stream, which need not end, as /dev/zero does not
_CHUNK = 1 << 20
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


class Kind(Enum):
    """What a path stands for, links followed."""

    FILE = "file"
    FOLDER = "folder"
    STREAM = "stream"  # a pipe, a character device, or a file that this process has open
    OTHER = "other"  # a disk or a socket, of no use here


def kind_of(path: str | os.PathLike[str]) -> Kind | None:
    """None: there is nothing, or a link that leads nowhere. Raises OSError where that cannot be told."""
    if descriptor_of(path) is not None:
        return Kind.STREAM
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    return Kind.STREAM if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) else Kind.OTHER


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path stands for a pipe, a device or an open file, and for no file by name."""
    try:
        return kind_of(path) == Kind.STREAM
    except OSError:
        return False


def descriptor_of(path: str | os.PathLike[str]) -> int | None:
    """The number of the open file that a name such as /dev/stdout or /dev/fd/63 stands for."""
    text = os.path.abspath(os.fspath(path))
    if text in _STANDARD:
        return _STANDARD[text]
    match = re.fullmatch(rf"(?:/dev|/proc/(?:self|{os.getpid()}))/fd/(\d+)", text)
    return int(match[1]) if match else None


@contextmanager
def opened(path: str | os.PathLike[str], mode: str) -> Iterator[BinaryIO]:
    """A file or stream, open for "rb" or "wb". Raises OSError."""
    number = descriptor_of(path)
    with cast("BinaryIO", open(path if number is None else os.dup(number), mode)) as file:
        yield file


def read_bytes(path: Path) -> bytes:
    """All that a file or stream holds. Raises InputError, and UsageError for a terminal."""
    try:
        if not is_stream(path):
            return path.read_bytes()
        with opened(path, "rb") as stream:
            if stream.isatty():
                raise UsageError(f"{path}: is a terminal; name a file, or pipe an image in")
            return _until_end(stream, str(path))
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path | str, error: OSError) -> InputError:
    """What to raise where a file cannot be opened or read."""
    reason = f"cannot be read ({error.strerror or error})"
    if error.errno == errno.ENOENT:
        reason = "is a link to a file that does not exist" if os.path.islink(path) else "no such file"
    return InputError(f"{path}: {reason}")


def read_stdin() -> bytes:
    """All of standard input. Raises UsageError if nothing is piped in, InputError if it does not end."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads stdin, and nothing is piped in; name a file")
    return _until_end(sys.stdin.buffer, "<stdin>")


def _until_end(stream: BinaryIO, name: str) -> bytes:
    parts, count = [], 0
    while part := stream.read(_CHUNK):
        parts.append(part)
        count += len(part)
        if count > MOST_BYTES:
            raise InputError(
                f"{name}: does not end within {MOST_BYTES >> 30} GiB; store it as a file if it is an image"
            )
    return b"".join(parts)


def check_stdout() -> None:
    """Raises UsageError if standard output is a terminal, which no binary data may reach."""
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("the output is binary and stdout is a terminal; redirect it or give -o FILE")


def write_stdout(data: bytes) -> None:
    """Raises UsageError if standard output is a terminal."""
    check_stdout()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def write_stream(path: Path, data: bytes) -> None:
    """Write into a pipe, a device or an open file. Raises OutputError, and UsageError for a terminal."""
    try:
        with opened(path, "wb") as stream:
            if stream.isatty():
                raise UsageError(f"{path}: is a terminal, and the output is binary; give -o FILE")
            stream.write(data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written to ({error.strerror or error})") from error


def stream_of(
    source: bytes | bytearray | memoryview | BinaryIO | str | os.PathLike[str], name: str | None
) -> tuple[BinaryIO, str]:
    """A stream of a file's bytes, and what messages call it. Raises InputError."""
    if isinstance(source, str | os.PathLike):
        return io.BytesIO(read_bytes(Path(source))), name or os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), name or "<bytes>"
    return source, name or "<bytes>"
