"""Inputs found and outputs planned where some of them, or all, are at URLs: what files.py does on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from .. import files
from ..errors import InputError, OutputError, UsageError, VitcodecError
from ..files import STDIO, Found, Job, LeftOut, Plan, Problem, Source
from ..filesystem import urls
from ..filesystem.atomic import already_exists
from ..filesystem.suffixes import SUFFIX


def find_inputs(inputs: Sequence[str], suffixes: Collection[str], recursive: bool = False) -> Found:
    """As files.find_inputs, of paths and URLs. Raises UsageError also for what no other machine can read, as a pipe."""
    if STDIO in inputs:
        raise UsageError("a cluster works on files; name files, folders, globs or URLs")
    local = [text for text in inputs if not urls.is_url(text)]
    found = files.find_inputs(local, suffixes, recursive) if local else Found([], [], many=False)
    for source in found.sources:
        if source.stream:
            raise UsageError(f"{source.name}: a cluster works on files; store it as a file")
    search = _Search(suffixes, recursive, found.left_out)
    for url in dict.fromkeys(text for text in inputs if urls.is_url(text)):
        search.add(url)
    sources = {source.name: source for source in [*found.sources, *search.sources]}
    many = found.many or search.many or len(inputs) > 1
    return Found(list(sources.values()), [*found.problems, *search.problems], many, search.left_out)


class _Search:
    """As the search of filesystem/inputs.py: hidden files, and files of other kinds, are left out of folders."""

    def __init__(self, suffixes: Collection[str], recursive: bool, left_out: LeftOut):
        self.suffixes, self.recursive, self.many = suffixes, recursive, False
        self.sources, self.problems = list[Source](), list[Problem]()
        self.left_out = replace(left_out, images=SUFFIX not in suffixes)

    def add(self, url: str) -> None:
        try:
            if urls.is_folder(url):
                self.many = True
                self.folder(url)
            elif urls.exists(url):
                self.take(url, PurePosixPath(url).name)
            elif re.search(r"[*?\[]", url):
                self.many = True
                if not (found := urls.matches(url)):
                    raise InputError(f"{url}: matches no file of a known kind")
                root = re.split(r"[^/]*[*?\[]", url)[0]
                for match in found:
                    self.meet(match, match[len(root) :])
            else:
                raise InputError(f"{url}: no such file or folder")
        except UsageError:
            raise
        except VitcodecError as error:
            self.problems.append(Problem(url, error))

    def folder(self, url: str) -> None:
        names, folders = urls.listing(url, self.recursive)
        for name in names:
            self.meet(urls.joined(url, name), name)
        for folder in map(Path, folders):
            if folder.name.startswith("."):
                self.left_out.hidden.append(folder)
            elif not self.recursive:
                self.left_out.subfolders.append(folder)

    def meet(self, url: str, relative: str) -> None:
        """A file in a folder."""
        path = PurePosixPath(relative)
        if any(part.startswith(".") for part in path.parts[:-1]):
            return  # in a hidden folder
        if path.name.startswith(".") or path.suffix.lower() not in self.suffixes:
            self.left_out.files.append(Path(relative))
        else:
            self.take(url, relative)

    def take(self, url: str, relative: str) -> None:
        self.sources.append(Source(urls.path_of(url), Path(relative), url=url))


def plan_outputs(
    found: Found,
    output: str | None,
    suffix: str,
    overwrite: bool = False,
    skip_existing: bool = False,
    append: bool = False,
) -> Plan:
    """As files.plan_outputs. The folders of outputs at URLs are listed, each once."""
    at_url = output is not None and urls.is_url(output)
    if output is not None and at_url:
        slash = "/" if output.endswith("/") or urls.is_folder(output) else ""
        output = f"{urls.path_of(output)}{slash}"
    try:
        plan = files.plan_outputs(found, output, suffix, overwrite, skip_existing, append)
    except UsageError as error:
        raise UsageError(_as_urls(str(error), found, output if at_url else None)) from error
    jobs, skipped, problems = list[Job](), list(plan.skipped), list(plan.problems)
    listed: dict[str, set[str]] = {}
    for job in plan.jobs:
        if job.target is None or files.is_stream(job.target):
            raise UsageError(f"{job.target_name}: a cluster writes files; give -o a file or a folder")
        url = urls.url_of(job.target) if at_url or (output is None and job.source.url) else None
        if url is None:
            jobs.append(job)
            continue
        job = replace(job, url=url)
        folder, _, name = url.rpartition("/")
        if folder not in listed and not overwrite:
            listed[folder] = urls.names_in(folder)
        if overwrite or name not in listed[folder]:
            jobs.append(job)
        elif skip_existing:
            skipped.append(job)
        else:
            problems.append(Problem(job.source.name, already_exists(url)))
    return Plan(jobs, skipped, problems, plan.left_out)


def write(job: Job, data: bytes, overwrite: bool, modified: int | None = None) -> None:
    """Write the output of a job, whole or not at all. Raises OutputError.

    A file of these very bytes may be there already: a worker that was lost may have written it before it could tell.
    """
    assert job.target is not None
    try:
        if job.url is not None:
            urls.write_url(job.url, data, overwrite)
        else:
            files.write_atomic(job.target, data, overwrite, modified)
    except OutputError as error:
        if not isinstance(error.__cause__, FileExistsError) or _content(job) != data:
            raise
        if job.url is None and modified is not None:
            os.utime(job.target, ns=(modified, modified))


def _content(job: Job) -> bytes | None:
    assert job.target is not None
    try:
        return urls.read_url(job.url) if job.url is not None else files.read_bytes(job.target)
    except VitcodecError:
        return None


def _as_urls(message: str, found: Found, output: str | None) -> str:
    """A message about paths that stand for URLs."""
    paths = [Path(output)] if output is not None else [s.path.parent for s in found.sources if s.url and s.path]
    for path in dict.fromkeys(paths):
        message = message.replace(f"{path}/", f"{urls.url_of(path)}/")
    return message
