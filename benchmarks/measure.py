"""Points and curves: images through the command line or a codec in this process, and BD-rates between curves."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from vitcodec.errors import VitcodecError
from vitcodec.evaluation.bdrate import Curve, bd_rate, overlap
from vitcodec.evaluation.engine import evaluate, evaluate_decoded
from vitcodec.evaluation.results import Report, Row

WIDE = (0.1, 2.5)  # bits per pixel within which curves are compared
NARROW = (29.4, 37.2)  # dB: the range over which papers usually give BD-rates on Kodak
SCORES = (30, 85)  # of SSIMULACRA2: from low to excellent quality, in the words of its author

METRICS = ("psnr", "ms-ssim")  # what is measured unless a suite says otherwise

# of an image: image, setting, bytes, bpp, psnr, and ms_ssim, ssimulacra2 if measured;
# of a curve: quality, bpp, psnr, and ssimulacra2 if measured
Point = dict[str, Any]


def rows_of(
    codec: Any,
    files: Sequence[Path],
    qualities: Sequence[float],
    reps: int = 1,
    name: str = "",
    metrics: Sequence[str] = METRICS,
) -> Report:
    """evaluation.engine.evaluate, where a failure ends the measurement. Raises VitcodecError."""
    return _complete(evaluate(codec, files, qualities, reps, name=name or None, metrics=metrics))


def _complete(report: Report) -> Report:
    if report.failures:
        raise VitcodecError(f"{report.codec}: {report.failures[0].message}")
    return report


def vitcodec(*arguments: str) -> None:
    """The command line in a process of its own. Raises VitcodecError."""
    command = [sys.executable, "-m", "vitcodec", *arguments, "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise VitcodecError(f"vitcodec {arguments[0]} ended with {result.returncode}: {result.stderr.strip()}")


def through_command_line(files: Sequence[Path], quality: int, effort: int, options: Sequence[str]) -> list[Point]:
    """The images at one quality through `vitcodec encode` and `decode`, without metadata. options: of both commands."""
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as folder:
        encoded, decoded = Path(folder) / "encoded", Path(folder) / "decoded"
        settings = ("-q", str(quality), "--effort", str(effort), "--strip", *options)
        vitcodec("encode", *map(str, files), "-o", f"{encoded}/", *settings)
        targets = [encoded / f"{f.stem}.vitc" for f in files]
        vitcodec("decode", *map(str, targets), "-o", f"{decoded}/", *options)
        pairs = [(f, decoded / f"{f.stem}.png") for f in files]
        report = _complete(evaluate_decoded("vitcodec", pairs, metrics=METRICS))
        return [point(r, quality, t.stat().st_size) for r, t in zip(report.rows, targets, strict=True)]


def point(row: Row, setting: float, size: int) -> Point:
    """An image's measures as results hold them, without those that it is too small for."""
    found = {
        "image": Path(row.file).name,
        "setting": setting,
        "bytes": size,
        "bpp": round(8 * size / (row.width * row.height), 6),
        "psnr": round(row.psnr, 5),
    }
    others = {"ms_ssim": 6, "ssimulacra2": 4}  # digits
    values = {key: (row.values.get(key, math.nan), digits) for key, digits in others.items()}
    return found | {key: round(value, digits) for key, (value, digits) in values.items() if not math.isnan(value)}


def mean_points(points: Sequence[Point]) -> list[Point]:
    """Means over the images, one point for each setting, in the order of the points."""
    settings = dict.fromkeys(p["setting"] for p in points)
    groups = {s: [p for p in points if p["setting"] == s] for s in settings}
    return [
        {
            "quality": s,
            "bpp": round(statistics.fmean(p["bpp"] for p in group), 6),
            "psnr": round(statistics.fmean(p["psnr"] for p in group), 5),
            **({"ssimulacra2": round(statistics.fmean(p["ssimulacra2"] for p in group), 4)} if _scored(group) else {}),
        }
        for s, group in groups.items()
    ]


def _scored(points: Sequence[Point]) -> bool:
    return all("ssimulacra2" in p for p in points)


def curve_of(points: Iterable[Point], measure: str = "psnr") -> list[tuple[float, float]]:
    return [(p["bpp"], p[measure]) for p in points]


def compare(test: Curve, anchors: Mapping[str, Curve]) -> list[dict[str, Any]]:
    """BD-rates against each anchor that overlaps, over WIDE and NARROW, with the PSNR that each is taken over."""
    return [row for name, anchor in anchors.items() if (row := _compared(name, anchor, test))]


def _compared(name: str, anchor: Curve, test: Curve) -> dict[str, Any] | None:
    try:
        low, high = overlap(anchor, test, WIDE)
        row: dict[str, Any] = {
            "anchor": name,
            "bd_rate": bd_rate(anchor, test, WIDE),
            "psnr_from": low,
            "psnr_to": high,
        }
        low, high = overlap(anchor, test)
        row |= {"narrow": bd_rate(anchor, test, qualities=NARROW)}
        row |= {"narrow_from": max(low, NARROW[0]), "narrow_to": min(high, NARROW[1])}
    except ValueError as error:
        print(f"no BD-rate against {name}: {error}")
        return None
    return {k: v if isinstance(v, str) else round(float(v), 2) for k, v in row.items()}


def falls(points: Sequence[Point]) -> list[str]:
    """Where rate or PSNR does not rise from one quality to the next, for the mean and for each image."""
    names = dict.fromkeys(p["image"] for p in points)
    curves = {"mean": mean_points(points)} | {n: mean_points([p for p in points if p["image"] == n]) for n in names}
    return [
        f"{name}: {what} does not rise from quality {a['quality']} to {b['quality']} ({a[key]:.4f} to {b[key]:.4f})"
        for name, curve in curves.items()
        for key, what in (("bpp", "rate"), ("psnr", "PSNR"))
        for a, b in pairwise(curve)
        if b[key] <= a[key]
    ]
