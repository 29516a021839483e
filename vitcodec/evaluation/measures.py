"""The measures of a decoded picture against its original: the table that every part of a report is made from.

A new measure is a new entry of MEASURES. Rows and means, tables, CSV, JSON, curves, BD-rates, the page and --metrics
take it from there; docs/reports.md says it to the reader. All measures are of 8-bit RGB, and higher is better. PSNR is
always measured, as it tells which pictures are identical; the others may be left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import metrics, ssimulacra2
from ..errors import UsageError
from ..suggestions import advice

LOSSLESS = "lossless"


@dataclass(frozen=True)
class Axis:
    """How a measure is plotted, and interpolated for BD-rates: on a scale on which curves are about straight."""

    title: str
    unit: str = ""
    scale: Callable[[float], float] | None = None  # from a value to its place on the axis; None: as it is
    scale_text: str = ""  # the same in words

    def place(self, value: float) -> float:
        return self.scale(value) if self.scale else value


@dataclass(frozen=True)
class Measure:
    key: str  # in CSV and JSON, and in files of published curves
    title: str
    compute: Callable[[np.ndarray, np.ndarray], float]  # original and decoded, (H, W, 3) uint8; NaN if too small
    digits: int  # after the point
    unit: str = ""
    smallest_side: int = 1  # pixels; smaller images have no value
    axis: Axis | None = None  # None: tables only, no curve and no BD-rate
    aliases: tuple[str, ...] = ()  # other names in files of published curves

    @property
    def name(self) -> str:
        """As users type it: "ms-ssim"."""
        return self.key.replace("_", "-")

    def number(self, value: float) -> str:
        """In a table: "-" where there is no value, "lossless" for the infinite PSNR of identical pictures."""
        if math.isinf(value):
            return LOSSLESS
        return "-" if math.isnan(value) else f"{value:.{self.digits}f}"

    def text(self, value: float) -> str:
        """In a sentence: "33.12 dB", "MS-SSIM 0.9812"."""
        if math.isinf(value):
            return LOSSLESS
        return f"{self.number(value)} {self.unit}" if self.unit else f"{self.title} {self.number(value)}"


_TABLE = (
    Measure(
        "psnr",
        "PSNR",
        metrics.psnr,
        digits=2,
        unit="dB",
        axis=Axis("PSNR of RGB in dB", "dB"),
        aliases=("psnr_rgb", "psnr-rgb"),
    ),
    Measure("ssim", "SSIM", metrics.ssim, digits=4, smallest_side=metrics.SSIM_SIDE),
    Measure(
        "ms_ssim",
        "MS-SSIM",
        metrics.ms_ssim,
        digits=4,
        smallest_side=metrics.MS_SSIM_SIDE,
        axis=Axis("MS-SSIM in dB", "dB", metrics.ms_ssim_decibels, "MS-SSIM as -10 log10(1 - MS-SSIM)"),
        aliases=("ms-ssim", "ms-ssim-rgb"),
    ),
    Measure(
        "ssimulacra2",
        "SSIMULACRA2",
        ssimulacra2.ssimulacra2,
        digits=2,
        smallest_side=ssimulacra2.SIDE,
        axis=Axis("SSIMULACRA2"),
    ),
)
MEASURES = {m.key: m for m in _TABLE}
PLOTTED: dict[str, tuple[Measure, Axis]] = {m.key: (m, m.axis) for m in _TABLE if m.axis}


ALL = "all"
NAMES = (*(m.name for m in _TABLE), ALL)


def choose(names: Sequence[str]) -> list[str]:
    """The keys of these names, or keys, in the order of the table, with PSNR. Raises UsageError for an unknown name."""
    if not names:
        raise UsageError(f"no metric is named; give {', '.join(NAMES[:-1])} or {ALL}")
    for name in names:
        if name.replace("_", "-") not in NAMES:
            raise UsageError(f"unknown metric '{name}'; {advice(name, NAMES)}")
    return [key for key, m in MEASURES.items() if key == "psnr" or {key, m.name, ALL} & set(names)]


def compute(original: np.ndarray, decoded: np.ndarray, keys: Iterable[str]) -> dict[str, float]:
    """Measures by their keys, of two arrays (H, W, 3) uint8. Raises ValueError for arrays of different shapes."""
    return {key: MEASURES[key].compute(original, decoded) for key in keys}
