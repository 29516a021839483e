"""The enhancement of pixels: the last step of decoding, where a file asks for it.

A small network of integers sees the picture and takes off what coding did to it: grain along edges, blur across them.
It is trained after the model, whose tokens and weights stay as they are, so that a model can have several; a file says
which one its pixels are made with. The network: integer/enhancement.py.

Source: Y. Dai, D. Liu, F. Wu, "A convolutional neural network approach for post-processing in HEVC intra coding", 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import fixed_point
from .adaptive_filter import VALUE_LIMIT
from .dequantiser import STEP_FACTOR_BITS, Dequantiser
from .errors import UnsupportedError
from .integer.enhancement import FEATURES, PIXELS
from .integer.layers import ZERO_POINT

BOX = 5  # pixels along a side of a pixel's surroundings
PLAIN_BITS = fixed_point.FRACTION_BITS + 1  # a pixel enters in units of two 8-bit levels
FACTOR_BITS = 20  # of what a contrast is multiplied with, to be in 32nds of a step
STRIP = 128  # rows of sites that are worked on at a time: all of a block would take a hundred megabytes
MOST_REACH = 7  # sites of 2x2 pixels around each that the network sees: with the box, 16 pixels

# the network: a map (1, h, w, FEATURES) uint8 -> [(1, h, w, PIXELS) sums]
Network = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Enhancement:
    """network: runs the layers. sites: of 2x2 pixels, how many around each it sees, at most MOST_REACH."""

    network: Network
    sites: int
    dequantiser: Dequantiser

    @property
    def reach(self) -> int:
        """Pixels around an area that its result depends on."""
        return 2 * self.sites + BOX // 2

    def __call__(self, planes: np.ndarray, qualities: np.ndarray) -> np.ndarray:
        """Planes of the colour axes in fixed point with `reach` pixels around, (3, H, W) int32, beyond the end of the
        picture the last ones repeated -> (3, H - 2 reach, W - 2 reach), enhanced. Sides are even.

        qualities: (1, 1), or of every 2x2 of these pixels; int.
        """
        n, r = self.sites, self.reach
        rows = planes.shape[1] // 2 - r  # of sites
        out = planes[:, r:-r, r:-r].copy()
        for first in range(0, rows, STRIP):
            last = min(first + STRIP, rows)
            q = qualities[None]
            if q.size > 1:  # the network has no sites where only the box reaches
                q = q[:, first + 1 : last + 2 * n + 1, 1:-1]
            sums = self.network(self.features(planes[:, 2 * first : 2 * (last + r)], q))[0][:, n:-n, n:-n]
            added = self.dequantiser.levels(sums.astype(np.int32), q[:, n:-n, n:-n] if q.size > 1 else q)
            _, h, w, _ = added.shape
            out[:, 2 * first : 2 * last] += added.reshape(h, w, 2, 2, 3).transpose(4, 0, 2, 1, 3).reshape(3, 2 * h, -1)
        return out

    def features(self, planes: np.ndarray, qualities: np.ndarray) -> np.ndarray:
        """The network's input, (1, h, w, FEATURES) uint8, signed with a zero point: pixels, contrasts, the quality.

        planes: as above, less BOX // 2 pixels around. qualities: (1, h, w) or (1, 1, 1).
        """
        planes = np.clip(planes, -VALUE_LIMIT, VALUE_LIMIT)
        edge = BOX // 2
        inner = planes[:, edge:-edge, edge:-edge]
        _, H, W = inner.shape
        out = np.empty((1, H // 2, W // 2, FEATURES), np.uint8)
        plain = (inner + (1 << (PLAIN_BITS - 1))) >> PLAIN_BITS
        out[..., :PIXELS] = _in_sites(np.clip(plain, -ZERO_POINT, ZERO_POINT - 1) + ZERO_POINT)
        factor = self._factors(qualities)[..., None]
        limit = ((ZERO_POINT + 1) << FACTOR_BITS) // factor  # beyond it the result is clipped anyway
        contrast = _in_sites(_contrasts(planes, inner))
        np.clip(contrast, -limit, limit, out=contrast)
        contrast *= factor
        contrast += 1 << (FACTOR_BITS - 1)
        contrast >>= FACTOR_BITS
        out[..., PIXELS:-1] = np.clip(contrast, -ZERO_POINT, ZERO_POINT - 1) + ZERO_POINT
        out[..., -1] = self.dequantiser.positions[qualities - 1]
        return out

    def _factors(self, qualities: np.ndarray) -> np.ndarray:
        """What takes a contrast, BOX^2 times a difference in fixed point, to 32nds of a step, in 20-bit fractions."""
        steps = self.dequantiser.steps[qualities - 1].astype(np.int64)
        numerator = 1 << (FACTOR_BITS + STEP_FACTOR_BITS)
        return ((numerator + BOX**2 * steps // 2) // (BOX**2 * steps)).astype(np.int32)


def no_enhancement(number: int) -> Enhancement | None:
    """What a model without enhancements has of each number. Raises UnsupportedError for others than 0."""
    if number:
        raise UnsupportedError(
            f"its pixels need enhancement {number} of its model, which is not installed; upgrade vitcodec or the model"
        )
    return None


def _contrasts(planes: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """BOX^2 times the pixels less the mean of their surroundings, int32."""
    _, H, W = inner.shape
    rows = planes[:, :H].copy()
    for k in range(1, BOX):
        rows += planes[:, k : k + H]
    out = inner * np.int32(BOX**2)
    for k in range(BOX):
        out -= rows[:, :, k : k + W]
    return out


def _in_sites(planes: np.ndarray) -> np.ndarray:
    """(3, H, W) -> (1, H/2, W/2, 12): a site's pixels row by row, the three planes of each together."""
    _, H, W = planes.shape
    sites = planes.reshape(3, H // 2, 2, W // 2, 2).transpose(1, 3, 2, 4, 0)
    return np.ascontiguousarray(sites).reshape(1, H // 2, W // 2, PIXELS)
