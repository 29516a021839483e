"""Rate-distortion curves that others published, from JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_bytes
from .measures import PLOTTED

_NAMES = {key: (key, *measure.aliases) for key, (measure, _) in PLOTTED.items()}


@dataclass(frozen=True)
class Published:
    """The means of a codec over a set of images."""

    id: str
    name: str
    curves: Mapping[str, tuple[tuple[float, float], ...]]  # by key of PLOTTED: (bits per pixel, mean) of each setting

    @property
    def psnr(self) -> tuple[tuple[float, float], ...]:
        return self.curves["psnr"]


def read_published(paths: Sequence[Path]) -> list[Published]:
    """The curves of files in either of two forms; see docs/reports.md. Raises InputError."""
    curves = [curve for path in paths for curve in _read(path)]
    return list({c.name: c for c in curves}.values())


def _read(path: Path) -> list[Published]:
    try:
        content = json.loads(read_bytes(path))
        curves = [_curve(entry) for entry in content["curves"]] if "curves" in content else [_columns(content)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no curves in a form that is known ({type(error).__name__}: {error}); see docs/reports.md"
        ) from error
    if not any(any(c.curves.values()) for c in curves):
        neither = " nor ".join(measure.title for measure, _ in PLOTTED.values())
        raise InputError(f"{path}: its curves have neither {neither}; see docs/reports.md")
    return curves


def _curve(entry: dict[str, Any]) -> Published:
    """{"name": ..., "points": [{"bpp": ..., "psnr": ..., "ms_ssim": ...}, ...]}"""
    curves = {
        measure: tuple(
            (float(p["bpp"]), float(p[key])) for p in entry["points"] for key in keys if p.get(key) is not None
        )
        for measure, keys in _NAMES.items()
    }
    return Published(str(entry.get("id", entry["name"])), str(entry["name"]), curves)


def _columns(content: dict[str, Any]) -> Published:
    """{"name": ..., "results": {"bpp": [...], "psnr-rgb": [...], ...}}, as CompressAI publishes its results."""
    columns = content["results"]
    curves = {
        measure: tuple(
            (float(b), float(v))
            for key in keys
            if key in columns
            for b, v in zip(columns["bpp"], columns[key], strict=True)
        )
        for measure, keys in _NAMES.items()
    }
    return Published(str(content["name"]), str(content["name"]), curves)
