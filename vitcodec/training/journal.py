"""A run's journal: log.jsonl, the curve drawn of it, and the loggers of others that get its numbers too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .curve import training_svg
from .trackers import Tracker

LOG, CURVE = "log.jsonl", "curve.svg"  # in a run's folder


class Journal:
    """Entries of a run in a folder. trackers: get the numbers of each entry, by its step."""

    def __init__(self, folder: Path, trackers: Sequence[Tracker] = ()):
        self.folder, self.trackers = folder, trackers
        self._end_line()

    def add(self, step: int, minutes: float, entry: Mapping[str, Any]) -> None:
        """Write an entry as a line of the log, and draw the curve anew. Raises OSError, OutputError."""
        line = json.dumps({"step": step, "minutes": minutes, **entry})
        with (self.folder / LOG).open("a") as file:
            file.write(line + "\n")
        training_svg(self.folder / LOG, self.folder / CURVE)
        if numbers := {k: v for k, v in entry.items() if isinstance(v, int | float) and not isinstance(v, bool)}:
            for tracker in self.trackers:
                tracker.log({**numbers, "minutes": minutes}, step=step)

    def close(self) -> None:
        """Let the loggers write what they still hold."""
        for tracker in self.trackers:
            tracker.finish()

    def _end_line(self) -> None:
        """What a kill or a full disk left of a line is a line of its own, which readers pass over."""
        log = self.folder / LOG
        if log.is_file() and (text := log.read_bytes()) and not text.endswith(b"\n"):
            with log.open("ab") as file:
                file.write(b"\n")
