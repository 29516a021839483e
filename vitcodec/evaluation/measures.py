"""The measures of a decoded picture against its original: the table that every part of a report is made from.

A new measure is a new entry of MEASURES. Rows and means, tables, CSV, JSON, curves, BD-rates and the page take it from
there; docs/reports.md says it to the reader. All measures are of 8-bit RGB, and higher is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import metrics

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
)
MEASURES = {m.key: m for m in _TABLE}
PLOTTED: dict[str, tuple[Measure, Axis]] = {m.key: (m, m.axis) for m in _TABLE if m.axis}


def compute(original: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """Every measure by its key, of two arrays (H, W, 3) uint8. Raises ValueError for arrays of different shapes."""
    return {key: measure.compute(original, decoded) for key, measure in MEASURES.items()}
