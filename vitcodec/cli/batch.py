"""Doing the jobs of a plan, file by file: what `encode` and `decode` share."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .. import files
from ..files import Job, Plan
from .output import DONE, FAILED, INTERRUPTED, Output, debugging, explain, one_line, size

Loaded = TypeVar("Loaded")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Work(Generic[Loaded, Made]):
    """What is done with a file, in three steps.

    Reading and writing run in threads beside the model, which computes one file at a time, in order.
    """

    read: Callable[[Job], Loaded]
    compute: Callable[[Job, Loaded], Made]
    write: Callable[[Job, Made], Result]


@dataclass(frozen=True)
class Result:
    """One file made. Sizes in bytes and pixels."""

    bytes_in: int
    bytes_out: int
    width: int
    height: int
    text: str  # for people, after the names
    notes: list[str]
    fields: dict[str, Any] = field(default_factory=dict)  # for --json

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6


Outcome = tuple[Result, float] | Exception  # a file made, with the seconds that it took, or why there is none


def run(
    out: Output,
    command: str,
    plan: Plan,
    dry_run: bool,
    start: Callable[[], Work],
    ahead: int = 1,
    strict: bool = False,
) -> int:
    """Do the jobs of a plan and say what became of each; returns the exit code.

    start: loads what the work needs and returns the work; called once, and only if there is a job. What it raises ends
    the command; what the work raises fails that file. ahead: how many files at most are read ahead of the model, and
    written behind it, at the same time. strict: what was left out makes the exit code 1. Raises UsageError where an
    output would go to a terminal.
    """
    if dry_run:
        return _show(out, command, plan, strict)
    if any(job.target is None for job in plan.jobs):
        files.check_stdout()
    batch = _Batch(out, command, plan, strict)
    return batch.run(lambda: batch.work(start(), ahead))


def run_elsewhere(
    out: Output,
    command: str,
    plan: Plan,
    dry_run: bool,
    outcomes: Iterable[tuple[Job, Outcome]],
    strict: bool = False,
) -> int:
    """As `run`, where others do the jobs. outcomes: what became of every job, in any order."""
    if dry_run:
        return _show(out, command, plan, strict)
    batch = _Batch(out, command, plan, strict)
    return batch.run(lambda: batch.gather(outcomes))


def _show(out: Output, command: str, plan: Plan, strict: bool) -> int:
    for job in plan.jobs:
        out.result(f"{one_line(job.source.name)} -> {one_line(job.target_name)}")
        out.record({"file": job.source.name, "output": job.target_name, "status": "planned"})
    return _Batch(out, command, plan, strict).finish(planned=len(plan.jobs))


class _Batch:
    """The jobs of one command: what became of them, and the messages about them."""

    def __init__(self, out: Output, command: str, plan: Plan, strict: bool):
        self.out, self.command, self.plan, self.strict = out, command, plan, strict
        self.done = list[Result]()
        self.failed = list[str]()
        self.noted = set[str]()
        self.seconds = 0.0
        self.others = "the others are untouched"  # after Ctrl-C

    def run(self, work: Callable[[], None]) -> int:
        """Call what does the jobs, if there are any; returns the exit code."""
        code = None
        if not debugging():
            warnings.filterwarnings("ignore", module="PIL")  # what matters to the user comes as a note or an error
        try:
            if self.plan.jobs:
                work()
        except KeyboardInterrupt:
            self.out.error(f"interrupted, {len(self.done)} of {len(self.plan.jobs)} done; {self.others}")
            code = INTERRUPTED
        result = self.finish()
        return result if code is None else code

    def work(self, work: Work, ahead: int) -> None:
        began = time.perf_counter()
        written: deque[tuple[Job, Future[_Timed]]] = deque()
        readers, writers = ThreadPoolExecutor(ahead), ThreadPoolExecutor(ahead)
        try:
            with self.out.progress(len(self.plan.jobs)) as bar:
                try:
                    for job, loading in _read_ahead(readers, work, self.plan.jobs, ahead):
                        try:
                            loaded = loading.result()
                            with bar.within(one_line(job.source.name)):
                                made = _timed(work.compute, job, loaded)
                        except Exception as error:
                            self.fail(job.source.name, error)
                            bar.advance()
                            continue
                        if job.target is None or files.is_stream(job.target):
                            written.append((job, _here(work.write, job, made)))
                        else:
                            written.append((job, writers.submit(_timed, work.write, job, made)))
                        while len(written) > ahead or (written and written[0][1].done()):
                            bar.advance(self.collect(*written.popleft()))
                finally:  # also after Ctrl-C: what is computed is written whole
                    readers.shutdown(cancel_futures=True)
                    while written:
                        bar.advance(self.collect(*written.popleft()))
        finally:
            writers.shutdown(cancel_futures=True)
            self.seconds = time.perf_counter() - began

    def collect(self, job: Job, written: Future[_Timed]) -> float:
        """Wait for a file to be written, and tell of it. Returns its megapixels, 0 if it failed."""
        try:
            timed = written.result()
        except Exception as error:
            return self.tell(job, error)
        return self.tell(job, (timed.value, timed.seconds))

    def gather(self, outcomes: Iterable[tuple[Job, Outcome]]) -> None:
        self.others = "others may be done too, and --skip-existing goes on"
        began = time.perf_counter()
        try:
            with self.out.progress(len(self.plan.jobs)) as bar:
                for job, outcome in outcomes:
                    bar.advance(self.tell(job, outcome))
        finally:
            self.seconds = time.perf_counter() - began

    def tell(self, job: Job, outcome: Outcome) -> float:
        """Say what became of a file. Returns its megapixels, 0 if it failed."""
        if isinstance(outcome, Exception):
            self.fail(job.source.name, outcome)
            return 0.0
        result, seconds = outcome
        self.done.append(result)
        for note in result.notes:
            self.note(job, note)
        self.out.say(f"{one_line(job.source.name)} -> {one_line(job.target_name)}  {result.text}")
        self.out.record(
            {
                "file": job.source.name,
                "output": job.target_name,
                "status": "done",
                "width": result.width,
                "height": result.height,
                "bytes_in": result.bytes_in,
                "bytes_out": result.bytes_out,
                **result.fields,
                "seconds": round(seconds, 4),
                "notes": result.notes,
            }
        )
        return result.megapixels

    def note(self, job: Job, note: str) -> None:
        """Each kind of note once; with -v for every file."""
        if note not in self.noted or self.out.verbose:
            self.out.warn(f"{one_line(job.source.name)}: {note}")
        self.noted.add(note)

    def fail(self, name: str, error: Exception) -> None:
        line = explain(error, name).line
        self.failed.append(line)
        self.out.record({"file": name, "output": None, "status": "failed", "error": line})

    def finish(self, planned: int = 0) -> int:
        for problem in self.plan.problems:
            self.fail(problem.name, problem.error)
        for job in self.plan.skipped:
            self.out.detail(f"{one_line(job.source.name)}: skipped, {one_line(job.target_name)} exists")
            self.out.record({"file": job.source.name, "output": job.target_name, "status": "skipped"})
        bytes_in, bytes_out = sum(r.bytes_in for r in self.done), sum(r.bytes_out for r in self.done)
        megapixels, skipped = sum(r.megapixels for r in self.done), len(self.plan.skipped)
        total = planned + len(self.done) + skipped + len(self.failed)
        if len(self.failed) < total > 1 or skipped:
            counts = [
                (planned, "planned"),
                (len(self.done), f"{self.command}d"),
                (skipped, "skipped"),
                (len(self.failed), "failed"),
            ]
            text = ", ".join(f"{n} {what}" for n, what in counts if n)
            if self.done:
                text += f"; {size(bytes_in)} -> {size(bytes_out)}, {megapixels / self.seconds:.2f} MP/s"
            self.out.say(text)
        if not total and not self.plan.jobs:
            self.out.say("nothing to do: no input of a known kind was found")
        left_out = self.out.left_out(self.plan.left_out, self.strict)
        code = FAILED if self.failed or left_out else DONE
        self.out.summary(
            {
                "command": self.command,
                "planned": planned,
                "done": len(self.done),
                "skipped": skipped,
                "failed": len(self.failed),
                "bytes_in": bytes_in,
                "bytes_out": bytes_out,
                "megapixels": round(megapixels, 6),
                "seconds": round(self.seconds, 4),
                "left_out": self.plan.left_out.counts(),
            }
        )
        self.out.failures(self.failed, total)
        return code


@dataclass(frozen=True)
class _Timed:
    value: Any
    seconds: float  # of this step and those before it


def _timed(step: Callable[..., Any], job: Job, before: _Timed | None = None) -> _Timed:
    began = time.perf_counter()
    value = step(job, before.value) if before else step(job)
    return _Timed(value, time.perf_counter() - began + (before.seconds if before else 0.0))


def _read_ahead(
    pool: ThreadPoolExecutor, work: Work, jobs: list[Job], ahead: int
) -> Iterator[tuple[Job, Future[_Timed]]]:
    """Every job in order, with its input, being read or read."""
    queue: deque[tuple[Job, Future[_Timed]]] = deque()
    for job in jobs:
        queue.append((job, _read(pool, work, job)))
        if len(queue) > ahead:
            yield queue.popleft()
    while queue:
        yield queue.popleft()


def _read(pool: ThreadPoolExecutor, work: Work, job: Job) -> Future[_Timed]:
    if job.source.path is not None and not job.source.stream:
        return pool.submit(_timed, work.read, job)
    return _here(work.read, job)


def _here(step: Callable[..., Any], job: Job, before: _Timed | None = None) -> Future[_Timed]:
    """What has to do with a stream, here and now, so that Ctrl-C ends the wait for it."""
    future: Future[_Timed] = Future()
    try:
        future.set_result(_timed(step, job, before))
    except Exception as error:
        future.set_exception(error)
    return future
