"""Which inputs are still to do, and what the next shard is called: so that a run can be stopped and resumed.

A shard says which samples it holds. What no finished shard holds is to do, and goes to the numbers that are free.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError, UsageError
from ..filesystem.inputs import Source
from .reading import manifest_of
from .samples import SAFETENSORS, TAR, Manifest, key_of

_NUMBER = re.compile(r"%0?(\d*)d")


@dataclass(frozen=True)
class Names:
    """The names of the shards: before and after the number of so many digits. plain: the first has no number."""

    before: str
    after: str
    digits: int
    plain: bool = False

    @staticmethod
    def parse(output: str) -> Names:
        """`shard-%06d.tar`; or `tokens.tar`, then tokens-000001.tar, should one not be enough. Raises UsageError."""
        path = Path(output)
        if path.suffix not in (TAR, SAFETENSORS):
            raise UsageError(f"{output}: shards are .tar or .safetensors files; use -o shard-%06d.tar")
        if path.is_dir():
            raise UsageError(f"{output}: is a folder; use -o {path / f'shard-%06d{path.suffix}'}")
        parts = _NUMBER.split(path.name)
        if len(parts) == 1 and "%" not in path.name:
            return Names(f"{path.with_suffix('')}-", path.suffix, 6, plain=True)
        if len(parts) != 3 or "%" in f"{parts[0]}{parts[2]}{path.parent}":
            raise UsageError(f"{output}: takes one number, as %06d; use -o shard-%06d{path.suffix}")
        return Names(os.path.join(os.path.dirname(output), parts[0]), parts[2], int(parts[1] or 1))

    @property
    def suffix(self) -> str:
        return Path(self.after).suffix or self.after

    def path(self, number: int) -> Path:
        if self.plain and number == 0:
            return Path(f"{self.before[:-1]}{self.after}")
        return Path(f"{self.before}{number:0{self.digits}}{self.after}")

    def existing(self) -> dict[int, Path]:
        """By number, in order."""
        folder, name = os.path.split(self.before)
        pattern = re.compile(rf"{re.escape(name)}(\d+){re.escape(self.after)}")
        try:
            listed = os.listdir(folder or ".")
        except FileNotFoundError:
            listed = []
        numbers = {int(m[1]) for m in map(pattern.fullmatch, listed) if m} | {0}
        found = {number: self.path(number) for number in sorted(numbers)}
        return {number: path for number, path in found.items() if os.path.lexists(path)}

    def free(self, taken: Mapping[int, Path]) -> Iterator[Path]:
        """The names of the shards to write."""
        number = 0
        while True:
            if number not in taken:
                yield self.path(number)
            number += 1


@dataclass(frozen=True)
class Job:
    """One sample to make. folder: the name of its class, or None."""

    source: Source
    key: str
    folder: str | None


@dataclass(frozen=True)
class Plan:
    """held: what finished shards hold already, and where."""

    jobs: Sequence[Job]
    held: Sequence[tuple[Job, Path]]
    classes: Sequence[str]
    names: Iterator[Path]


def jobs_of(sources: Sequence[Source], suffix: bool, labelled: bool, shuffled: bool) -> list[Job]:
    """The samples in the order in which they are written: by key or, shuffled, by a hash of it, always the same.

    Raises UsageError where two inputs would get one key, and for inputs without a name.
    """
    jobs = dict[str, Job]()
    for source in sources:
        if source.path is None or source.stream:
            raise UsageError(f"{source.name}: has no name to call a sample by; give files or folders")
        folder = source.path.absolute().parent.name if labelled else None
        job = Job(source, key_of(source.relative, suffix), folder)
        if job.key in jobs:
            advice = "give them other names" if suffix else "--append-suffix tells them apart, if their suffixes differ"
            raise UsageError(
                f"{jobs[job.key].source.name} and {source.name} would both become sample '{job.key}'; {advice}"
            )
        jobs[job.key] = job
    order = (lambda key: hashlib.sha256(key.encode()).hexdigest()) if shuffled else str
    return [jobs[key] for key in sorted(jobs, key=order)]


def plan(jobs: Sequence[Job], names: Names, settings: Mapping[str, Any], overwrite: bool, resume: bool) -> Plan:
    """What is to do.

    Raises OutputError where shards exist and may be neither replaced nor added to, or where one is damaged, and
    UsageError where they were made in another way.
    """
    existing = names.existing()
    if existing and not (overwrite or resume):
        raise OutputError(f"{next(iter(existing.values()))}: exists already; use --resume or --overwrite")
    found = {} if overwrite else {path: _manifest(path, settings) for path in existing.values()}
    holders = dict[str, Path]()
    for path, manifest in found.items():
        for key in manifest.keys:
            if key in holders:
                raise UsageError(f"sample '{key}' is in {holders[key]} and in {path}; delete one of them")
            holders[key] = path
    known = max((list(m.classes) for m in found.values()), key=len, default=[])
    if wrong := [p for p, m in found.items() if list(m.classes) != known[: len(m.classes)]]:
        raise UsageError(f"{wrong[0]}: numbers its classes in another way than the other shards; use another -o")
    classes = known + sorted({j.folder for j in jobs if j.folder is not None} - set(known))
    to_do = [job for job in jobs if job.key not in holders]
    held = [(job, holders[job.key]) for job in jobs if job.key in holders]
    return Plan(to_do, held, classes, names.free({} if overwrite else existing))


def _manifest(path: Path, settings: Mapping[str, Any]) -> Manifest:
    try:
        manifest = manifest_of(path)
    except InputError as error:
        raise OutputError(str(error)) from error
    if manifest is None:
        raise OutputError(f"{path}: was not written by vitcodec tokens; use another -o")
    for name in sorted(settings.keys() & manifest.settings.keys()):
        if settings[name] != manifest.settings[name]:
            raise UsageError(
                f"{path}: was made with {name} {manifest.settings[name]}, not {settings[name]}; "
                "give the same to resume, or another -o"
            )
    return manifest
