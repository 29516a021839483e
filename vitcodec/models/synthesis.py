"""The decoder's network of `swin` in floating point: a convolutional U-Net that integers can carry.

No normalisation, softmax or exponential: depthwise convolutions, matrix products, hard sigmoids and gates (products of
two maps). It is trained here and rounded to small integers for use (integer/). It starts from a synthesis of the `swin`
family: what its blocks have in common with these is taken over, normalisation becomes a fixed scale of each channel,
and wide convolutions take the place of attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ..layers import zero_init
from . import unet
from .blocks import ConvBlock, Depthwise, RMSNorm, WindowBlock
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


@torch.no_grad()
def start_from(source: nn.Module, mean_inverse: dict[str, float]) -> ConvSynthesis:
    """A ConvSynthesis that starts from a synthesis of the `swin` family.

    mean_inverse: of each RMSNorm in the source, by name, the mean of 1 / rms over many sites.
    """
    source = cast(SubbandUNet, source)
    blocks = [len(cast(nn.Sequential, source.encoder[l])) for l in range(2)]
    middle = list(cast(nn.Sequential, source.encoder[2]))
    windows = [i for i, block in enumerate(middle) if isinstance(block, WindowBlock)]
    widths = [layer.out_features for layer in cast(list[nn.Linear], source.inputs)]
    out = ConvSynthesis(widths, blocks, len(windows), len(middle) - len(windows))
    names = {module: name for name, module in source.named_modules()}

    def scale(norm: RMSNorm) -> Tensor:
        return norm.weight * mean_inverse[names[norm]] * 0.9

    def gated(old: ConvBlock, new: GatedBlock) -> None:
        new.scale.copy_(scale(old.norm))
        for part in ("mix", "up", "down"):
            getattr(new, part).load_state_dict(getattr(old, part).state_dict())

    for name in ("inputs", "down", "up", "outputs"):
        getattr(out, name).load_state_dict(getattr(source, name).state_dict())
    for l in range(2):
        for way in (source.encoder, source.decoder):
            mine = out.encoder if way is source.encoder else out.decoder
            for old, new in zip(cast(nn.Sequential, way[l]), cast(nn.Sequential, mine[l]), strict=True):
                gated(cast(ConvBlock, old), cast(GatedBlock, new))
    sites = list(cast(nn.Sequential, out.encoder[2]))
    for k, i in enumerate(windows):
        old, new = cast(WindowBlock, middle[i]), cast(DenseBlock, sites[2 * k + 1])
        new.scale.copy_(scale(old.norm2))
        new.up.load_state_dict(old.up.state_dict())
        new.down.load_state_dict(old.down.state_dict())
        # the wide block's gates start at random and its effect at zero; what it looks at is as it was normalised
        cast(GatedBlock, sites[2 * k]).scale.copy_(scale(old.norm1))
    rest = [block for block in middle if isinstance(block, ConvBlock)]
    for old_block, new_block in zip(rest, sites[2 * len(windows) :], strict=True):
        gated(old_block, cast(GatedBlock, new_block))
    return out
