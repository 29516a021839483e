"""A small network that tells whether an engine's arithmetic is exact: the largest inputs and weights, and rounding.

Every engine runs it when it is loaded; the reference says what it should give.
"""

from __future__ import annotations

import numpy as np

from .catalogue import Network
from .layers import WEIGHT_LIMIT, ZERO_POINT, Layer
from .ops import hard_gelu
from .reference import ReferenceOps

NAME = "check"
CHANNELS = 64


def _layer(rng: np.random.Generator, size: int, signed_output: bool, shift: int) -> Layer:
    inputs = CHANNELS if size == 1 else 1
    weight = rng.choice([-WEIGHT_LIMIT, WEIGHT_LIMIT], (CHANNELS, size, size, inputs))
    weight[CHANNELS // 2 :] = rng.integers(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, weight[CHANNELS // 2 :].shape)
    weight[0] = WEIGHT_LIMIT  # pairs of products that are summed in 16 bits are largest
    bias = rng.integers(-5000, 5000, CHANNELS)
    return Layer(weight.astype(np.int8), bias.astype(np.int32), np.full(CHANNELS, shift, np.uint8), True, signed_output)


def network() -> Network:
    """Takes sample(); returns an 8-bit map and sums."""
    rng = np.random.default_rng(1)
    product, mixing, last = _layer(rng, 1, True, 9), _layer(rng, 5, True, 8), _layer(rng, 1, True, 3)

    def function(ops, x):  # type: ignore[no-untyped-def]
        y = ops.add(ops.convolve(x, product), ops.convolve(x, mixing))
        y = ops.multiply(hard_gelu(ops, y), x, 6, signed=True)
        return y, ops.sums(y, last)

    return Network(function, {"x": (CHANNELS, True)}, {"map": True, "sums": None})


def sample() -> np.ndarray:
    """The network's input, uint8."""
    x = np.random.default_rng(2).integers(0, 256, (1, 6, 7, CHANNELS))
    x[:, :2], x[:, 4] = 255, 0
    return x.astype(np.uint8)


def passes(results: list[np.ndarray]) -> bool:
    """Whether an engine's results for the sample are the right ones."""
    wanted = network().function(ReferenceOps(), sample().astype(np.int64) - ZERO_POINT)
    return all(
        (a.astype(np.int64) == b).all() for a, b in zip(results, (wanted[0] + ZERO_POINT, wanted[1]), strict=True)
    )
