"""Files as the commands see them: inputs found, outputs planned.

inputs.py finds them, streams.py reads bytes, atomic.py writes them. Nothing here reads pixels: neither torch nor PIL is
imported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import OutputError, UsageError
from .filesystem.atomic import already_exists, refuse_existing, write_atomic
from .filesystem.inputs import Found, Problem, Source, find_inputs
from .filesystem.leftovers import LeftOut
from .filesystem.streams import (
    STDIO,
    Kind,
    check_stdout,
    descriptor_of,
    is_stream,
    kind_of,
    read_bytes,
    read_stdin,
    unreadable,
    write_stdout,
)
from .filesystem.suffixes import IMAGE_SUFFIXES, SUFFIX, image_suffixes, renamed

__all__ = [
    "IMAGE_SUFFIXES",
    "STDIO",
    "SUFFIX",
    "Found",
    "Job",
    "LeftOut",
    "Plan",
    "Problem",
    "Source",
    "check_stdout",
    "find_inputs",
    "image_suffixes",
    "is_stream",
    "names_file",
    "plan_outputs",
    "read_bytes",
    "read_stdin",
    "refuse_existing",
    "unreadable",
    "write_atomic",
    "write_stdout",
]


@dataclass(frozen=True)
class Job:
    """One file to make. target None: standard output."""

    source: Source
    target: Path | None
    url: str | None = None  # where it is made, if not in this machine's file systems; `target` then only stands for it

    @property
    def target_name(self) -> str:
        return self.url or ("<stdout>" if self.target is None else str(self.target))


@dataclass(frozen=True)
class Plan:
    jobs: list[Job]
    skipped: list[Job]  # with skip_existing: those whose output exists
    problems: list[Problem]
    left_out: LeftOut = field(default_factory=LeftOut)


def names_file(found: Found, output: str) -> bool:
    """Whether -o names the one output; otherwise it names the folder of the outputs."""
    return not (found.many or Path(output).is_dir() or output.endswith(("/", os.sep)))


def plan_outputs(
    found: Found,
    output: str | Path | None,
    suffix: str,
    overwrite: bool = False,
    skip_existing: bool = False,
    append: bool = False,
) -> Plan:
    """Decide what is written where, before any work.

    output: None puts each output beside its input with `suffix` in place of the input's, or with `append` after it; "-"
    is standard output; else a file for one input, or a folder (one that exists, or whose name ends in a slash) for one
    or many, in which the tree of the inputs is mirrored. An output that exists is a Problem unless it may be
    overwritten or skipped; a pipe or a device is written into. Raises UsageError where two inputs would give one
    output, an output would replace an input, an output has no name, or the options contradict each other.
    """
    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing contradict each other; give one")
    jobs = _targets(found, output, suffix, append)
    _refuse_collisions(jobs, append)
    written = [job.target for job in jobs if job.target is not None]
    plan = Plan([], [], list(found.problems), found.left_out.without([], written))
    for job in jobs:
        if (problem := _problem_of(job, overwrite or skip_existing)) is not None:
            plan.problems.append(Problem(job.source.name, problem))
        elif skip_existing and job.target is not None and os.path.lexists(job.target) and not is_stream(job.target):
            plan.skipped.append(job)
        else:
            plan.jobs.append(job)
    return plan


def _problem_of(job: Job, exists_well: bool) -> OutputError | None:
    """Why an output cannot be written. exists_well: it may exist."""
    if job.target is None:
        return None
    try:
        kind = kind_of(job.target)
    except OSError as error:
        return OutputError(f"{job.target}: cannot be written ({error.strerror})")
    if kind == Kind.FOLDER:
        return OutputError(f"{job.target}: is a folder, and an output would go there")
    if kind == Kind.OTHER:
        return OutputError(f"{job.target}: is a disk or a socket, which is never replaced; give a file")
    if kind != Kind.STREAM and os.path.lexists(job.target) and not exists_well:
        return already_exists(job.target)
    return None


def _targets(found: Found, output: str | Path | None, suffix: str, append: bool) -> list[Job]:
    text = None if output is None else os.fspath(output)
    stdin = bool(found.sources) and found.sources[0].path is None
    if text is not None and descriptor_of(text) == 1:
        text = STDIO
    if text == STDIO or (text is None and stdin):
        if found.many:
            raise UsageError("-o - takes one input; give a folder for several")
        return [Job(s, None) for s in found.sources]
    if text is not None and names_file(found, text):
        return [Job(s, Path(text)) for s in found.sources]
    for source in found.sources:
        if source.stream:
            raise UsageError(f"{source.name}: has no name to call an output by; use -o FILE, with this one input")
    if text is None:
        return [Job(s, renamed(s.path, suffix, append)) for s in found.sources if s.path is not None]
    folder = Path(text)
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"{text}: is no folder; give -o a folder for several inputs")
    return [Job(s, folder / renamed(s.relative, suffix, append)) for s in found.sources]


def _refuse_collisions(jobs: Sequence[Job], append: bool) -> None:
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
            collisions.append((makers[key], job))
        makers.setdefault(key, job.source)
    if collisions:
        other, job = collisions[0]
        more = f" (and {len(collisions) - 1} more)" if len(collisions) > 1 else ""
        advice = "make them in different folders"
        if (
            not append
            and job.target
            and job.target.suffix == SUFFIX
            and all(one.relative.name != two.source.relative.name for one, two in collisions)
        ):
            apart = renamed(Path(job.source.relative.name), SUFFIX, append=True)
            advice = f"--append-suffix makes {apart} of it; or {advice}"
        raise UsageError(f"{other.name} and {job.source.name} would both become {job.target}{more}; {advice}")
