"""Files that are not in this machine's file systems, by fsspec: s3://, gs://, hf:// and what else it knows.

Plans are made of paths. `path_of` writes a URL as one, and `url_of` reads it again.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OutputError, UsageError, VitcodecError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)  # two letters: C:// is a disk
_EMPTY = "%2F"  # in place of the host's name, which file:///a has not
# what they store appears whole or not at all; in others, a file has its name before it is whole
_OBJECT_STORES = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "hf", "memory"))
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
_PACKAGES |= {"http": "aiohttp requests", "https": "aiohttp requests", "sftp": "paramiko", "ssh": "paramiko"}


def is_url(text: str) -> bool:
    """Whether a name is that of a file, or folder, for fsspec."""
    return _URL.match(text) is not None


def path_of(url: str) -> Path:
    """s3://bucket/a.png -> s3:/bucket/a.png."""
    match = _URL.match(url)
    assert match is not None
    scheme, rest = match.groups()
    return Path(f"{scheme}:", *([_EMPTY] if rest.startswith("/") else []), rest.strip("/"))


def url_of(path: Path) -> str | None:
    """The URL that a path stands for; None: it is a path."""
    scheme, *parts = path.parts or ("",)
    if not (scheme.endswith(":") and is_url(f"{scheme}//")):
        return None
    return f"{scheme}//" + "/".join("" if part == _EMPTY else part for part in parts)


def joined(folder: str, relative: str | PurePosixPath) -> str:
    """The URL of what is below a folder."""
    return f"{folder.rstrip('/')}/{relative}"


def parent_of(url: str) -> str:
    return url.rstrip("/").rpartition("/")[0]


def read_url(url: str) -> bytes:
    """All that a file holds. Raises InputError."""
    filesystem, path = _opened(url)
    with _failing(url, "cannot be read", InputError):
        return filesystem.cat_file(path)


def write_url(url: str, data: bytes, overwrite: bool = False) -> None:
    """Write a file whole or not at all.

    Object stores do so by themselves. Elsewhere it is written under a temporary name in the same folder and then named.
    Raises OutputError; its cause is a FileExistsError where the file exists and may not be replaced.
    """
    filesystem, path = _opened(url)
    with _failing(url, "cannot be written", OutputError):
        if not overwrite and filesystem.exists(path):
            raise OutputError(f"{url}: exists already; use --overwrite or --skip-existing") from FileExistsError(url)
        if _protocols(filesystem) & _OBJECT_STORES:
            filesystem.pipe_file(path, data)
            return
        folder = path.rpartition("/")[0]
        filesystem.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.vitcodec-{os.urandom(8).hex()}.tmp"
        try:
            filesystem.pipe_file(temporary, data)
            filesystem.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                filesystem.rm_file(temporary)
            raise


def is_folder(url: str) -> bool:
    """Raises InputError where that cannot be told."""
    filesystem, path = _opened(url)
    with _failing(url, "cannot be read", InputError):
        return filesystem.isdir(path)


def exists(url: str) -> bool:
    """Whether there is a file or folder. Raises InputError where that cannot be told."""
    filesystem, path = _opened(url)
    with _failing(url, "cannot be read", InputError):
        return filesystem.exists(path)


def matches(pattern: str) -> list[str]:
    """The URLs of the files that match a glob, sorted. Raises InputError."""
    filesystem, path = _opened(pattern)
    with _failing(pattern, "cannot be read", InputError):
        found = filesystem.glob(path, detail=True)
    literal = re.split(r"[*?\[]", path)[0]
    head = re.split(r"[*?\[]", pattern)[0]
    return [head + str(name)[len(literal) :] for name in sorted(found) if found[name]["type"] == "file"]


def listing(folder: str, recursive: bool) -> tuple[list[str], list[str]]:
    """(files, folders) in a folder, or with `recursive` in all below it too: relative, sorted. Raises InputError."""
    filesystem, path = _opened(folder)
    with _failing(folder, "cannot be read", InputError):
        found = filesystem.find(path, maxdepth=None if recursive else 1, withdirs=True, detail=True)
    names: tuple[list[str], list[str]] = ([], [])
    for name in sorted(found):
        relative = str(name)[len(path.rstrip("/")) :].strip("/")
        if relative:
            names[found[name]["type"] == "directory"].append(relative)
    return names


def names_in(folder: str) -> set[str]:
    """The names in a folder; none where there is no folder. Raises InputError."""
    filesystem, path = _opened(folder)
    try:
        return {str(name).rstrip("/").rpartition("/")[2] for name in filesystem.ls(path, detail=False)}
    except FileNotFoundError:
        return set()
    except Exception as error:
        raise InputError(f"{folder}: cannot be read ({_reason(error)})") from error


def _opened(url: str) -> tuple[AbstractFileSystem, str]:
    """A file system, and the path in it. Raises UsageError with what to install."""
    scheme = url.partition("://")[0].lower()
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError as error:
        package = "fsspec" if error.name == "fsspec" else _PACKAGES.get(scheme)
        remedy = f"pip install {package}" if package else " ".join(str(error).split())
        raise UsageError(f"{url}: {scheme}:// needs a package that is not installed; {remedy}") from error
    except ValueError as error:
        raise UsageError(f"{url}: no file system is called {scheme}://; give a path or s3://, gs://, ...") from error
    except Exception as error:  # of credentials, say
        raise UsageError(f"{url}: cannot be opened ({_reason(error)})") from error


def _protocols(filesystem: Any) -> set[str]:
    names = filesystem.protocol
    return {names} if isinstance(names, str) else set(names)


def _reason(error: Exception) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return "no such file" if isinstance(error, FileNotFoundError) else text or type(error).__name__


@contextlib.contextmanager
def _failing(url: str, what: str, kind: type[VitcodecError]) -> Iterator[None]:
    """File systems raise whatever they like."""
    try:
        yield
    except (VitcodecError, MemoryError):
        raise
    except Exception as error:
        raise kind(f"{url}: {what} ({_reason(error)})") from error


def stream_of(path: Path) -> Path | io.BytesIO:
    """What to read a file from: the path itself, or what its URL holds. Raises InputError."""
    url = url_of(path)
    return path if url is None else io.BytesIO(read_url(url))
