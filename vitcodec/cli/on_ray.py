"""A cluster in the place of this machine: commands run here, and what they do with a file runs in workers of Ray."""

from __future__ import annotations

import shlex
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cluster import planning, pool
from ..errors import ClusterError, UsageError, VitcodecError
from ..files import Found, Job, Plan, Source
from ..filesystem.urls import url_of
from . import batch, places
from .output import USAGE, Output, debugging, explain
from .resuming import Kept

if TYPE_CHECKING:
    from ..evaluation.results import Report

LOST = "its workers were lost, one after the other (out of memory?); try it alone, without ray"


@dataclass(frozen=True)
class OnRay(places.Place):
    cluster: pool.Cluster
    out: Output
    kept: Kept | None = None  # results of an earlier `eval`

    def find_inputs(self, inputs: Sequence[str], suffixes: Collection[str], recursive: bool) -> Found:
        return planning.find_inputs(inputs, suffixes, recursive)

    def plan_outputs(
        self,
        found: Found,
        output: str | None,
        suffix: str,
        overwrite: bool,
        skip_existing: bool,
        append: bool = False,
    ) -> Plan:
        return planning.plan_outputs(found, output, suffix, overwrite, skip_existing, append)

    def write(self, job: Job, data: bytes, overwrite: bool, modified: int | None) -> None:
        planning.write(job, data, overwrite, modified)

    def run(
        self,
        out: Output,
        command: str,
        plan: Plan,
        dry_run: bool,
        start: Callable[[], batch.Work],
        ahead: int,
        strict: bool,
    ) -> int:
        return batch.run_elsewhere(out, command, plan, dry_run, self._outcomes(plan.jobs, start), strict)

    def _outcomes(self, jobs: Sequence[Job], start: Callable[[], batch.Work]) -> Iterator[tuple[Job, batch.Outcome]]:
        place = replace(self, kept=None)

        def begin() -> pool.Do:
            places.move_to(place)
            work = _started(start)
            return lambda item: _made(work, _job(item))

        for done in self._spread(begin, [_item(job) for job in jobs]):
            job, made = jobs[done.index], done.result
            if made is None:
                yield job, ClusterError(LOST)
            elif "error" in made:
                yield job, VitcodecError(made["error"])
            else:
                yield job, (batch.Result(**made["result"]), made["seconds"])

    def measure(self, paths: Sequence[Path], measuring: places.Measuring) -> places.Measured:
        """Every file by one worker, at all qualities of all entrants."""
        from ..evaluation.results import Failure

        begin = _measurer(measuring, shlex.join(["vitcodec", *sys.argv[1:]]))
        told = _Told(self.out, measuring)
        found = self.kept.results if self.kept else {}
        for path in paths:
            if str(path) in found:
                told.add(path, found[str(path)])
        rest = [path for path in paths if str(path) not in found]
        lost = list[Path]()
        for done in self._spread(begin, [{"path": str(path)} for path in rest]) if rest else ():
            path = rest[done.index]
            if done.result is None:
                lost.append(path)
                continue
            result = done.result | {"host": done.host}
            if self.kept:
                self.kept.keep(str(path), result)
            told.add(path, result)
        if not told.reports:
            raise ClusterError(f"nothing was measured: {LOST}")
        first = told.reports[0]
        for path in lost:
            first.failures.append(Failure(_name(path), None, f"{_name(path)}: {LOST}", first.codec))
            measuring.advance(first.failures[-1], first.codec)
        told.sort(paths)
        return places.Measured(told.reports, told.provenance(), measuring.start)

    def _spread(self, begin: Callable[[], pool.Do], items: Sequence[pool.Item]) -> Iterator[pool.Done]:
        said = False
        for done in pool.spread(self.cluster, begin, items):
            if done.restarted and not said:
                self.out.warn("a worker was lost (killed, out of memory, or its machine); its files are done again")
                said = True
            yield done


# in workers


def _started(start: Callable[[], Any]) -> Any:
    """What a command starts with. Raises UsageError or another VitcodecError, in the words of the command line."""
    if not debugging():
        warnings.filterwarnings("ignore", module="PIL")
    try:
        return start()
    except Exception as error:
        explained = explain(error)
        raise (UsageError if explained.code == USAGE else VitcodecError)(explained.line) from error


def _item(job: Job) -> pool.Item:
    return {"path": str(job.source.path), "url": job.source.url, "target": str(job.target), "target_url": job.url}


def _job(item: pool.Item) -> Job:
    path = Path(item["path"])
    return Job(Source(path, Path(path.name), url=item["url"]), Path(item["target"]), item["target_url"])


def _made(work: batch.Work, job: Job) -> pool.Item:
    began = time.perf_counter()
    try:
        result = work.write(job, work.compute(job, work.read(job)))
    except Exception as error:
        return {"error": explain(error, job.source.name).line}
    return {"result": asdict(result), "seconds": time.perf_counter() - began}


def _measurer(measuring: places.Measuring, command: str) -> Callable[[], pool.Do]:
    start, reps, read, describe = measuring.start, measuring.reps, measuring.read, measuring.describe
    metrics = measuring.metrics

    def begin() -> pool.Do:
        from ..evaluation.engine import evaluate
        from ..evaluation.provenance import provenance

        entrants: places.Entrants = _started(start)
        facts = provenance(entrants[0][1], command)
        warm = set[str]()

        def measured(item: pool.Item) -> pool.Item:
            path, reports = Path(item["path"]), []
            for name, codec, settings in entrants:
                report = evaluate(
                    codec,
                    [path],
                    settings,
                    reps,
                    read,
                    lambda error, file: describe(error, _name(path)),
                    name=name,
                    warm=name in warm,
                    metrics=metrics,
                )
                warm.update([name] if report.rows else [])
                report.notes = [note.removeprefix(f"{path}: ") for note in report.notes]
                reports.append(asdict(report))
            return {"reports": reports, "facts": facts}

        return measured

    return begin


# here


class _Told:
    """What workers measured, file by file, and the reports that it makes."""

    def __init__(self, out: Output, measuring: places.Measuring):
        self.out, self.measuring = out, measuring
        self.reports: list[Report] = []
        self.facts: dict[str, str] = {}
        self.hosts, self.noted = set[str](), set[str]()

    def add(self, path: Path, result: pool.Item) -> None:
        from ..evaluation.results import Failure, Report, Row

        self.facts = self.facts or result["facts"]
        self.hosts.add(result["host"])
        if not self.reports:
            self.reports = [Report(**_head(fields)) for fields in result["reports"]]
        for report, fields in zip(self.reports, result["reports"], strict=True):
            for note in fields["notes"]:
                if note not in self.noted or self.out.verbose:
                    self.out.warn(f"{_name(path)}: {note}")
                self.noted.add(note)
            for row in fields["rows"]:
                report.rows.append(Row(**(row | {"file": _name(path)})))
                self.measuring.advance(report.rows[-1], report.codec)
            for failure in fields["failures"]:
                report.failures.append(Failure(**(failure | {"file": _name(path)})))
                self.measuring.advance(report.failures[-1], report.codec)

    def sort(self, paths: Sequence[Path]) -> None:
        """In the order of the files, as if one machine had done them."""
        order = {_name(path): number for number, path in enumerate(paths)}
        for report in self.reports:
            report.rows.sort(key=lambda row: (order[row.file], report.qualities.index(row.quality)))
            report.failures.sort(key=lambda failure: order[failure.file])

    def provenance(self) -> dict[str, str]:
        machines = "1 machine" if len(self.hosts) == 1 else f"{len(self.hosts)} machines"
        return self.facts | {"cluster": f"Ray, {machines}; what is said here is of one of its workers"}


def _head(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "qualities": tuple(fields["qualities"]), "rows": [], "failures": [], "notes": []}


def _name(path: Path) -> str:
    return url_of(path) or str(path)
