"""Rate-distortion curves that others published, from JSON files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_bytes

_NAMES = {"psnr": ("psnr", "psnr_rgb", "psnr-rgb"), "ms_ssim": ("ms_ssim", "ms-ssim", "ms-ssim-rgb")}


@dataclass(frozen=True)
class Published:
    """The means of a codec over a set of images, one (bits per pixel, measure) for each of its settings; PSNR in dB, MS-SSIM from 0 to 1."""

    id: str
    name: str
    psnr: tuple[tuple[float, float], ...]
    ms_ssim: tuple[tuple[float, float], ...]


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
    if not any(c.psnr or c.ms_ssim for c in curves):
        raise InputError(f"{path}: its curves have neither PSNR nor MS-SSIM; see docs/reports.md")
    return curves


def _curve(entry: dict[str, Any]) -> Published:
    """{"name": ..., "points": [{"bpp": ..., "psnr": ..., "ms_ssim": ...}, ...]}"""
    measures = {
        measure: tuple(
            (float(p["bpp"]), float(p[key])) for p in entry["points"] for key in keys if p.get(key) is not None
        )
        for measure, keys in _NAMES.items()
    }
    return Published(str(entry.get("id", entry["name"])), str(entry["name"]), **measures)


def _columns(content: dict[str, Any]) -> Published:
    """{"name": ..., "results": {"bpp": [...], "psnr-rgb": [...], ...}}, as CompressAI publishes its results."""
    columns = content["results"]
    measures = {
        measure: tuple(
            (float(b), float(v))
            for key in keys
            if key in columns
            for b, v in zip(columns["bpp"], columns[key], strict=True)
        )
        for measure, keys in _NAMES.items()
    }
    return Published(str(content["name"]), str(content["name"]), **measures)
