"""Results that are kept in a file as they come, so that a second run goes on where the first one ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OutputError, UsageError


class Kept:
    """Lines of JSON: the options that the results depend on, then a result for each name."""

    def __init__(self, path: Path, options: Mapping[str, Any]):
        """Reads the file, or begins it. Raises OutputError, and UsageError where it is of other options or damaged."""
        self.path, self.results = path, dict[str, Any]()
        head = json.dumps({"vitcodec eval": dict(options)})
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else []
            whole = lines[:-1]  # a last line without an end was being written
            if whole and whole[0] != head.encode():
                raise UsageError(f"{path}: holds no results of these options; give --resume another name")
            if not whole and any(lines):
                raise UsageError(f"{path}: holds no results of vitcodec; give --resume another name")
            for line in whole[1:]:
                found = json.loads(line)
                self.results[found["name"]] = found["result"]
            self.stream = open(path, "ab")  # noqa: SIM115 (as long as the command runs)
            self.stream.truncate(sum(len(line) + 1 for line in whole))
            if not whole:
                self._write(head)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: is damaged; delete it, or give --resume another name") from error

    def keep(self, name: str, result: Any) -> None:
        """Raises OutputError."""
        try:
            self._write(json.dumps({"name": name, "result": result}))
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror}); free space and resume") from error

    def _write(self, line: str) -> None:
        self.stream.write(line.encode() + b"\n")
        self.stream.flush()
