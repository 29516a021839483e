"""The operations in torch, exact in float32 on any device, with a gradient: for CUDA, MPS, training and search.

Every number is whole and below 2^24, so that matrix products are exact in float32, TF32 included, in any order.
Backward, rounding is the identity, and a clamp has no gradient beyond its range.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import layers as maps
from .layers import Layer
from .ops import GATE_FACTOR, GATE_HALF
from .reference import RANGE


class Round(torch.autograd.Function):
    """Half to even; the gradient passes."""

    @staticmethod
    def forward(_ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        return torch.round(x)

    @staticmethod
    def backward(_ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        return gradient


@dataclass(frozen=True)
class TrainedLayer:
    """A layer in training: whole numbers in float32 with a gradient. weight: (outputs, inputs / groups, k, k)."""

    weight: Tensor
    bias: Tensor
    scale: Tensor  # 2^-shift, in any precision
    groups: int
    signed_output: bool = True


class TorchOps:
    """Maps are (B, H, W, C) float32, signed ones centred at zero. Layers are kept on the device once they were used."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self._kept: dict[int, tuple[Layer, Tensor, Tensor, Tensor]] = {}

    def _numbers(self, layer: Layer | TrainedLayer) -> tuple[Tensor, Tensor, Tensor]:
        """Weight, as conv2d takes it, bias and 2^-shift."""
        if isinstance(layer, TrainedLayer):
            return layer.weight, layer.bias, layer.scale
        if id(layer) not in self._kept:
            weight = torch.from_numpy(layer.weight).permute(0, 3, 1, 2).float().contiguous()
            bias, scale = torch.from_numpy(layer.bias).float(), 2.0 ** -torch.from_numpy(layer.shift).float()
            weight, bias, scale = (t.to(self.device) for t in (weight, bias, scale))
            self._kept[id(layer)] = layer, weight, bias, scale
        return self._kept[id(layer)][1:]

    def convolve(self, x: Tensor, layer: Layer | TrainedLayer) -> Tensor:
        return self.sums(x, layer).clamp(*RANGE[layer.signed_output])

    def sums(self, x: Tensor, layer: Layer | TrainedLayer) -> Tensor:
        weight, bias, scale = self._numbers(layer)
        size = weight.shape[-1]
        if size == 1:
            y = F.linear(x, weight[:, :, 0, 0], bias)
        else:
            y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=size // 2, groups=layer.groups)
            y = y.permute(0, 2, 3, 1)
        return Round.apply(y * scale)

    def add(self, x: Tensor, y: Tensor, signed: bool = True) -> Tensor:
        return (x + y).clamp(*RANGE[signed])

    def hard_sigmoid(self, x: Tensor) -> Tensor:
        return (GATE_FACTOR * x + GATE_HALF).clamp(*RANGE[False])

    def multiply(self, x: Tensor, y: Tensor, shift: int, signed: bool) -> Tensor:
        return Round.apply(x * y * 2.0**-shift).clamp(*RANGE[True])

    def space_to_depth(self, x: Tensor) -> Tensor:
        return maps.space_to_depth(x.contiguous())

    def depth_to_space(self, x: Tensor) -> Tensor:
        return maps.depth_to_space(x.contiguous())
