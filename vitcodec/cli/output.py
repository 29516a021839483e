"""The one place that prints: results on stdout, messages on stderr, and every exception as one line with a code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer

from ..errors import UsageError, VitcodecError
from ..filesystem.leftovers import LeftOut
from . import usage
from .bars import Progress

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
SCHEMA_VERSION = 1

_MEMORY = "out of memory; decode with --reduce, encode a smaller image, or use --device cpu"
# modules that the light installation has not -> packages
LEFT_OUT = {name: name for name in ("torch", "scipy", "timm", "jinja2")} | {"huggingface_hub": "huggingface-hub"}


@dataclass(frozen=True)
class Explanation:
    """What an exception means to the user."""

    line: str
    code: int

    def report(self) -> int:
        """Print the line on stderr and return the exit code."""
        print(visible(f"error: {self.line}" if self.code != INTERRUPTED else self.line), file=sys.stderr)
        return self.code


def debugging() -> bool:
    return os.environ.get("VITCODEC_DEBUG") == "1"


def explain(error: BaseException, name: str = "", command: str | None = None) -> Explanation:
    """The line and exit code of an exception; with VITCODEC_DEBUG=1 the traceback is printed as well.

    name: the file concerned, put in front unless the message says it. command: whose --help a usage error points to,
    where typer does not know.
    """
    if debugging():
        traceback.print_exception(error)
    line, code = _describe(error, command)
    line = " ".join(line.split())
    return Explanation(line if not name or name in line else f"{name}: {line}", code)


def _describe(error: BaseException, command: str | None) -> tuple[str, int]:
    match error:
        case VitcodecError():
            return str(error), error.exit_code
        case KeyboardInterrupt() | typer.Abort():
            return "interrupted", INTERRUPTED
        case MemoryError():
            return _MEMORY, FAILED
        case UnicodeError():
            return f"{error}; the text is not in the expected encoding", FAILED
        case OSError(strerror=str()):
            return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror), FAILED
        case ImportError(name=str() as module) if package := LEFT_OUT.get(module.partition(".")[0]):
            return f"this needs {package}, which the light installation leaves out; pip install {package}", FAILED
        case ImportError():
            return f"{error}; reinstall vitcodec with its dependencies", FAILED
    # these two by a mark of theirs: torch is not imported here, and typer brings its own Click or not, by its version
    if type(error).__name__ == "OutOfMemoryError":
        return _MEMORY, FAILED
    if hasattr(error, "format_message"):
        return usage.explained(error, command), USAGE
    return (
        f"internal error: {type(error).__name__}: {error}; set VITCODEC_DEBUG=1 to see where, and please report it",
        FAILED,
    )


@dataclass
class Output:
    """What a command prints, for people (default), programs (--json) or nobody (--quiet)."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    to_stdout: bool = False  # stdout is for an image, and messages go to stderr
    _progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose contradict each other; give one")
        if self.json and self.to_stdout:
            raise UsageError("--json and -o - both write to stdout; give one")

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it has no bars."""
        return Output, (self.json, self.quiet, self.verbose, self.to_stdout)

    def result(self, text: str) -> None:
        """What the command was asked to print: stdout, for people."""
        if not self.json:
            print(visible(text), file=sys.stderr if self.to_stdout else sys.stdout)

    def record(self, data: Mapping[str, Any]) -> None:
        """One JSON object on one line of stdout, with --json only. NaN and infinity become null.

        It is ASCII, which every terminal and pipe can hold, whatever names are in it.
        """
        if self.json:
            print(json.dumps(_finite(data)), flush=True)

    def summary(self, data: Mapping[str, Any]) -> None:
        """The last JSON object of a command, which says the schema's version."""
        self.record({"schema_version": SCHEMA_VERSION, **data})

    def say(self, text: str) -> None:
        """What happened, for people: stderr."""
        if not self.json and not self.quiet:
            self._message(text)

    def detail(self, text: str) -> None:
        """What only -v shows: stderr."""
        if self.verbose:
            self._message(text)

    def warn(self, text: str) -> None:
        """What the user may not expect: stderr."""
        if not self.quiet:
            self._message(f"note: {text}")

    def error(self, text: str) -> None:
        """Why nothing, or no more, was done: stderr, always."""
        self._message(f"error: {text}")

    def left_out(self, left_out: LeftOut, strict: bool) -> bool:
        """Say what was left out of folders; returns whether that is a failure, as it is where all had to be taken."""
        failed = strict and left_out.matters
        if failed:
            self.error(left_out.text)
        elif left_out.text:
            self.say(left_out.text)
        return failed

    def failures(self, failures: Sequence[str], total: int, failed: int | None = None, what: str = "") -> None:
        """The list of what failed, one line each, always shown, at the end.

        failed: how many of the total, if not all of the lines. what: a word for them, as "images".
        """
        if total == len(failures) == 1:
            self.error(failures[0])
        elif failures:
            counted = f"{len(failures) if failed is None else failed} of {total}"
            self._message(f"{counted} {what} failed:" if what else f"{counted} failed:")
            for line in failures:
                self._message(f"  {line}")

    @contextmanager
    def progress(self, total: int, unit: str = "image") -> Iterator[Progress]:
        """Progress bars where stderr is a terminal: over several things, and within large images."""
        if self.quiet or not sys.stderr.isatty():
            yield Progress()
            return
        from tqdm import tqdm

        with tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, disable=total < 2) as bar:
            self._progress = Progress(True, None if total < 2 else bar)
            try:
                yield self._progress
            finally:
                self._progress = Progress()

    def _message(self, text: str) -> None:
        self._progress.write(visible(text))


def visible(text: str) -> str:
    """Control characters, which a file's name may hold and a terminal would obey, as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" or c > "\x9f" else f"\\x{ord(c):02x}" for c in text)


def one_line(name: str) -> str:
    """The name of a file, which may hold line breaks, for a line of text."""
    return visible(name.replace("\n", "\\n").replace("\t", "\\t"))


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    return None if isinstance(data, float) and (data != data or abs(data) == float("inf")) else data
