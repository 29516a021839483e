"""The decoder's network of `swin` in floating point: a convolutional U-Net that integers can carry.

No normalisation, softmax or exponential: depthwise convolutions, matrix products, hard sigmoids and gates (products of
two maps). It is trained here and rounded to small integers for use (integer/). The weights that ship started from a
synthesis of the `swin` family: what its blocks have in common with these was taken over, normalisation became a fixed
scale of each channel, and wide convolutions took the place of attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers import zero_init
from . import unet
from .blocks import Depthwise
from .unet import SubbandUNet

GATE_SLOPE = 0.3125  # of the hard sigmoid x -> clamp(GATE_SLOPE x + 1/2, 0, 1): x times it is close to GELU
CLAMP = 8.0  # features are kept within +-CLAMP before they are mixed, or a bad start runs away


def hard_gelu(x: Tensor) -> Tensor:
    """x clamp(0.3125 x + 1/2, 0, 1): the GELU with a hard sigmoid, as integers compute it."""
    return x * (GATE_SLOPE * x + 0.5).clamp(0, 1)


class GatedBlock(nn.Module):
    """x + down(hard_gelu(gate) * value), where (gate, value) = up(depthwise(x * scale)). Maps are (B, H, W, width).

    size: side of the depthwise kernel; 1: none.
    """

    RADIUS = 2  # sites, of the blocks at strides 4 and 8

    def __init__(self, width: int, size: int = 5):
        super().__init__()
        hidden = 3 * width // 2
        self.scale = nn.Parameter(torch.ones(width))
        self.mix = Depthwise(width, size)
        self.up, self.down = nn.Linear(width, 2 * hidden), zero_init(nn.Linear(hidden, width))
        with torch.no_grad():  # near the identity
            self.mix.weight.mul_(0.3)
            self.mix.weight[:, :, size // 2, size // 2] += 1

    def forward(self, x: Tensor) -> Tensor:
        y = (x * self.scale).clamp(-CLAMP, CLAMP)
        gate, value = self.up(self.mix(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).chunk(2, -1)
        return x + self.down(hard_gelu(gate) * value)


class DenseBlock(nn.Module):
    """x + down(hard_gelu(up(x * scale))) of each site by itself, twice as wide inside."""

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.up, self.down = nn.Linear(width, 2 * width), zero_init(nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(hard_gelu(self.up((x * self.scale).clamp(-CLAMP, CLAMP))))


WIDE = 7  # side of the kernels that take the place of attention


class ConvSynthesis(SubbandUNet):
    """The decoder's correction, as SwinSynthesis.

    widths: channels at strides 4, 8 and 16; blocks: gated blocks at strides 4 and 8, on the way down and again on
    the way up. At stride 16: `wide` times a gated block with a wide kernel and a dense block, then `middle` gated ones.
    """

    grid, halo = 32, 384  # pixels; see models.Family. The decoder of integers has parts of its own: reconstruction.py

    def __init__(
        self,
        widths: Sequence[int] = (96, 160, 256),
        blocks: Sequence[int] = (1, 3),
        wide: int = 2,
        middle: int = 8,
    ):
        sites: list[nn.Module] = []
        for _ in range(wide):
            sites += [GatedBlock(widths[2], WIDE), DenseBlock(widths[2])]
        sites += [GatedBlock(widths[2]) for _ in range(middle)]
        before, unet.ConvBlock = unet.ConvBlock, GatedBlock  # type: ignore[misc, assignment]
        try:
            super().__init__(widths, blocks, sites)
        finally:
            unet.ConvBlock = before  # type: ignore[misc]
