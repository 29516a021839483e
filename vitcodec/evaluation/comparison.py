"""Several codecs on the same images: their mean curves, and BD-rates between them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .bdrate import bd_rate, overlap
from .measures import PLOTTED
from .published import Published
from .results import Failure, Report, Row, measured


@dataclass(frozen=True)
class Point:
    """A mean over images."""

    bpp: float
    value: float  # on the axis of the measure; see measures.py
    mean: float  # the measure itself
    quality: float | None = None  # on the codec's own scale; None on published curves


@dataclass(frozen=True)
class BdRate:
    codec: str
    anchor: str
    measure: str  # a key of PLOTTED
    percent: float | None  # None: the curves cannot be compared; `reason` says why
    low: float  # the range over which it is taken, on the axis of the measure
    high: float
    reason: str = ""


@dataclass(frozen=True)
class Coverage:
    """What curves are over. A picture that came back identical has no PSNR, so that it is no part of a mean of them."""

    files: list[str]  # those that every codec did, without the lossless ones
    lossless_files: list[str]  # left out: some codec stored them without loss where it did not store all of them so
    lossless_points: list[tuple[str, float | None]]  # (codec, quality) at which all came back identical: no points


@dataclass
class Comparison:
    """What one run measured, vitcodec first if it is among the codecs, and what that is compared with."""

    reports: list[Report]
    provenance: dict[str, str]
    published: list[Published] = field(default_factory=list)
    anchors: Sequence[str] | None = None  # names of codecs and published curves; None: all but the first codec
    unreadable: list[Failure] = field(default_factory=list)  # inputs that could not even be tried
    title: str = ""  # for a page
    at_equal_size: bool = False  # one image, of which every codec was to make a file as large as the first codec's

    @property
    def measured(self) -> list[str]:
        """The keys of the measures that were taken, in the order of their table."""
        return measured(r for report in self.reports for r in report.rows)

    @property
    def plotted(self) -> list[str]:
        """Those of them that have curves and BD-rates."""
        return [key for key in self.measured if key in PLOTTED]

    def failures(self) -> list[Failure]:
        """Each once: a file that cannot be read fails for every codec alike."""
        found = [*self.unreadable, *(f for r in self.reports for f in r.failures)]
        return list({(f.message, f.quality, f.codec if f.quality is not None else ""): f for f in found}.values())

    def complete(self) -> list[str]:
        """The files to compare codecs on: those that every codec did at every quality at which it did any."""
        done = [{(r.file, r.quality) for r in report.rows} for report in self.reports]
        files = dict.fromkeys(r.file for report in self.reports for r in report.rows)
        return [f for f in files if all((f, q) in d for d in done for q in {q for _, q in d})]

    def coverage(self) -> Coverage:
        """Which files and points curves have.

        One screenshot that is stored without loss at every quality must not take all points from the photographs beside
        it, nor may a quality at which everything is lossless take all files: so points go first, then files.
        """
        files = self.complete()
        points: dict[tuple[str, float | None], list[Row]] = {
            (report.codec, r.quality): [] for report in self.reports for r in report.rows
        }
        for report in self.reports:
            for row in report.rows:
                if row.file in files:
                    points[report.codec, row.quality].append(row)
        lossless = [point for point, rows in points.items() if rows and all(r.identical for r in rows)]
        out = {r.file for point, rows in points.items() if point not in lossless for r in rows if r.identical}
        return Coverage([f for f in files if f not in out], [f for f in files if f in out], lossless)

    def curves(self, measure: str) -> dict[str, list[Point]]:
        """Mean points by name of codec or published curve, in order of rising rate, for those that have any.

        measure: a key of PLOTTED. The means are over the files of the coverage that all have the measure (small ones
        have no MS-SSIM).
        """
        rows = {report.codec: report.rows for report in self.reports}
        files = set(self.coverage().files)
        files -= {r.file for report in self.reports for r in report.rows if math.isnan(r.values[measure])}
        curves = {name: _points([r for r in found if r.file in files], measure) for name, found in rows.items()}
        for entry in self.published:
            points = [_point(bpp, value, measure) for bpp, value in entry.curves.get(measure, ())]
            curves.setdefault(entry.name, _sorted(points))
        return {name: points for name, points in curves.items() if points}

    def bd_rates(self, measure: str) -> list[BdRate]:
        """Every measured codec against every other that is an anchor, for those with more than one point."""
        curves = {name: points for name, points in self.curves(measure).items() if len(points) > 1}
        anchors = (
            [n for n in curves if n != self.reports[0].codec]
            if self.anchors is None
            else [n for n in self.anchors if n in curves]
        )
        codecs = [r.codec for r in self.reports if r.codec in curves]
        return [_bd_rate(codec, anchor, measure, curves) for codec in codecs for anchor in anchors if anchor != codec]


def _points(rows: list[Row], measure: str) -> list[Point]:
    groups = {q: [r for r in rows if r.quality == q] for q in dict.fromkeys(r.quality for r in rows)}
    return _sorted(
        [
            _point(statistics.fmean(r.bpp for r in g), statistics.fmean(r.values[measure] for r in g), measure, q)
            for q, g in groups.items()
        ]
    )


def _point(bpp: float, mean: float, measure: str, quality: float | None = None) -> Point:
    _, axis = PLOTTED[measure]
    return Point(bpp, axis.place(mean), mean, quality)


def _sorted(points: list[Point]) -> list[Point]:
    """Those that are a point of a curve: identical images have infinite PSNR, pictures without files have no rate."""
    return sorted((p for p in points if math.isfinite(p.bpp) and math.isfinite(p.value)), key=lambda p: p.bpp)


def _bd_rate(codec: str, anchor: str, measure: str, curves: dict[str, list[Point]]) -> BdRate:
    one, other = ([(p.bpp, p.value) for p in curves[name]] for name in (anchor, codec))
    try:
        percent, (low, high) = bd_rate(one, other), overlap(one, other)
    except ValueError as error:
        return BdRate(codec, anchor, measure, None, math.nan, math.nan, str(error))
    return BdRate(codec, anchor, measure, percent, float(low), float(high))
