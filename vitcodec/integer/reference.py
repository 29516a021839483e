"""The operations in NumPy, int64, as they are defined: what the engines are tested against. Slow."""

from __future__ import annotations

import numpy as np

from .layers import Layer
from .ops import GATE_FACTOR, GATE_HALF

RANGE = {False: (0, 255), True: (-128, 127)}


class ReferenceOps:
    """Maps are (1, H, W, C) int64, signed ones centred at zero."""

    def convolve(self, x: np.ndarray, layer: Layer) -> np.ndarray:
        return np.clip(self.sums(x, layer), *RANGE[layer.signed_output])

    def sums(self, x: np.ndarray, layer: Layer) -> np.ndarray:
        weight = layer.weight.astype(np.int64)
        size = weight.shape[1]
        total = x @ weight[:, 0, 0].T if size == 1 else self._neighbours(x, weight, layer.depthwise)
        return divided(total + layer.bias.astype(np.int64), layer.shift.astype(np.int64))

    @staticmethod
    def _neighbours(x: np.ndarray, weight: np.ndarray, depthwise: bool) -> np.ndarray:
        size, (_, height, width, _) = weight.shape[1], x.shape
        padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
        total = np.zeros((1, height, width, len(weight)), np.int64)
        for i in range(size):
            for j in range(size):
                part = padded[:, i : i + height, j : j + width]
                total += part * weight[:, i, j, 0] if depthwise else part @ weight[:, i, j].T
        return total

    def add(self, x: np.ndarray, y: np.ndarray, signed: bool = True) -> np.ndarray:
        return np.clip(x + y, *RANGE[signed])

    def hard_sigmoid(self, x: np.ndarray) -> np.ndarray:
        return np.clip(GATE_FACTOR * x + GATE_HALF, *RANGE[False])

    def multiply(self, x: np.ndarray, y: np.ndarray, shift: int, signed: bool) -> np.ndarray:
        return np.clip(divided(x * y, np.array(shift)), *RANGE[True])

    def space_to_depth(self, x: np.ndarray) -> np.ndarray:
        _, H, W, C = x.shape
        return x.reshape(1, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 2, 4, 5).reshape(1, H // 2, W // 2, 4 * C)

    def depth_to_space(self, x: np.ndarray) -> np.ndarray:
        _, H, W, C = x.shape
        return x.reshape(1, H, W, 2, 2, C // 4).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2 * H, 2 * W, C // 4)


def divided(x: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """x 2^-shift, int64, rounded half to even."""
    floor = x >> shift
    rest, half = x - (floor << shift), (1 << shift) >> 1
    up = (rest > half) | ((rest == half) & (shift > 0) & (floor & 1 == 1))
    return floor + up
