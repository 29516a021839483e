"""Finding inputs, planning outputs, and writing files so that nothing is ever half there.

Nothing here reads pixels: neither torch nor PIL is imported.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import InputError, OutputError, UsageError, VitcodecError

SUFFIX = ".vitc"
# what folders and globs are searched for; a file that is named itself may have any suffix
IMAGE_SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".avif",
        ".tif",
        ".tiff",
        ".bmp",
        ".dib",
        ".jp2",
        ".j2k",
        ".jpx",
        ".j2c",
        ".gif",
    }
    | {".pbm", ".pgm", ".ppm", ".pnm"}
)
STDIO = "-"


@dataclass(frozen=True)
class Source:
    """One input. path None: standard input."""

    path: Path | None
    relative: Path  # where below an output folder its output goes, with the input's own suffix

    @property
    def name(self) -> str:
        return "<stdin>" if self.path is None else str(self.path)


@dataclass(frozen=True)
class Problem:
    """An input that cannot be worked on, and why."""

    name: str
    error: VitcodecError


@dataclass(frozen=True)
class Found:
    sources: list[Source]
    problems: list[Problem]  # inputs that are missing or cannot be read
    many: bool  # False: one file was named, and the output may be named too


@dataclass(frozen=True)
class Job:
    """One file to make. target None: standard output."""

    source: Source
    target: Path | None

    @property
    def target_name(self) -> str:
        return "<stdout>" if self.target is None else str(self.target)


@dataclass(frozen=True)
class Plan:
    jobs: list[Job]
    skipped: list[Job]  # with skip_existing: those whose output is there
    problems: list[Problem]


def find_inputs(inputs: Sequence[str], suffixes: Collection[str], recursive: bool = False) -> Found:
    """Files, the files of folders that end in one of `suffixes` (with `recursive`, of the whole tree), globs, or "-" alone.

    Hidden files in folders are left out; a file named twice counts once. Raises UsageError if "-" is not the only input.
    """
    if STDIO in inputs:
        if len(inputs) > 1:
            raise UsageError("- (stdin) cannot be combined with other inputs")
        return Found([Source(None, Path("stdin"))], [], many=False)
    search = _Search(suffixes, recursive)
    for text in inputs:
        search.add(text)
    unique: dict[str, Source] = {}
    for source in search.sources:
        unique.setdefault(os.path.realpath(source.name), source)
    return Found(list(unique.values()), search.problems, many=len(inputs) > 1 or not Path(inputs[0]).is_file())


class _Search:
    def __init__(self, suffixes: Collection[str], recursive: bool):
        self.suffixes, self.recursive = suffixes, recursive
        self.sources, self.problems = list[Source](), list[Problem]()

    def add(self, text: str) -> None:
        path = Path(text)
        try:
            if path.is_dir():
                self.folder(path, path)
            elif path.exists():
                self.sources.append(Source(path, Path(path.name)))
            elif glob.has_magic(text):
                self.pattern(text)
            else:
                self.fail(text, InputError(f"{text}: no such file or folder"))
        except OSError as error:
            self.fail(text, InputError(f"{text}: cannot be read ({error.strerror})"))

    def folder(self, folder: Path, root: Path) -> None:
        def failed(error: OSError) -> None:
            self.fail(str(error.filename), InputError(f"{error.filename}: cannot be read ({error.strerror})"))

        for where, folders, files in os.walk(folder, onerror=failed):
            folders[:] = sorted(f for f in folders if not f.startswith(".")) if self.recursive else []
            for name in sorted(files):
                if self.wanted(name):
                    path = Path(where, name)
                    self.sources.append(Source(path, path.relative_to(root)))

    def pattern(self, text: str) -> None:
        parts = Path(text).parts
        root = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
        matches = [Path(p) for p in sorted(glob.glob(text, recursive=True))]
        before = len(self.sources)
        for path in matches:
            if path.is_dir() and "**" not in text:  # as if the shell had expanded the pattern
                self.folder(path, root)
            elif path.is_file() and self.wanted(path.name):
                self.sources.append(Source(path, path.relative_to(root)))
        if len(self.sources) == before:
            self.fail(text, InputError(f"{text}: matches no file of a known kind"))

    def wanted(self, name: str) -> bool:
        return not name.startswith(".") and os.path.splitext(name)[1].lower() in self.suffixes

    def fail(self, name: str, error: VitcodecError) -> None:
        self.problems.append(Problem(name, error))


def plan_outputs(
    found: Found, output: str | Path | None, suffix: str, overwrite: bool = False, skip_existing: bool = False
) -> Plan:
    """Decide what is written where, before any work.

    output: None puts each output beside its input with `suffix` in place of the input's; "-" is standard output; else a file for one input, or a
    folder (one that exists, or whose name ends in a slash) for one or many, in which the tree of the inputs is mirrored.
    An output that exists is a Problem unless it may be overwritten or skipped. Raises UsageError where two inputs would give one output, an output
    would replace an input, or the options contradict each other.
    """
    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing contradict each other; give one")
    jobs = _targets(found, output, suffix)
    _refuse_collisions(jobs)
    plan = Plan([], [], list(found.problems))
    for job in jobs:
        if job.target is None or not os.path.lexists(job.target):
            plan.jobs.append(job)
        elif job.target.is_dir():
            plan.problems.append(
                Problem(job.source.name, OutputError(f"{job.target}: is a folder, and an output would go there"))
            )
        elif skip_existing:
            plan.skipped.append(job)
        elif overwrite:
            plan.jobs.append(job)
        else:
            plan.problems.append(Problem(job.source.name, _exists(job.target)))
    return plan


def _targets(found: Found, output: str | Path | None, suffix: str) -> list[Job]:
    text = None if output is None else os.fspath(output)
    stdin = bool(found.sources) and found.sources[0].path is None
    if text == STDIO or (text is None and stdin):
        if found.many:
            raise UsageError("-o - takes one input; give a folder for several")
        return [Job(s, None) for s in found.sources]
    if text is None:
        return [Job(s, s.path.with_suffix(suffix)) for s in found.sources if s.path is not None]
    folder = Path(text)
    if not (found.many or folder.is_dir() or text.endswith(("/", os.sep))):
        return [Job(s, folder) for s in found.sources]
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{text}: is a file; give -o a folder for several inputs")
    return [Job(s, folder / s.relative.with_suffix(suffix)) for s in found.sources]


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    inputs = {os.path.realpath(j.source.path): j.source for j in jobs if j.source.path is not None}
    makers: dict[str, Source] = {}
    collisions = []
    for job in jobs:
        if job.target is None:
            continue
        key = os.path.normcase(os.path.realpath(job.target))
        if key in inputs:
            raise UsageError(f"{job.target}: would replace the input {inputs[key].name}; give another -o")
        if key in makers:
            collisions.append(f"{makers[key].name} and {job.source.name} would both become {job.target}")
        makers.setdefault(key, job.source)
    if collisions:
        more = f" (and {len(collisions) - 1} more)" if len(collisions) > 1 else ""
        raise UsageError(f"{collisions[0]}{more}; encode or decode them into different folders")


def refuse_existing(path: Path) -> None:
    """Raises OutputError if there is something at `path`: before the work, so that none is done in vain."""
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path}: exists already; use --overwrite or --skip-existing")


def read_bytes(path: Path) -> bytes:
    """Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path | str, error: OSError) -> InputError:
    reason = "no such file" if error.errno == errno.ENOENT else f"cannot be read ({error.strerror or error})"
    return InputError(f"{path}: {reason}")


def write_atomic(path: Path, data: bytes, overwrite: bool = False) -> None:
    """Write a file whole or not at all: it is written under no name, or a temporary one in the same folder, flushed to the disk, and then named.

    Folders above it are made. Without `overwrite` a file that has appeared meanwhile is left alone. Raises OutputError.
    """
    temporary = path.parent / f".vitcodec-{secrets.token_hex(8)}.tmp"
    try:
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
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder's permissions and free space"
        ) from error


def _write_nameless(path: Path, data: bytes) -> bool:
    """Where the system can (Linux), write a file that has no name before it is whole: not even `kill -9` or a power cut leaves a part of it.

    False: it cannot. Raises FileExistsError, and OSError if the data cannot be written.
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


def read_stdin() -> bytes:
    """Raises UsageError if nothing is piped in."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads stdin, and nothing is piped in; name a file")
    return sys.stdin.buffer.read()


def check_stdout() -> None:
    """Raises UsageError if standard output is a terminal, which no binary data may reach."""
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("the output is binary and stdout is a terminal; redirect it or give -o FILE")


def write_stdout(data: bytes) -> None:
    check_stdout()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
