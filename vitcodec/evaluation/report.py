"""A Comparison for people and for programs: terminal table, Markdown, JSON, CSV. The page is made by page.py."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .comparison import MEASURES, BdRate, Comparison, Point
from .engine import Mean, Report, Row

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
    "encode_memory",
    "decode_memory",
)
RATED = ("quality", "bytes", "bpp", "PSNR", "SSIM", "MS-SSIM", "enc MP/s", "dec MP/s", "enc MB", "dec MB")
_UNRATED = ("PSNR", "SSIM", "MS-SSIM")


@dataclass(frozen=True)
class Section:
    """A table with a title. `text` is how many of its columns, from the left, hold text and not numbers."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: int = 1


def is_rated(comparison: Comparison) -> bool:
    """Whether files were measured, and not only pictures that others decoded."""
    return any(r.bytes is not None for report in comparison.reports for r in report.rows)


def sections(comparison: Comparison) -> list[Section]:
    """The images of the first codec, the means of all, and the BD-rates; those without rows are left out."""
    first, rated = comparison.reports[0], is_rated(comparison)
    headings = RATED if rated else _UNRATED
    names = shortened([r.file for r in first.rows])
    images = [(name, *figures(r, rated)) for name, r in zip(names, first.rows, strict=True)]
    means = [(r.codec, str(m.images), *figures(m, rated)) for r in comparison.reports for m in r.means()]
    several = len({r.file for r in first.rows}) > 1
    found = [
        *([Section(f"Images, {first.codec}", ("image", *headings), images)] if several else []),
        Section(
            "Means" if several else ", ".join(dict.fromkeys(names)) or "Means", ("codec", "images", *headings), means
        ),
        *(_bd_section(title, comparison.bd_rates(measure)) for measure, title in MEASURES.items()),
    ]
    return [s for s in found if s.rows]


def _bd_section(title: str, rates: list[BdRate]) -> Section:
    headings = ("codec", "against", "BD-rate", f"over {title} (dB)")
    rows = [(r.codec, r.anchor, percent(r), overlap_text(r)) for r in rates]
    return Section(f"BD-rate for {title}", headings, rows, 2)


def percent(rate: BdRate) -> str:
    return "-" if rate.percent is None else f"{rate.percent:+.1f} %"


def overlap_text(rate: BdRate) -> str:
    return rate.reason if rate.percent is None else f"{rate.low:.1f} to {rate.high:.1f}"


def to_table(comparison: Comparison) -> str:
    """For a terminal. Ends without a newline."""
    found = sections(comparison)
    if not found:
        return "no image was measured"
    return "\n".join(
        [*("\n".join([s.title, "", *_aligned(s), ""]) for s in found), *remarks(comparison), "", *_origin(comparison)]
    )


def _aligned(section: Section) -> list[str]:
    table = [section.headings, *section.rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(section.headings))]
    return [_line(row, widths, section.text) for row in (section.headings, ["-" * w for w in widths], *section.rows)]


def _line(cells: Sequence[str], widths: list[int], text: int) -> str:
    adjust: list[Callable[[str, int], str]] = [*[str.ljust] * text, *[str.rjust] * (len(widths) - text)]
    return "  ".join(a(c, w) for a, c, w in zip(adjust, cells, widths, strict=True)).rstrip()


def to_markdown(comparison: Comparison) -> str:
    """The same tables for a web page or an issue."""
    parts = [f"# {title_of(comparison)}", ""]
    for section in sections(comparison):
        parts += [f"## {section.title}", "", *markdown_table(section.headings, section.rows, section.text), ""]
    parts += [
        "## How it was measured",
        "",
        *(f"- {line}" for line in remarks(comparison)),
        *(f"- {line}" for line in _origin(comparison)),
        "",
    ]
    if failures := comparison.failures():
        parts += ["## Failures", "", *(f"- {_cell(f.message)}" for f in failures), ""]
    return "\n".join(parts)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> list[str]:
    """Lines of a Markdown table, numbers to the right."""
    lines = ["| " + " | ".join(map(_cell, cells)) + " |" for cells in (headings, *rows)]
    return [lines[0], "|" + "---|" * text + "---:|" * (len(headings) - text), *lines[1:]]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def title_of(comparison: Comparison) -> str:
    if comparison.title:
        return comparison.title
    count = len({r.file for report in comparison.reports for r in report.rows})
    return f"{comparison.reports[0].codec} on {count} {'image' if count == 1 else 'images'}"


def _origin(comparison: Comparison) -> list[str]:
    return [f"{key.capitalize()}: {value}" for key, value in comparison.provenance.items()]


def remarks(comparison: Comparison) -> list[str]:
    """How the figures are made, and which of them are missing and why."""
    means = [m for report in comparison.reports for m in report.means()]
    lines = _of_measures(comparison)
    if identical := max((m.identical for m in means), default=0):
        lines.append(
            f"PSNR: up to {identical} images came back identical (inf); they are left out of the mean unless all are."
        )
    if small := max((m.without_ms_ssim for m in means), default=0):
        lines.append(
            f"MS-SSIM needs sides of at least 176 pixels (SSIM 11): none for {small} images, which its mean leaves out."
        )
    if any(comparison.bd_rates(measure) for measure in MEASURES):
        lines += _of_comparison(comparison)
    return lines + [f"{r.codec}: {r.description}." for r in comparison.reports if r.description]


def _of_measures(comparison: Comparison) -> list[str]:
    if not is_rated(comparison):
        return [
            "PSNR in dB of 8-bit RGB per image; means count every image once. The pictures were decoded elsewhere: no rate and no times."
        ]
    first = comparison.reports[0]
    times = f"the median of {first.reps} runs" if first.reps > 1 else "one run"
    kind = "of the device" if first.device.startswith("cuda") else "of the process"
    return [
        "bpp: 8 x bytes on disk / pixels of the original; files hold colours only, no metadata and no alpha. PSNR in dB of 8-bit RGB per image. "
        "Means count every image once; bytes are the sum.",
        f"Times: {first.codec} on {first.device}, {times} after a warm-up, without loading the model or reading image files.",
        f"Memory: the most that encoding or decoding held at once, above what was held before, {kind} (MB of 10^6 bytes); - where unknown.",
    ]


def _of_comparison(comparison: Comparison) -> list[str]:
    lines = [
        "BD-rate: how many more or fewer bits a codec needs at equal quality, by PCHIP on log rate, over the range of quality that both mean curves "
        "cover; negative is better. MS-SSIM as -10 log10(1 - MS-SSIM)."
    ]
    everything = {r.file for report in comparison.reports for r in report.rows}
    if missing := len(everything) - len(comparison.complete()):
        lines.append(
            f"Curves and BD-rates leave out {missing} of {len(everything)} images, which not every codec did at every quality."
        )
    if comparison.published:
        names = ", ".join(p.name for p in comparison.published)
        lines.append(f"Published, not measured here, and right to compare with on the same images only: {names}.")
    return lines


def row_record(row: Row, codec: str) -> dict[str, Any]:
    """One image at one quality as a JSON object. PSNR is inf where `identical` is true, SSIM and MS-SSIM are NaN for small images."""
    return {"codec": codec, **_row(row), "identical": math.isinf(row.psnr)}


def summary(comparison: Comparison) -> dict[str, Any]:
    """Everything but the rows, for JSON: how it was measured, means, curves and BD-rates."""
    return {
        "provenance": comparison.provenance,
        "codecs": [_codec(r) for r in comparison.reports],
        "curves": {
            measure: {name: [_point(p) for p in points] for name, points in comparison.curves(measure).items()}
            for measure in MEASURES
        },
        "bd_rates": [vars(rate) for measure in MEASURES for rate in comparison.bd_rates(measure)],
        "remarks": remarks(comparison),
    }


def _codec(report: Report) -> dict[str, Any]:
    return {
        "codec": report.codec,
        "description": report.description,
        "device": report.device,
        "qualities": list(report.qualities),
        "reps": report.reps,
        "means": [vars(m) for m in report.means()],
    }


def _point(point: Point) -> dict[str, Any]:
    return {"quality": point.quality, "bpp": point.bpp, "value": point.value}


def to_csv(comparison: Comparison) -> str:
    """A heading and one line per codec, image and quality; inf for the PSNR of identical images, an empty cell for a figure that does not exist.

    Every line says where it comes from, so that tables of several runs can be put together.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ("codec", *_FIELDS, *comparison.provenance), lineterminator="\n")
    writer.writeheader()
    for report in comparison.reports:
        for row in report.rows:
            cells = {k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in _row(row).items()}
            writer.writerow({"codec": report.codec, **cells, **comparison.provenance})
    return buffer.getvalue()


def _row(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FIELDS}


def shortened(files: list[str]) -> list[str]:
    """Without the folder that all share."""
    paths = [os.path.abspath(f) for f in files]
    try:
        folder = os.path.commonpath([os.path.dirname(p) for p in paths])
    except ValueError:  # no file, or several drives
        return files
    return [os.path.relpath(p, folder) for p in paths]


def figures(r: Row | Mean, rated: bool = True) -> tuple[str, ...]:
    """The figures of RATED, or those of them that pictures without files have."""
    measures = ("inf" if math.isinf(r.psnr) else f"{r.psnr:.2f}", *(_number(v, 4) for v in (r.ssim, r.ms_ssim)))
    if not rated:
        return measures
    rates = (quality_text(r.quality), "-" if r.bytes is None else f"{r.bytes:,}", _number(r.bpp, 4))
    return (
        *rates,
        *measures,
        _number(r.encode_mps, 2),
        _number(r.decode_mps, 2),
        _megabytes(r.encode_memory),
        _megabytes(r.decode_memory),
    )


def quality_text(quality: float | None) -> str:
    return "-" if quality is None else f"{quality:.4g}"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _megabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.{1 if count < 9.95e6 else 0}f}"
