"""The files that the words of a command line name: files, folders, globs, standard input."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError, UsageError, VitcodecError
from .leftovers import LeftOut, keys_of
from .streams import STDIO, Kind, kind_of
from .suffixes import SUFFIX


@dataclass(frozen=True)
class Source:
    """One input. path None: standard input."""

    path: Path | None
    relative: Path  # where below an output folder its output goes, with the input's own suffix
    stream: bool = False  # a pipe, a device or an open file: read once, and without a name to call an output by
    url: str | None = None  # where it is, if not in this machine's file systems; `path` then only stands for it

    @property
    def name(self) -> str:
        return self.url or ("<stdin>" if self.path is None else str(self.path))


@dataclass(frozen=True)
class Problem:
    """An input that cannot be worked on, and why."""

    name: str
    error: VitcodecError


@dataclass(frozen=True)
class Found:
    sources: list[Source]
    problems: list[Problem]  # inputs that do not exist or cannot be read
    many: bool  # False: one file was named, and the output may be named too
    left_out: LeftOut = field(default_factory=LeftOut)


def find_inputs(inputs: Sequence[str], suffixes: Collection[str], recursive: bool = False) -> Found:
    """The files that inputs name: files, folders, globs, or "-" alone for standard input.

    A folder gives its files that end in one of `suffixes`, with `recursive` those of the whole tree, without hidden
    ones; the others are told as left out. A path named twice counts once, a link to another file is a file of its own.
    Raises UsageError if "-" is not the only input, and for a name of no characters, which a script's empty variable
    gives: it would mean the working folder.
    """
    refuse_nameless(inputs)
    if STDIO in inputs:
        if len(inputs) > 1:
            raise UsageError("- (stdin) cannot be combined with other inputs; for stdout use -o -")
        return Found([Source(None, Path("stdin"))], [], many=False)
    search = _Search(suffixes, recursive)
    for text in inputs:
        search.add(text)
    paths = [source.path for source in search.sources if source.path is not None]
    unique: dict[str, Source] = {}
    for key, source in zip(keys_of(paths), search.sources, strict=True):
        unique.setdefault(key, source)
    left_out = search.left_out.without([*paths, *search.folders])
    return Found(list(unique.values()), search.problems, search.many or len(inputs) > 1, left_out)


def refuse_nameless(inputs: Sequence[str]) -> None:
    """Raises UsageError for a name of no characters."""
    if "" in inputs:
        raise UsageError("an input has an empty name; for the working folder give .")


class _Search:
    def __init__(self, suffixes: Collection[str], recursive: bool):
        self.suffixes, self.recursive = suffixes, recursive
        self.sources, self.problems = list[Source](), list[Problem]()
        self.folders, self.many = list[Path](), False
        self.left_out = LeftOut(images=SUFFIX not in suffixes)

    def add(self, text: str) -> None:
        path = Path(text)
        try:
            kind = kind_of(path)
            if kind == Kind.FOLDER:
                self.many = True
                self.folder(path, path)
            elif kind == Kind.OTHER:
                self.fail(text, InputError(f"{text}: is a disk or a socket; name a file"))
            elif kind is not None:
                self.sources.append(Source(path, Path(path.name), kind == Kind.STREAM))
            elif os.path.islink(path):
                self.fail(text, InputError(f"{text}: is a link to a file that does not exist"))
            elif glob.has_magic(text):
                self.many = True
                self.pattern(text)
            else:
                self.fail(text, InputError(f"{text}: no such file or folder"))
        except OSError as error:
            self.fail(text, InputError(f"{text}: cannot be read ({error.strerror})"))
        except ValueError as error:  # a byte of zero, which no name has
            self.fail(text, InputError(f"{text}: cannot be the name of a file ({error})"))

    def folder(self, folder: Path, root: Path) -> None:
        def failed(error: OSError) -> None:
            self.fail(str(error.filename), InputError(f"{error.filename}: cannot be read ({error.strerror})"))

        self.folders.append(folder)
        for where, folders, files in os.walk(folder, onerror=failed):
            folders[:] = [name for name in sorted(folders) if self.enter(Path(where, name))]
            for name in sorted(files):
                path = Path(where, name)
                self.take(path, path.relative_to(root))

    def enter(self, folder: Path) -> bool:
        """Whether to look into a folder below; if not, it is left out."""
        if folder.name.startswith("."):
            self.left_out.hidden.append(folder)
        elif folder.is_symlink():
            self.left_out.linked.append(folder)
        elif not self.recursive:
            self.left_out.subfolders.append(folder)
        else:
            return True
        return False

    def take(self, path: Path, relative: Path) -> None:
        """A file that a folder or a pattern gives."""
        if path.name.startswith(".") or path.suffix.lower() not in self.suffixes:
            self.left_out.files.append(path)
            return
        with contextlib.suppress(OSError):  # what cannot be told here fails when it is read, as a broken link does
            if kind_of(path) not in (Kind.FILE, None):
                self.left_out.special.append(path)
                return
        self.sources.append(Source(path, relative))

    def pattern(self, text: str) -> None:
        before = len(self.sources)
        for root, pattern in dict.fromkeys(_readings(text)):
            for match in sorted(glob.glob(pattern, recursive=True)):
                path = Path(match)
                if not path.is_dir():
                    self.take(path, path.relative_to(root))
                elif "**" not in text:  # as if the shell had expanded the pattern
                    self.folder(path, Path(root))
        if len(self.sources) == before:
            self.fail(text, InputError(f"{text}: matches no file of a known kind"))

    def fail(self, name: str, error: VitcodecError) -> None:
        self.problems.append(Problem(name, error))


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """(folder before the first wildcard, pattern) of a glob, in which `[x]` may also be a part of a folder's name."""
    readings = [("", "", False)]  # root, pattern, whether a wildcard has come
    for part in Path(text).parts:
        found = []
        for root, pattern, wild in readings:
            literal = os.path.join(pattern, glob.escape(part))
            if glob.has_magic(part):
                found.append((root, os.path.join(pattern, part), True))
            if not glob.has_magic(part) or ("[" in part and glob.glob(literal)):
                found.append((root if wild else os.path.join(root, part), literal, wild))
        readings = found
    yield from ((root or ".", pattern) for root, pattern, _ in readings)
