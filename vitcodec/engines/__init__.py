"""What runs networks of small integers: onnx.py (on CPUs, without torch), torch.py (any device), reference.py (tests).

All give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """Runs a model's networks, by their names in the catalogue (integer/catalogue.py)."""

    def run(self, network: str, *maps: np.ndarray) -> list[np.ndarray]:
        """Inputs and outputs are uint8 (1, H, W, C), H and W at least 1; signed ones have 128 for zero.

        Sums come as whole numbers in float32.
        """
        ...

    def run_rows(self, network: str, count: int, rows: Callable[[slice], np.ndarray]) -> list[np.ndarray]:
        """A network of the context model, which treats each of `count` rows by itself, at least 1.

        rows: some of them -> the input (n, c) uint8; engines may ask in parts, from several threads. Outputs: (n, c).
        """
        ...
