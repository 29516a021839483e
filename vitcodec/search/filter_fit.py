"""Fitting the adaptive filter to a picture: least squares, then whole weights that save more bits than they take.

The normal equations of all blocks are added up, so that memory does not grow with the picture.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..adaptive_filter import PAIRS, REACH, WEIGHT_BITS, WEIGHT_LIMIT, AdaptiveFilter, Weights, group_cost
from ..bitstream.chunks import chunk_size
from ..fixed_point import FRACTION_BITS
from .pixel_error import Shown

ROWS = 64  # of pixels that are looked at at once
ENOUGH = 1 << 18  # pixels of a block; of more, strips of so many are taken, evenly spaced
PASSES = 4  # over all weights
RIDGE = 1e-6  # of the equations' mean diagonal


class FilterFit:
    """What is known so far of a picture.

    base: the filter that the picture has otherwise. bits_per_error: what a squared error of one 8-bit level costs.
    planes: how many are filtered, 1 for gray pictures.
    """

    def __init__(self, base: AdaptiveFilter, bits_per_error: float, planes: int = 3):
        self.base, self.bits_per_error, self.planes = base, bits_per_error, planes
        sizes = [2 * len(offsets) for offsets in PAIRS[:planes]]
        self.products = [np.zeros((n, n)) for n in sizes]
        self.targets = [np.zeros(n) for n in sizes]
        self.energy = [0.0] * planes  # of the error without a filter

    def add(self, shown: Shown, weights: np.ndarray | None = None) -> None:
        """A block. weights: (H, W), on the distortion of every pixel; None: 1 everywhere."""
        decoded, wanted = shown.decoded, shown.wanted
        limit = np.float32(self.base.threshold / (1 << FRACTION_BITS))
        height = decoded.shape[1]
        every = max(1, decoded[0].size // ENOUGH)
        share = height / sum(min(ROWS, height - a) for a in range(0, height, every * ROWS))
        for plane in range(self.planes):
            squares = np.square(wanted[plane])
            if weights is not None:
                squares *= weights
            self.energy[plane] += float(squares.sum(dtype=np.float64))
            around = np.pad(decoded[plane], REACH, mode="edge")
            for a in range(0, height, every * ROWS):
                features = _features(around[a : a + ROWS + 2 * REACH], PAIRS[plane], limit)
                weighted = features if weights is None else features * weights[a : a + ROWS].ravel()
                self.products[plane] += share * (weighted @ features.T)
                self.targets[plane] += share * (weighted @ wanted[plane, a : a + ROWS].ravel())

    def solve(self) -> Weights | None:
        """The change of the weights that lowers the cost most, or None where none does."""
        changes, gain = [], 0.0
        for plane, known in enumerate(self.base.weights):
            found, saved = np.zeros_like(known), -2.0 * group_cost([0])
            if plane < self.planes:
                found, saved = _whole_changes(
                    self.products[plane], self.targets[plane], known.ravel(), self.bits_per_error
                )
            changes.append(found.reshape(2, -1))
            gain += saved
        if gain <= 8 * chunk_size(0):
            return None
        return changes[0], changes[1], changes[2]


def fitted_to_planes(
    base: AdaptiveFilter, decoded: np.ndarray, wanted: np.ndarray, bits_per_error: float
) -> list[np.ndarray]:
    """The change of the weights of each plane for one picture that is there as a whole.

    decoded: planes in fixed point, (3, H, W) int32. wanted: the original's, in 8-bit levels.
    """
    limit, found = np.float32(base.threshold / (1 << FRACTION_BITS)), []
    levels = decoded.astype(np.float32) / (1 << FRACTION_BITS)
    for plane, offsets in enumerate(PAIRS):
        features = _features(np.pad(levels[plane], REACH, mode="edge"), offsets, limit)
        error = (wanted[plane] - levels[plane]).ravel()
        known = base.weights[plane]
        changes, _ = _whole_changes(features @ features.T, features @ error, known.ravel(), bits_per_error)
        found.append(changes.reshape(known.shape))
    return found


def _features(around: np.ndarray, offsets: list[tuple[int, int]], limit: np.float32) -> np.ndarray:
    """What the weights of a plane are multiplied with, (2 pairs, pixels) float32."""
    h, w = around.shape[0] - 2 * REACH, around.shape[1] - 2 * REACH
    out = np.empty((2, len(offsets), h, w), np.float32)
    middle = around[REACH : REACH + h, REACH : REACH + w]
    for k, (y, x) in enumerate(offsets):
        first, second = (
            around[REACH + s * y : REACH + s * y + h, REACH + s * x : REACH + s * x + w] - middle for s in (1, -1)
        )
        np.add(first, second, out=out[0, k])
        np.add(np.clip(first, -limit, limit, out=first), np.clip(second, -limit, limit, out=second), out=out[1, k])
    return out.reshape(2 * len(offsets), h * w)


def _whole_changes(
    products: np.ndarray, targets: np.ndarray, known: np.ndarray, bits_per_error: float
) -> tuple[np.ndarray, float]:
    """What to add to known weights, whole 256ths (n,), and the bits of J that it saves, its own counted.

    Changes are made one by one, as long as that lowers J = bits_per_error |error|^2 + bits.
    """
    n, unit = len(targets), 1 / (1 << WEIGHT_BITS)
    curvature = bits_per_error * unit**2 * products
    slope = bits_per_error * unit * targets - curvature @ known
    flat = RIDGE * np.trace(curvature) / n
    if flat <= 0:  # a picture of one colour
        return np.zeros_like(known), -2.0 * group_cost([0])
    lowest, highest = (-WEIGHT_LIMIT - known).tolist(), (WEIGHT_LIMIT - known).tolist()
    exact = np.linalg.solve(curvature + flat * np.eye(n), slope)
    changes = [int(w) for w in np.clip(np.rint(exact), lowest, highest)]
    gradient = curvature @ changes - slope  # half of J's

    def bits(k: int, value: int) -> int:
        """Of the group of a weight, with another change of it."""
        start = k - k % (n // 2)
        return group_cost([*changes[start:k], value, *changes[k + 1 : start + n // 2]])

    def cost(k: int, value: int) -> float:
        """What J changes by, but for bits of the present value."""
        step = value - changes[k]
        return float(step * (2 * gradient[k] + step * curvature[k, k])) + bits(k, value)

    for _ in range(PASSES):
        before = list(changes)
        for k in range(n):
            least = round(changes[k] - gradient[k] / (curvature[k, k] + flat))
            tried = {changes[k], 0, *(min(max(least + s, lowest[k]), highest[k]) for s in (-1, 0, 1))}
            best = min(sorted(tried), key=partial(cost, k))
            gradient += curvature[:, k] * (best - changes[k])
            changes[k] = best
        if changes == before:
            break
    found = np.array(changes, np.int32)
    saved = 2 * slope @ found - found @ curvature @ found
    return found, float(saved) - bits(0, changes[0]) - bits(n // 2, changes[n // 2])
