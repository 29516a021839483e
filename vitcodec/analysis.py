"""Pixels to latents without torch: colour axes, the wavelet, the analysis network, the encoder's gains.

NumPy's twin of wavelet.forward and Autoencoder.encode, in float32: an encoder may compute what it likes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from .fixed_point import add_neighbours
from .subbands import LEVELS, Subbands
from .tiles import SITE, Area, crop

LIFTING = np.float32(-1.586134342), np.float32(-0.05298011854), np.float32(0.8829110762), np.float32(0.4435068522)
GAIN = np.float32(1.149604398)
COLOUR = (np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]) / np.sqrt([[3], [2], [6]])).astype(np.float32)
PART = 1 << 15  # values that are lifted at a time: what lies between the steps stays in the cache

# low band, details of levels 1 to 4 (channels-last, in quantisation steps), the step position and, where tokens are
# erased, which ones, (1, h, w) bool -> the bands, corrected
Network = Callable[..., list[np.ndarray]]


@dataclass(frozen=True)
class Analysis:
    """gains: (100, 5, 9) float32, the encoder's factor on each band, by quality; steps: (100,), 8-bit levels.

    halo: sites around an area that the network sees.
    """

    network: Network
    gains: np.ndarray
    steps: np.ndarray
    positions: np.ndarray  # (100,) float32, the step positions
    halo: int

    def latents(self, rgb: np.ndarray, area: Area, whole: Area, quality: int) -> Subbands:
        """rgb: (H, W, 3) uint8, the whole picture -> latents of an area in steps, not rounded, float32 (1, h, w, C)."""
        return self.with_coefficients(rgb, area, whole, quality)[0]

    def with_coefficients(
        self, rgb: np.ndarray, area: Area, whole: Area, quality: int, erased: np.ndarray | None = None
    ) -> tuple[Subbands, Subbands]:
        """As latents -> the latents, and the wavelet coefficients in steps that they were made of.

        erased: (1, h, w) bool, the area's tokens that will not be coded, for networks that know what that means.
        """
        around = area.grown(self.halo, whole)
        bands = forward(pixels(rgb, around))
        step = np.float32(1 / self.steps[quality - 1])
        bands = bands.map(lambda t: t * step)
        inner, known = area.within(around), list[np.ndarray]()
        if erased is not None:
            below, right = around.h - inner.y - inner.h, around.w - inner.x - inner.w
            known = [np.pad(erased, ((0, 0), (inner.y, below), (inner.x, right)))]
        corrected = self.network(*bands, self.positions[quality - 1 : quality], *known)
        gains = self.gains[quality - 1]
        low, *details = (t * gains[level, : t.shape[-1]] for level, t in enumerate(corrected))
        return crop(Subbands(low, tuple(details)), inner), crop(bands, inner)


def pixels(rgb: np.ndarray, area: Area) -> np.ndarray:
    """The pixels of an area, (16 h, 16 w, 3); the picture's last row and column are repeated beyond its end."""
    part = rgb[area.y * SITE : (area.y + area.h) * SITE, area.x * SITE : (area.x + area.w) * SITE]
    padding = ((0, area.h * SITE - part.shape[0]), (0, area.w * SITE - part.shape[1]), (0, 0))
    return np.pad(part, padding, mode="edge")


def forward(rgb: np.ndarray) -> Subbands:
    """(H, W, 3), 0..255, sides multiples of 16 -> subbands in 8-bit levels, float32 (1, h, w, C)."""
    low = np.ascontiguousarray(((rgb.astype(np.float32) - 128) @ COLOUR.T).transpose(2, 0, 1))
    details = []
    for _ in range(LEVELS):
        low, d = split(low)
        details.append(np.ascontiguousarray(d.transpose(1, 2, 0))[None])
    return Subbands(np.ascontiguousarray(low.transpose(1, 2, 0))[None], tuple(details))


def lift(low: np.ndarray, high: np.ndarray) -> None:
    """Lifting along the first axis, in place: even and odd lines, without scaling. Borders extended symmetrically."""
    total = np.empty_like(low)
    for k, factor in enumerate(LIFTING):
        target, other = (high, low) if k % 2 == 0 else (low, high)
        add_neighbours(other, k % 2 == 0, total)
        total *= factor
        target += total


def split(
    x: np.ndarray, lift: Callable[[np.ndarray, np.ndarray], None] = lift, gain: np.float32 = GAIN**2
) -> tuple[np.ndarray, np.ndarray]:
    """One level: planes (C, H, W) -> the low band (C, H/2, W/2) and the details (3 C, H/2, W/2).

    lift: of halves along the first axis, in place. gain: what scales low halves in both directions; high ones are
    divided by it, and of one low and one high half the scale is 1.
    """
    planes, H, W = x.shape
    rows = np.empty((planes, 2, H, W // 2), np.float32)  # each line's low and high half
    low, details = np.empty((planes, H // 2, W // 2), np.float32), np.empty((3 * planes, H // 2, W // 2), np.float32)
    lines, columns = max(1, PART // W), max(16, PART // H)
    for plane, a in product(range(planes), range(0, H, lines)):
        left, right = (x[plane, a : a + lines, side::2].copy() for side in (0, 1))
        lift(left.T, right.T)
        rows[plane, 0, a : a + lines], rows[plane, 1, a : a + lines] = left, right
    for plane, a in product(range(planes), range(0, W // 2, columns)):
        place = slice(a, a + columns)
        (top, vertical), (horizontal, diagonal) = (
            tuple(rows[plane, side, half::2, place].copy() for half in (0, 1)) for side in (0, 1)
        )
        lift(top, vertical)
        lift(horizontal, diagonal)
        low[plane, :, place] = top * gain
        details[3 * plane, :, place], details[3 * plane + 1, :, place] = horizontal, vertical
        details[3 * plane + 2, :, place] = diagonal / gain
    return low, details


def round_tokens(latents: Subbands, dead_zone: float) -> Subbands:
    """Latents in steps -> tokens, int32: quality.round_tokens in NumPy."""

    def quantise(y: np.ndarray) -> np.ndarray:
        a = np.abs(y)
        a += 0.5 - dead_zone * np.where(a < 1.5, np.float32(1), np.float32(0.25))
        return np.copysign(np.floor(a), y).astype(np.int32)

    return Subbands(np.rint(latents.low).astype(np.int32), tuple(map(quantise, latents.details)), latents.finest)


def step_position(step: float) -> float:
    """quality.step_position of one step."""
    return math.log(step / 5.0) / math.log(140.0 / 5.0)
