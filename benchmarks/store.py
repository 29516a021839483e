"""Results as JSON files, one for each suite: schema_version, provenance, results."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SCHEMA_VERSION = 3  # 1 and 2 had a form of their own for every script
RESULTS = Path(__file__).parent / "results"

Results = dict[str, Any]


@dataclass(frozen=True)
class Store:
    """Where a suite's results go, and what is known of the run that makes them."""

    folder: Path
    name: str  # of the file, without .json
    command: str  # as typed
    models: Sequence[str | None]  # None: the default model
    device: str = "cpu"

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.json"

    def named(self, name: str) -> Store:
        """The same run with another file."""
        return replace(self, name=name)

    def previous(self) -> Results:
        """The results of the file as it is; {} where there is none in this form."""
        document = read(self.path)
        return document["results"] if document else {}

    def previous_of(self, sha256: str) -> Results:
        """The same, if they are of the model with this SHA-256; {} otherwise."""
        document = read(self.path)
        return document["results"] if document and sha256 in document["provenance"]["model"] else {}

    def provenance(self, *models: str | None) -> dict[str, str]:
        """Command, date, machine, versions and models with their SHA-256. models: in place of all of the run's."""
        from vitcodec.evaluation.provenance import provenance
        from vitcodec.pretrained import registry

        configs = [registry.find(name or registry.DEFAULT_MODEL) for name in models or self.models]
        first = SimpleNamespace(name=configs[0].name, device=self.device, config=configs[0])
        facts = provenance(first, self.command)
        return facts | {"model": "; ".join(f"{c.name}, SHA-256 {c.sha256}" for c in configs)}

    def save(self, results: Results) -> None:
        """Replace the file. Suites that run for long also call it on the way, to keep what an interrupted run has."""
        document = {"schema_version": SCHEMA_VERSION, "provenance": self.provenance(), "results": results}
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text(dumps(document), "utf-8")
        unfinished.replace(self.path)


def read(path: Path) -> Results | None:
    """A whole file, or None where there is none of this schema version."""
    if not path.exists():
        return None
    document = json.loads(path.read_text("utf-8"))
    return document if document.get("schema_version") == SCHEMA_VERSION else None


def dumps(data: Any) -> str:
    """JSON with one measurement a line: objects that hold no others are one line each."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    return re.sub(r"\{[^{}]*\}", lambda m: " ".join(m[0].split()), text) + "\n"
