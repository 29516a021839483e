"""The engine that tests compare the others with: NumPy, int64, slow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..integer.catalogue import Network
from ..integer.layers import ZERO_POINT
from ..integer.reference import ReferenceOps


class ReferenceEngine:
    """networks: by name."""

    def __init__(self, networks: Mapping[str, Network]):
        self.networks, self.ops = networks, ReferenceOps()

    def run(self, network: str, *maps: np.ndarray) -> list[np.ndarray]:
        """As Engine.run."""
        found = self.networks[network]
        zeros = (ZERO_POINT if signed else 0 for _, signed in found.inputs.values())
        results = found.function(self.ops, *(m.astype(np.int64) - zero for m, zero in zip(maps, zeros, strict=True)))
        return [_stored(y, signed) for y, signed in zip(results, found.outputs.values(), strict=True)]

    def run_rows(self, network: str, count: int, rows: Callable[[slice], np.ndarray]) -> list[np.ndarray]:
        """As Engine.run_rows."""
        return [y[0, 0] for y in self.run(network, rows(slice(0, count))[None, None])]


def _stored(y: np.ndarray, signed: bool | None) -> np.ndarray:
    return y.astype(np.float32) if signed is None else (y + (ZERO_POINT if signed else 0)).astype(np.uint8)
