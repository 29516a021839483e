"""The averaged weights of a run at its best validation, kept beside the last ones.

best.json has, beside what average.json has: "bd_rate" in per cent, "tokens", what validation was on, and "validations",
how many there were on such tokens. Values on rounded and on searched tokens cannot be compared: where the kind changes,
the best begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .parts import BEST, metadata_file, write_metadata


@dataclass(frozen=True)
class Best:
    """The best validation of a run. With a single validation, that of the start, it says nothing about the training."""

    steps: int  # trained before it
    bd_rate: float  # per cent
    tokens: str  # "rounded" or "searched"
    validations: int

    @classmethod
    def read(cls, folder: Path) -> Best | None:
        """What a run's folder holds; None where that is nothing, or cannot be read."""
        try:
            found = json.loads(metadata_file(folder, BEST).read_text("utf-8"))
            return cls(*(found[name] for name in ("steps", "bd_rate", "tokens", "validations")))
        except (OSError, ValueError, KeyError):
            return None


def keep_best(folder: Path, steps: int, bd_rate: float, tokens: str, write: Callable[[dict[str, Any]], None]) -> None:
    """After a validation: keep the weights if they are the best so far.

    write: writes the weights, with these fields for best.json. Raises OutputError.
    """
    known = Best.read(folder) if steps else None  # what a folder holds before the first step is of another run
    count = known.validations + 1 if known and known.tokens == tokens else 1
    if known is None or known.tokens != tokens or bd_rate < known.bd_rate:
        write({"bd_rate": bd_rate, "tokens": tokens, "validations": count})
    else:
        metadata = json.loads(metadata_file(folder, BEST).read_text("utf-8"))
        write_metadata(folder, {**metadata, "validations": count}, BEST)
