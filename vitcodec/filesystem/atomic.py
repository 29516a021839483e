"""Writing files so that they appear whole or not at all; what is no file, such as a pipe, is written into."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError
from .streams import Kind, is_stream, kind_of, write_stream


def refuse_existing(path: Path) -> None:
    """To call before the work that makes a file. Raises OutputError if `path` exists, and is not a pipe or device."""
    if os.path.lexists(path) and not is_stream(path):
        raise already_exists(path)


def already_exists(path: Path | str) -> OutputError:
    """What to raise where an output exists."""
    return OutputError(f"{path}: exists already; use --overwrite or --skip-existing")


def write_atomic(path: Path, data: bytes, overwrite: bool = False, modified: int | None = None) -> None:
    """Write a file whole or not at all.

    It is written without a name, or under a temporary one in the same folder, flushed to the disk, and then named.
    Folders above it are made. Without `overwrite` a file that has appeared meanwhile is left alone. Of a link, the file
    that it leads to is replaced, and the link stays. A pipe or a device is never replaced: it is written into.

    modified: the file's time of modification, in nanoseconds since 1970. Raises OutputError, and UsageError for a
    terminal.
    """
    try:
        kind = kind_of(path)
        if kind == Kind.STREAM:
            write_stream(path, data)
            return
        if kind == Kind.OTHER:
            raise OutputError(f"{path}: is a disk or a socket, which is never replaced; give a file")
        place = _end_of_link(path) if overwrite else path
        _write(place, data, overwrite)
        if modified is not None:
            os.utime(place, ns=(modified, modified))
    except FileExistsError as error:
        raise already_exists(path) from error
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder's permissions and free space"
        ) from error


def _end_of_link(path: Path) -> Path:
    """Where a link leads, and where a new file may be made if there is none. Raises OSError for links in a circle."""
    if not path.is_symlink():
        return path
    end = Path(os.path.realpath(path))
    if end.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not end.parent.is_dir():  # of a disk that is not there, perhaps: nothing is made in its place
        raise FileNotFoundError(errno.ENOENT, f"it is a link into {end.parent}, which does not exist")
    return end


def _write(path: Path, data: bytes, overwrite: bool) -> None:
    temporary = path.parent / f".vitcodec-{os.urandom(8).hex()}.tmp"
    _make_folder(path.parent)
    try:
        if not _write_nameless(temporary if overwrite else path, data):
            with open(temporary, "xb") as file:
                _write_through(file, data)
            if not overwrite:
                _name(temporary, path)
        if overwrite:
            _keep_mode(path, temporary)
            os.replace(temporary, path)
    finally:  # also after Ctrl-C
        temporary.unlink(missing_ok=True)


def _write_nameless(path: Path, data: bytes) -> bool:
    """Where the system can (Linux), write a file that has no name before it is whole; False: it cannot.

    Not even `kill -9` or a power cut leaves a part of such a file. Raises FileExistsError, and OSError if the data
    cannot be written.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # the file system cannot, or nothing may be written there, which the other way will tell
        return False
    with open(descriptor, "wb") as file:
        _write_through(file, data)
        try:
            # with a folder's descriptor, linkat follows the link to the open file
            os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor)
        except FileExistsError:
            raise
        except OSError:  # no /proc, or no hard links
            return False
    return True


def _write_through(file: BinaryIO, data: bytes) -> None:
    """To the disk itself."""
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder") from error


def _keep_mode(old: Path, new: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.chmod(new, old.stat().st_mode & 0o7777)


def _name(temporary: Path, path: Path) -> None:
    """Give a file its name unless that is taken, in one step where the file system has hard links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.replace(temporary, path)
