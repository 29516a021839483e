"""A Comparison as one HTML file that asks for nothing else: its style, script, plots and pictures are inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import report
from .comparison import MEASURES, BdRate, Comparison, Point
from .engine import Row
from .pictures import Scene, shown_quality, worst_first
from .plot import COLOURS, rate_distortion_svg

_AXES = {"psnr": "PSNR of RGB in dB", "ms_ssim": "MS-SSIM in dB"}


def to_html(comparison: Comparison, scenes: Sequence[Scene], title: str | None = None) -> str:
    """The page. scenes: the images to show, worst first."""
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
    return environment.get_template("report.html").render(
        title=title or report.title_of(comparison),
        comparison=comparison,
        codecs=[r.codec for r in comparison.reports],
        verdicts=verdicts(comparison),
        plots=[p for measure in MEASURES if (p := _plot(comparison, measure))],
        legend=_legend(comparison),
        matrices=[m for measure, name in MEASURES.items() if (m := _matrix(comparison.bd_rates(measure), name))],
        rated=report.is_rated(comparison),
        headings=report.RATED,
        means=[(r.codec, i, m, report.figures(m)) for i, r in enumerate(comparison.reports) for m in r.means()],
        rows=_rows(comparison),
        quality=report.quality_text(shown_quality(comparison)),
        scenes=scenes,
        numbers=_numbers,
        remarks=report.remarks(comparison),
        failures=comparison.failures(),
    )


def verdicts(comparison: Comparison) -> list[str]:
    """The first codec against every other in a sentence each: BD-rate for PSNR."""
    first = comparison.reports[0].codec
    rates = [r for r in comparison.bd_rates("psnr") if r.codec == first and r.percent is not None]
    return [
        f"{abs(r.percent or 0):.0f} % {'fewer' if (r.percent or 0) < 0 else 'more'} bits than {r.anchor}" for r in rates
    ]


def _plot(comparison: Comparison, measure: str) -> dict[str, str] | None:
    curves = comparison.curves(measure)
    if not any(len(points) > 1 for points in curves.values()):
        return None
    drawn = {name: [(p.bpp, p.value) for p in curves.get(name, [])] for name in _names(comparison)}
    labels = {name: [_label(p, measure) for p in curves.get(name, [])] for name in drawn}
    return {
        "name": MEASURES[measure],
        "axis": _AXES[measure],
        "svg": rate_distortion_svg(drawn, "", None, _AXES[measure], labels, key=False),
    }


def _label(point: Point, measure: str) -> str:
    value = (
        f"{point.value:.2f} dB"
        if measure == "psnr"
        else f"MS-SSIM {1 - 10 ** (-point.value / 10):.4f} ({point.value:.2f} dB)"
    )
    quality = "" if point.quality is None else f"quality {report.quality_text(point.quality)}: "
    return f"{quality}{point.bpp:.4g} bpp, {value}"


def _names(comparison: Comparison) -> list[str]:
    """Codecs and published curves that have a curve in some measure, in the order of their colours."""
    return list(dict.fromkeys([*(r.codec for r in comparison.reports), *(p.name for p in comparison.published)]))


def _legend(comparison: Comparison) -> list[tuple[str, int, int]]:
    """(name, number of its curve, number of its colour)"""
    return [(name, i, i % len(COLOURS)) for i, name in enumerate(_names(comparison))]


def _matrix(rates: list[BdRate], name: str) -> dict[str, Any] | None:
    """Codecs down, anchors across."""
    if not rates:
        return None
    cells = {(r.codec, r.anchor): (report.percent(r), report.overlap_text(r), r.percent) for r in rates}
    codecs, anchors = (list(dict.fromkeys(names)) for names in ([r.codec for r in rates], [r.anchor for r in rates]))
    return {"name": name, "codecs": codecs, "anchors": anchors, "cells": cells}


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The table of images: all codecs and qualities, and those first that the page shows, the worst on top."""
    shown = worst_first(comparison)
    first = comparison.reports[0]
    names = dict(zip((r.file for r in first.rows), report.shortened([r.file for r in first.rows]), strict=True))
    order = [(first.codec, 0, row) for row in shown]
    order += [(r.codec, i, row) for i, r in enumerate(comparison.reports) for row in r.rows if i or row not in shown]
    numbers = {row.file: i for i, row in enumerate(shown, 1)}
    return [
        {
            "name": names.get(row.file, row.file),
            "codec": codec,
            "index": index,
            "scene": numbers.get(row.file, math.inf),
            "quality": report.quality_text(row.quality),
            "cells": list(zip(report.figures(row), _values(row), strict=True)),
        }
        for codec, index, row in order
    ]


def _values(r: Row) -> tuple[float | None, ...]:
    """What the cells of `figures` are sorted by."""
    values = (
        r.quality,
        r.bytes,
        r.bpp,
        r.psnr,
        r.ssim,
        r.ms_ssim,
        r.encode_mps,
        r.decode_mps,
        r.encode_memory,
        r.decode_memory,
    )
    return tuple(None if v is None or math.isnan(v) else v for v in values)


def _numbers(row: Row) -> str:
    """Beside a picture."""
    rate = "" if row.bytes is None else f"{row.bytes:,} bytes, {row.bpp:.3g} bpp, "
    psnr = "identical" if math.isinf(row.psnr) else f"{row.psnr:.2f} dB"
    return f"{rate}{psnr}" + ("" if math.isnan(row.ms_ssim) else f", MS-SSIM {row.ms_ssim:.4f}")
