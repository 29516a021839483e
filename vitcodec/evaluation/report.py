"""A Comparison for people and for programs: terminal table, Markdown, JSON, CSV. The page is made by page.py."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .columns import columns, quality_text
from .comparison import BdRate, Comparison, Point
from .measures import LOSSLESS, MEASURES, PLOTTED
from .results import Mean, Report, Row
from .verdict import verdict

# the same columns whatever was measured, so that tables of several runs can be put together
_FIELDS = (
    *("codec", "file", "quality", "width", "height", "bytes", "bpp", *MEASURES),
    *("encode_seconds", "decode_seconds", "encode_mps", "decode_mps", "encode_memory", "decode_memory"),
)


@dataclass(frozen=True)
class Section:
    """A table with a title. `text` is how many of its columns, from the left, hold text and not numbers."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: int = 1


def has_files(comparison: Comparison) -> bool:
    """Whether files were measured, and not only pictures that were decoded elsewhere."""
    return any(r.bytes is not None for report in comparison.reports for r in report.rows)


def sections(comparison: Comparison) -> list[Section]:
    """The images of the first codec, the means of all, and the BD-rates, as far as they have rows."""
    first, shown = comparison.reports[0], columns(comparison.measured, has_files(comparison))
    headings = [c.heading for c in shown]
    names = shortened([r.file for r in first.rows])
    images = [(name, *(c.text(r) for c in shown)) for name, r in zip(names, first.rows, strict=True)]
    means = [(r.codec, str(m.images), *(c.text(m) for c in shown)) for r in comparison.reports for m in r.means()]
    several = len({r.file for r in first.rows}) > 1
    title = "Means" if several else ", ".join(dict.fromkeys(names)) or "Means"
    found = [
        *([Section(f"Images, {first.codec}", ("image", *headings), images)] if several else []),
        Section(title, ("codec", "images", *headings), means),
        *(_bd_section(measure, comparison.bd_rates(measure)) for measure in comparison.plotted),
    ]
    return [s for s in found if s.rows]


def _bd_section(key: str, rates: list[BdRate]) -> Section:
    measure, axis = PLOTTED[key]
    headings = ("codec", "against", "BD-rate", f"over {measure.title}" + (f" ({axis.unit})" if axis.unit else ""))
    rows = [(r.codec, r.anchor, percent(r), overlap_text(r)) for r in rates]
    return Section(f"BD-rate for {measure.title}", headings, rows, 2)


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
    """How the figures were made, and why some have no value."""
    means = [m for report in comparison.reports for m in report.means()]
    lines = _of_measures(comparison)
    if identical := max((m.identical for m in means), default=0):
        lines.append(
            f"PSNR: up to {identical} {'image' if identical == 1 else 'images'} came back identical ({LOSSLESS}); "
            "the mean is without them unless all are."
        )
    for key, measure in MEASURES.items():
        if small := max((m.without.get(key, 0) for m in means), default=0):
            lines.append(
                f"{measure.title} needs sides of at least {measure.smallest_side} pixels: "
                f"none for {small} images, and the mean is without them."
            )
    lines += not_in_curves(comparison)
    if any(comparison.bd_rates(measure) for measure in comparison.plotted):
        lines += _of_comparison(comparison)
    return lines + [f"{r.codec}: {r.description}." for r in comparison.reports if r.description]


def _of_measures(comparison: Comparison) -> list[str]:
    if not any(report.rows for report in comparison.reports):
        return []
    if not has_files(comparison):
        return [
            "PSNR in dB of 8-bit RGB per image; means count every image once. "
            "The pictures were decoded elsewhere: no rate and no times."
        ]
    first = comparison.reports[0]
    times = f"the median of {first.reps} runs" if first.reps > 1 else "one run"
    kind = "of the device" if first.device.startswith("cuda") else "of the process"
    return [
        "bpp: 8 x bytes on disk / pixels of the original; files hold colours only, no metadata and no alpha. "
        "PSNR in dB of 8-bit RGB per image. Means count every image once; bytes are the sum.",
        f"Times: {first.codec} on {first.device}, {times} after a warm-up, "
        "without loading the model or reading image files.",
        "Memory: the most that encoding or decoding held at once, above what was held before, "
        f"{kind} (MB of 10^6 bytes); - where unknown.",
    ]


def not_in_curves(comparison: Comparison) -> list[str]:
    """What curves and BD-rates leave out because it is lossless."""
    curves = comparison.curves("psnr")
    if not any(len(points) > 1 for points in curves.values()):
        return []
    coverage, lines = comparison.coverage(), []
    if coverage.lossless_files:
        names = ", ".join(shortened(coverage.lossless_files)[:3]) + (
            ", ..." if len(coverage.lossless_files) > 3 else ""
        )
        lines.append(
            f"Curves and BD-rates are without {len(coverage.lossless_files)} of {len(comparison.complete())} images, "
            f"which a codec stored without loss, so that they have no PSNR: {names}."
        )
    for codec in dict.fromkeys(codec for codec, _ in coverage.lossless_points):
        qualities = ", ".join(quality_text(q) for c, q in coverage.lossless_points if c == codec)
        lines.append(f"{codec} is lossless at quality {qualities}: curves and BD-rates have no such point.")
    return lines


def _of_comparison(comparison: Comparison) -> list[str]:
    axes = [PLOTTED[key][1] for key in comparison.plotted]
    scales = "".join(f" {axis.scale_text}." for axis in axes if axis.scale_text)
    lines = [
        "BD-rate: how many more or fewer bits a codec needs at equal quality, by PCHIP on log rate, "
        f"over the range of quality that both mean curves cover; negative is better.{scales}"
    ]
    everything = {r.file for report in comparison.reports for r in report.rows}
    if incomplete := len(everything) - len(comparison.complete()):
        lines.append(
            f"Curves and BD-rates are without {incomplete} of {len(everything)} images, "
            "which not every codec did at every quality."
        )
    if comparison.published:
        names = ", ".join(p.name for p in comparison.published)
        lines.append(f"Published, not measured here, and right to compare with on the same images only: {names}.")
    return lines


def row_record(row: Row, codec: str) -> dict[str, Any]:
    """One image at one quality as a JSON object: PSNR is inf where `identical`, a measure NaN where it has no value.

    Measures that were not taken are left out.
    """
    return {**_row(row, codec), "identical": row.identical}


def summary(comparison: Comparison) -> dict[str, Any]:
    """Everything but the rows, for JSON: how it was measured, means, curves, BD-rates, and `compare`'s verdict."""
    found = verdict(comparison)
    return {
        **({"verdict": found.record()} if found else {}),
        "provenance": comparison.provenance,
        "codecs": [_codec(r) for r in comparison.reports],
        "curves": {
            measure: {name: [_point(p) for p in points] for name, points in comparison.curves(measure).items()}
            for measure in comparison.plotted
        },
        "bd_rates": [vars(rate) for measure in comparison.plotted for rate in comparison.bd_rates(measure)],
        "remarks": remarks(comparison),
    }


def _codec(report: Report) -> dict[str, Any]:
    return {
        "codec": report.codec,
        "description": report.description,
        "device": report.device,
        "qualities": list(report.qualities),
        "reps": report.reps,
        "means": [_mean(m) for m in report.means()],
    }


def _mean(mean: Mean) -> dict[str, Any]:
    flat = {"values": mean.values, "without": {f"without_{key}": count for key, count in mean.without.items()}}
    return {k: v for name, value in vars(mean).items() for k, v in flat.get(name, {name: value}).items()}


def _point(point: Point) -> dict[str, Any]:
    return {"quality": point.quality, "bpp": point.bpp, "value": point.value}


def to_csv(comparison: Comparison) -> str:
    """A heading and one line per codec, image and quality.

    PSNR is inf for identical images, and a cell is empty where there is no figure. Every line says where it comes from,
    so that tables of several runs can be put together.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, (*_FIELDS, *comparison.provenance), lineterminator="\n")
    writer.writeheader()
    for report in comparison.reports:
        for row in report.rows:
            record = _row(row, report.codec)
            cells = {k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()}
            writer.writerow({**cells, **comparison.provenance})
    return buffer.getvalue()


def _row(row: Row, codec: str) -> dict[str, Any]:
    found = {"codec": codec, **row.values}
    fields = [name for name in _FIELDS if name in row.values or name not in MEASURES]
    return {name: found[name] if name in found else getattr(row, name) for name in fields}


def shortened(files: list[str]) -> list[str]:
    """Paths without the folder that all share."""
    paths = [os.path.abspath(f) for f in files]
    try:
        folder = os.path.commonpath([os.path.dirname(p) for p in paths])
    except ValueError:  # no file, or several drives
        return files
    return [os.path.relpath(p, folder) for p in paths]
