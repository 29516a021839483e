"""The engine for CUDA, MPS, and CPUs where there is no ONNX Runtime: exact in float32 (integer/torch_ops.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from ..integer.catalogue import Network
from ..integer.layers import ZERO_POINT
from ..integer.torch_ops import TorchOps

ROWS = 1 << 13  # that a CPU takes at a time: their inputs stay within its caches, and take no memory to speak of


class TorchEngine:
    """networks: by name."""

    def __init__(self, networks: Mapping[str, Network], device: torch.device | str = "cpu"):
        self.networks, self.ops = networks, TorchOps(device)

    @torch.no_grad()
    def run(self, network: str, *maps: np.ndarray) -> list[np.ndarray]:
        """As Engine.run."""
        found = self.networks[network]
        zeros = (ZERO_POINT if signed else 0 for _, signed in found.inputs.values())
        inputs = (torch.from_numpy(m).to(self.ops.device).float() - zero for m, zero in zip(maps, zeros, strict=True))
        results = found.function(self.ops, *inputs)
        return [self._stored(y, signed) for y, signed in zip(results, found.outputs.values(), strict=True)]

    def run_rows(self, network: str, count: int, rows: Callable[[slice], np.ndarray]) -> list[np.ndarray]:
        """As Engine.run_rows."""
        parts = -(-count // ROWS) if self.ops.device.type == "cpu" else 1
        bounds = [(count * k // parts, count * (k + 1) // parts) for k in range(parts)]
        found = [self.run(network, rows(slice(a, b))[None, None]) for a, b in bounds]
        return [np.concatenate([y[0, 0] for y in outputs]) for outputs in zip(*found, strict=True)]

    @staticmethod
    def _stored(y: torch.Tensor, signed: bool | None) -> np.ndarray:
        if signed is not None:
            y = (y + (ZERO_POINT if signed else 0)).to(torch.uint8)
        return y.cpu().numpy()
