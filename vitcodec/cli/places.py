"""Where a command's files are, and where its work is done: the one seam between this machine and a cluster.

Commands call `places.here()`, so that `vitcodec ray` can put another place in its place. The commands' bodies, options
and messages are the same at both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..files import Found, Job, Plan
from . import batch
from .output import Output

if TYPE_CHECKING:
    from ..evaluation.engine import ImageCodec
    from ..evaluation.results import Failure, Report, Row
    from ..images import Picture

# what eval measures: what the report calls the codec, the codec, its qualities
Entrants = list[tuple[str, "ImageCodec", tuple[float, ...]]]


@dataclass(frozen=True)
class Measuring:
    """What `eval` does with its images."""

    start: Callable[[], Entrants]  # loads the codecs
    reps: int
    read: Callable[[Path], Picture]
    describe: Callable[[Exception, str], str]
    advance: Callable[[Row | Failure, str], None]  # told of every result, with the codec's name
    metrics: Sequence[str]  # names or keys of evaluation.measures


@dataclass(frozen=True)
class Measured:
    reports: list[Report]  # one for each entrant
    provenance: dict[str, str]
    entrants: Callable[[], Entrants]  # for pictures in a page


class Place:
    """This machine."""

    def find_inputs(self, inputs: Sequence[str], suffixes: Collection[str], recursive: bool) -> Found:
        """As files.find_inputs."""
        return files.find_inputs(inputs, suffixes, recursive)

    def plan_outputs(
        self,
        found: Found,
        output: str | None,
        suffix: str,
        overwrite: bool,
        skip_existing: bool,
        append: bool = False,
    ) -> Plan:
        """As files.plan_outputs."""
        return files.plan_outputs(found, output, suffix, overwrite, skip_existing, append)

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
        """As batch.run."""
        return batch.run(out, command, plan, dry_run, start, ahead, strict)

    def write(self, job: Job, data: bytes, overwrite: bool, modified: int | None) -> None:
        """Write the output of a job, which has one, whole or not at all. Raises OutputError."""
        assert job.target is not None
        files.write_atomic(job.target, data, overwrite, modified)

    def measure(self, paths: Sequence[Path], measuring: Measuring) -> Measured:
        """Measure all entrants on all files."""
        from ..evaluation.engine import evaluate
        from ..evaluation.provenance import provenance

        entrants = measuring.start()
        reports = [
            evaluate(
                codec,
                paths,
                settings,
                measuring.reps,
                measuring.read,
                measuring.describe,
                lambda result, name=name: measuring.advance(result, name),  # type: ignore[misc]
                name,
                metrics=measuring.metrics,
            )
            for name, codec, settings in entrants
        ]
        return Measured(reports, provenance(entrants[0][1]), lambda: entrants)


_place = Place()


def here() -> Place:
    """Where the command that runs now has its files and does its work."""
    return _place


def move_to(place: Place) -> None:
    """From now on, commands work at this place: for a process that does nothing else."""
    global _place
    _place = place


@contextmanager
def working_at(place: Place) -> Iterator[None]:
    """Commands that are called in here work at this place."""
    before = here()
    move_to(place)
    try:
        yield
    finally:
        move_to(before)
