"""A Comparison as one HTML file that asks for nothing else: its style, script, plots and pictures are inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import report
from .attention import RAMP, AttentionView, overlays
from .columns import Column, columns, quality_text
from .comparison import BdRate, Comparison, Point
from .measures import PLOTTED
from .pictures import Scene, shown_quality, worst_first
from .plot import COLOURS, rate_distortion_svg
from .results import Mean, Row
from .verdict import SAME_SIZE, verdict


def to_html(
    comparison: Comparison,
    scenes: Sequence[Scene],
    title: str | None = None,
    attention: AttentionView | None = None,
) -> str:
    """The page. scenes: the images to show, worst first. attention: what models attend to in the image, or None."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vitcodec.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["include_raw"] = lambda name: (
        environment.loader.get_source(environment, name)[0] if environment.loader else ""
    )
    shown = columns(comparison.measured, report.has_files(comparison))
    return environment.get_template("report.html").render(
        title=title or report.title_of(comparison),
        comparison=comparison,
        codecs=[r.codec for r in comparison.reports],
        verdict=verdict(comparison),
        same_size=round(100 * math.expm1(SAME_SIZE)),
        verdicts=verdicts(comparison),
        not_in_curves=report.not_in_curves(comparison),
        plots=[p for measure in comparison.plotted if (p := _plot(comparison, measure))],
        legend=_legend(comparison),
        matrices=[m for measure in comparison.plotted if (m := _matrix(comparison, measure))],
        one_image=len({row.file for r in comparison.reports for row in r.rows}) == 1,
        has_files=report.has_files(comparison),
        headings=[c.heading for c in shown],
        means=[(r.codec, i, m, _cells(shown, m)) for i, r in enumerate(comparison.reports) for m in r.means()],
        rows=_rows(comparison, shown),
        quality=quality_text(shown_quality(comparison)),
        scenes=scenes,
        attention=attention,
        overlays=overlays,
        ramp=", ".join(f"rgb({r}, {g}, {b})" for r, g, b in RAMP),
        quality_text=quality_text,
        numbers=_numbers,
        remarks=report.remarks(comparison),
        failures=comparison.failures(),
    )


def verdicts(comparison: Comparison) -> list[str]:
    """The first codec against every other in a sentence each, the strongest first: BD-rate for PSNR."""
    first = comparison.reports[0].codec
    rates = [r for r in comparison.bd_rates("psnr") if r.codec == first and r.percent is not None]
    rates.sort(key=_strength)
    return [
        f"{abs(r.percent or 0):.0f} % {'fewer' if (r.percent or 0) < 0 else 'more'} bits than {r.anchor}" for r in rates
    ]


def _strength(rate: BdRate) -> float:
    """To sort the first codec's BD-rates by: the anchor that it gains least on comes first, what has no figure last."""
    return math.inf if rate.percent is None else -rate.percent


def _plot(comparison: Comparison, key: str) -> dict[str, str] | None:
    measure, axis = PLOTTED[key]
    curves = comparison.curves(key)
    if not any(len(points) > 1 for points in curves.values()):
        return None
    drawn = {name: [(p.bpp, p.value) for p in curves.get(name, [])] for name in _names(comparison)}
    labels = {name: [_label(p, key) for p in curves.get(name, [])] for name in drawn}
    svg = rate_distortion_svg(drawn, "", None, axis.title, labels, key=False)
    return {"name": measure.title, "axis": axis.title, "svg": svg}


def _label(point: Point, key: str) -> str:
    measure, axis = PLOTTED[key]
    placed = f" ({point.value:.2f} {axis.unit})" if axis.scale else ""
    quality = "" if point.quality is None else f"quality {quality_text(point.quality)}: "
    return f"{quality}{point.bpp:.4g} bpp, {measure.text(point.mean)}{placed}"


def _names(comparison: Comparison) -> list[str]:
    """Codecs and published curves that have a curve in some measure, in the order of their colours."""
    return list(dict.fromkeys([*(r.codec for r in comparison.reports), *(p.name for p in comparison.published)]))


def _legend(comparison: Comparison) -> list[tuple[str, int, int]]:
    """(name, number of its curve, number of its colour)"""
    return [(name, i, i % len(COLOURS)) for i, name in enumerate(_names(comparison))]


def _matrix(comparison: Comparison, key: str) -> dict[str, Any] | None:
    """BD-rates with codecs down and anchors across, the strongest anchor first."""
    measure, axis = PLOTTED[key]
    rates = comparison.bd_rates(key)
    if not rates:
        return None
    cells = {(r.codec, r.anchor): (report.percent(r), report.overlap_text(r), r.percent) for r in rates}
    codecs = list(dict.fromkeys(r.codec for r in rates))
    ranked = sorted((r for r in rates if r.codec == codecs[0]), key=_strength)
    anchors = list(dict.fromkeys(r.anchor for r in (*ranked, *rates)))
    return {"name": measure.title, "unit": axis.unit, "codecs": codecs, "anchors": anchors, "cells": cells}


def _rows(comparison: Comparison, shown: list[Column]) -> list[dict[str, Any]]:
    """The table of images: all codecs and qualities; first the rows that the page has pictures of, the worst on top."""
    worst = worst_first(comparison)
    first = comparison.reports[0]
    names = dict(zip((r.file for r in first.rows), report.shortened([r.file for r in first.rows]), strict=True))
    order = [(first.codec, 0, row) for row in worst]
    order += [(r.codec, i, row) for i, r in enumerate(comparison.reports) for row in r.rows if i or row not in worst]
    numbers = {row.file: i for i, row in enumerate(worst, 1)}
    return [
        {
            "name": names.get(row.file, row.file),
            "codec": codec,
            "index": index,
            "scene": numbers.get(row.file, math.inf),
            "quality": quality_text(row.quality),
            "cells": _cells(shown, row),
        }
        for codec, index, row in order
    ]


def _cells(shown: list[Column], result: Row | Mean) -> list[tuple[str, str]]:
    """The text of every column, and the number that it is sorted by as a script reads it, or ""."""
    return [(column.text(result), _script_number(column.sort_key(result))) for column in shown]


def _script_number(value: float | None) -> str:
    return "" if value is None else "Infinity" if value == math.inf else repr(value)


def _numbers(row: Row) -> str:
    """Beside a picture."""
    rate = "" if row.bytes is None else f"{row.bytes:,} bytes, {row.bpp:.3g} bpp, "
    shown = [(PLOTTED[key][0], value) for key, value in row.values.items() if key in PLOTTED]
    return rate + ", ".join(m.text(value) for m, value in shown if not math.isnan(value))
