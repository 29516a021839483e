"""A Report for people and for programs: terminal table, JSON, CSV."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from .engine import Mean, Report, Row

_HEADINGS = ("image", "quality", "bytes", "bpp", "PSNR", "SSIM", "MS-SSIM", "enc MP/s", "dec MP/s")
_FIELDS = (
    "file",
    "quality",
    "width",
    "height",
    "bytes",
    "bpp",
    "psnr",
    "ssim",
    "ms_ssim",
    "encode_seconds",
    "decode_seconds",
    "encode_mps",
    "decode_mps",
)


def to_table(report: Report) -> str:
    """Rows per image, then the means per quality, then what the figures mean. Ends without a newline."""
    cells = [(name, *_figures(r)) for name, r in zip(_shortened([r.file for r in report.rows]), report.rows, strict=True)]
    means = report.means()
    totals = [(f"mean of {m.images}", *_figures(m)) for m in means]
    widths = [max(len(row[i]) for row in (_HEADINGS, *cells, *totals)) for i in range(len(_HEADINGS))]
    rule = ["-" * w for w in widths]
    lines = [_line(row, widths) for row in (_HEADINGS, rule, *cells, rule, *totals)] if cells else []
    return "\n".join([*lines, "", *remarks(report)] if lines else ["no image was measured"])


def remarks(report: Report) -> list[str]:
    """How the figures are made, and which of them are missing and why."""
    times = f"the median of {report.repeat} runs" if report.repeat > 1 else "one run"
    lines = [
        "bpp: 8 x bytes on disk / pixels of the original. PSNR in dB of 8-bit RGB per image. Means count every image once; bytes are the sum.",
        f"Times: {report.codec} on {report.device}, {times} after a warm-up, without loading the model or reading image files.",
    ]
    means = report.means()
    if identical := max((m.identical for m in means), default=0):
        lines.append(f"PSNR: up to {identical} images came back identical (inf); they are left out of the mean unless all are.")
    if small := max((m.without_ms_ssim for m in means), default=0):
        lines.append(f"MS-SSIM needs sides of at least 176 pixels (SSIM 11): none for {small} images, which its mean leaves out.")
    return lines


def row_record(row: Row) -> dict[str, Any]:
    """One image at one quality as a JSON object. PSNR is inf where `identical` is true, SSIM and MS-SSIM are NaN for small images."""
    return _row(row) | {"identical": math.isinf(row.psnr)}


def summary(report: Report) -> dict[str, Any]:
    """Everything but the rows, for JSON: how it was measured, and the means per quality."""
    return {
        "codec": report.codec,
        "device": report.device,
        "qualities": list(report.qualities),
        "repeat": report.repeat,
        "means": [vars(m) for m in report.means()],
        "remarks": remarks(report),
    }


def to_csv(report: Report) -> str:
    """A heading and one line per image and quality; inf for the PSNR of identical images, an empty cell for a figure that does not exist."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in report.rows:
        writer.writerow({k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in _row(row).items()})
    return buffer.getvalue()


def _row(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FIELDS}


def _shortened(files: list[str]) -> list[str]:
    """Without the folder that all share."""
    paths = [os.path.abspath(f) for f in files]
    try:
        folder = os.path.commonpath([os.path.dirname(p) for p in paths])
    except ValueError:  # no file, or several drives
        return files
    return [os.path.relpath(p, folder) for p in paths]


def _figures(r: Row | Mean) -> tuple[str, ...]:
    return (
        str(r.quality),
        f"{r.bytes:,}",
        f"{r.bpp:.4f}",
        "inf" if math.isinf(r.psnr) else f"{r.psnr:.2f}",
        *("-" if math.isnan(v) else f"{v:.4f}" for v in (r.ssim, r.ms_ssim)),
        f"{r.encode_mps:.2f}",
        f"{r.decode_mps:.2f}",
    )


def _line(cells: Sequence[str], widths: list[int]) -> str:
    adjust: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(widths) - 1)]
    return "  ".join(a(c, w) for a, c, w in zip(adjust, cells, widths, strict=True)).rstrip()
