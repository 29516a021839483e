"""The stored results as the documents use them: those of the weights that ship, each with a line on its origin."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vitcodec.evaluation.report import markdown_table
from vitcodec.pretrained import registry

from ..store import RESULTS, read

Results = dict[str, Any]


@dataclass
class Library:
    """The results of a folder by suite."""

    folder: Path = RESULTS

    @cached_property
    def shipped(self) -> set[str]:
        """SHA-256 of the weights that ship."""
        return {config.sha256 for config in registry.available()}

    def is_current(self, provenance: dict[str, str]) -> bool:
        """Whether all weights that were measured are those that ship."""
        return set(re.findall(r"[0-9a-f]{64}", provenance.get("model", ""))) <= self.shipped

    def document(self, name: str, any_weights: bool = False) -> Results | None:
        """A suite's file, with provenance; None where there is none, or none of the weights that ship."""
        found = read(self.folder / f"{name}.json")
        return found if found and (any_weights or self.is_current(found["provenance"])) else None

    def current(self, entries: dict[str, Results]) -> dict[str, Results]:
        """Of entries with a provenance each those of the weights that ship."""
        return {name: entry for name, entry in entries.items() if self.is_current(entry["provenance"])}


Lines = list[str]
Block = Callable[[Library], str]


def block(suite: str, any_weights: bool = False) -> Callable[[Callable[[Library, Results], Lines | None]], Block]:
    """Makes a block of a function from a suite's document to lines: one that says so where nothing was measured."""

    def made(function: Callable[[Library, Results], Lines | None]) -> Block:
        def render(results: Library) -> str:
            document = results.document(suite, any_weights)
            lines = function(results, document) if document else None
            return "\n".join(lines or [f"Not measured yet with the weights that ship: `python -m benchmarks {suite}`."])

        return render

    return made


def source(*provenances: dict[str, str]) -> Lines:
    """An empty line and one that says by which command, on which machine and when; more of them where these differ."""
    lines = dict.fromkeys(_source(p) for p in provenances)
    return ["", *("\n\n".join(lines).split("\n"))]


def _source(provenance: dict[str, str]) -> str:
    machine = provenance["machine"]
    machine = f"machine {machine}" if machine == "not recorded" else machine
    note = f", {provenance['note']}" if "note" in provenance else ""
    return f"`{provenance['command']}`: {machine}, {provenance['date']}{note}."


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> Lines:
    """A Markdown table; `text` columns from the left hold text and not numbers."""
    return markdown_table(headings, rows, text)
