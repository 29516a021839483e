"""Files as the commands see them: inputs found, outputs planned, both read and written; atomic.py does the writing.

Nothing here reads pixels: neither torch nor PIL is imported.
"""

from __future__ import annotations

import errno
import glob
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from .atomic import already_exists, refuse_existing, write_atomic
from .errors import InputError, OutputError, UsageError, VitcodecError

__all__ = [
    "IMAGE_SUFFIXES",
    "STDIO",
    "SUFFIX",
    "Found",
    "Job",
    "Plan",
    "Problem",
    "Source",
    "check_stdout",
    "find_inputs",
    "plan_outputs",
    "read_bytes",
    "read_stdin",
    "refuse_existing",
    "unreadable",
    "write_atomic",
    "write_stdout",
]

SUFFIX = ".vitc"
# what folders and globs are searched for; a file that is named itself may have any suffix
IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".dib"),
        *(".jp2", ".j2k", ".jpx", ".j2c", ".gif", ".pbm", ".pgm", ".ppm", ".pnm"),
    )
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
    problems: list[Problem]  # inputs that do not exist or cannot be read
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
    skipped: list[Job]  # with skip_existing: those whose output exists
    problems: list[Problem]


def find_inputs(inputs: Sequence[str], suffixes: Collection[str], recursive: bool = False) -> Found:
    """The files that inputs name: files, folders, globs, or "-" alone for standard input.

    A folder gives its files that end in one of `suffixes`, with `recursive` those of the whole tree, without hidden
    ones. A file named twice counts once. Raises UsageError if "-" is not the only input.
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

    output: None puts each output beside its input with `suffix` in place of the input's; "-" is standard output; else a
    file for one input, or a folder (one that exists, or whose name ends in a slash) for one or many, in which the tree
    of the inputs is mirrored. An output that exists is a Problem unless it may be overwritten or skipped. Raises
    UsageError where two inputs would give one output, an output would replace an input, or the options contradict each
    other.
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
            plan.problems.append(Problem(job.source.name, already_exists(job.target)))
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


def read_bytes(path: Path) -> bytes:
    """The contents of a file. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path | str, error: OSError) -> InputError:
    """What to raise where a file cannot be opened or read."""
    reason = "no such file" if error.errno == errno.ENOENT else f"cannot be read ({error.strerror or error})"
    return InputError(f"{path}: {reason}")


def read_stdin() -> bytes:
    """All of standard input. Raises UsageError if nothing is piped in."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads stdin, and nothing is piped in; name a file")
    return sys.stdin.buffer.read()


def check_stdout() -> None:
    """Raises UsageError if standard output is a terminal, which no binary data may reach."""
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("the output is binary and stdout is a terminal; redirect it or give -o FILE")


def write_stdout(data: bytes) -> None:
    """Raises UsageError if standard output is a terminal."""
    check_stdout()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
