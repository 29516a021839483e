"""The shards that a name stands for: files, folders, globs, and ranges in braces as WebDataset has them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from .reading import is_shard

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def find_shards(source: Source) -> list[Path]:
    """Files of a folder's whole tree, sorted, without hidden ones; of several names in their order, each file once.

    Raises InputError for a name that stands for nothing.
    """
    names = [source] if isinstance(source, str | os.PathLike) else list(source)
    found = [path for name in names for text in _expanded(os.fspath(name)) for path in _named(text)]
    if not found:
        raise InputError("no shards were named; give a folder, a glob or files that `vitcodec tokens` has written")
    return list(dict.fromkeys(found))


def _named(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        inside = (p for p in path.rglob("*") if not any(n.startswith(".") for n in p.relative_to(path).parts))
        found = sorted(p for p in inside if is_shard(p) and p.is_file())
        if not found:
            raise InputError(f"{text}: holds no .tar, .safetensors or .vitc files; `vitcodec tokens` writes them")
        return found
    if path.exists() or not glob.has_magic(text):
        if not path.exists():
            raise InputError(f"{text}: no such file or folder")
        return [path]
    if not (matches := sorted(Path(match) for match in glob.glob(text, recursive=True))):
        raise InputError(f"{text}: matches no file")
    return matches


def _expanded(text: str) -> Iterator[str]:
    """`shard-{000000..000002}.tar` -> the three names."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", text)
    if match is None or os.path.exists(text):
        yield text
        return
    for number in range(int(match[1]), int(match[2]) + 1):
        yield from _expanded(f"{text[: match.start()]}{number:0{len(match[1])}}{text[match.end() :]}")
