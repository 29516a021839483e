"""The `swin` family: a U-Net over the wavelet subbands, with shifted-window attention at stride 16.

At strides 4 and 8 there are convolutions. Analysis and synthesis correct the coefficients that they are given; both
start as zero corrections, so that an untrained model is a wavelet codec. In the preset `swin` the synthesis is one that
integers can carry, without attention (synthesis.py); without `integers` it is the same network as the analysis. The
presets `swin-s` and `swin-b` have timm's Swin transformer as their encoder.

Source: Z. Liu et al., "Swin transformer", 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from .. import wavelet
from ..layers import depth_to_space
from ..subbands import LEVELS, Subbands
from .backbone import TimmStages
from .blocks import ConvBlock, WindowBlock, position_map
from .synthesis import ConvSynthesis
from .tokens import PatchEmbedding, with_pixels
from .unet import SubbandUNet, Upsampling, round_up


@dataclass(frozen=True)
class SwinConfig:
    widths: tuple[int, int, int] = (96, 160, 256)  # channels at strides 4, 8, 16
    blocks: tuple[int, int, int] = (
        1,
        1,
        2,
    )  # on the way down at strides 4 and 8 (on the way up as many), and at stride 16
    convolutions: int = 0  # convolution blocks at stride 16, after those of attention
    window: int = 8  # tokens along a side of an attention window
    head: int = 32  # channels of an attention head
    backbone: str = ""  # timm's name of the encoder's class; none: the U-Net
    # whether integers can carry the decoder (synthesis.py): wide convolutions in place of attention, no normalisation
    integers: bool = False
    # the blocks of such a decoder, where they are not as many as the encoder's: at strides 4 and 8 each way, wide and
    # others at stride 16
    synthesis: tuple[int, ...] = ()


class SwinUNet(SubbandUNet):
    def __init__(self, config: SwinConfig):
        widths, window = config.widths, config.window
        attention = [WindowBlock(widths[2], i % 2 == 1, window, config.head) for i in range(config.blocks[2])]
        super().__init__(
            widths, config.blocks[:2], [*attention, *(ConvBlock(widths[2]) for _ in range(config.convolutions))]
        )
        self.grid = math.lcm(window << LEVELS, 32)
        # A plain block and a shifted one together reach one window to each side. The convolutions before them reach
        # further, by reach + CONTRAST_REACH, which the halo does not cover: with the trained weights that changes no
        # coefficient by more than 0.003 steps, and covering it would double the halo.
        self.halo = round_up(-(-config.blocks[2] // 2) * (window << LEVELS), self.grid)


class TimmSwinUNet(Upsampling):
    """timm's Swin transformer over patches of 4x4 pixels and their coefficients, then upsampling to the corrections.

    timm's windows roll around the picture, so that no halo makes a part come out as the whole would.
    """

    grid, halo = 32, None

    def __init__(self, config: SwinConfig):
        super().__init__(config.widths, config.blocks[:2])
        self.enter = PatchEmbedding(config.widths[0], 48)
        self.body = TimmStages(config.backbone)
        self.up32 = nn.Linear(2 * config.widths[2], 4 * config.widths[2])

    def forward(self, bands: Subbands, position: Tensor) -> Subbands:
        low, d1, d2, d3, d4 = bands
        x = with_pixels(Subbands(wavelet.merge(wavelet.merge(low, d4), d3), (d1, d2)), position)
        h4, h8, h16, h32 = self.body(self.enter(x, position_map(position, x)))
        return self.correct(bands, h4, h8, h16 + depth_to_space(self.up32(h32)))


def swin_analysis(config: SwinConfig) -> nn.Module:
    return TimmSwinUNet(config) if config.backbone else SwinAnalysis(config)


def swin_synthesis(config: SwinConfig) -> nn.Module:
    if config.integers:
        four, eight, wide, middle = config.synthesis or (*config.blocks, config.convolutions)
        return ConvSynthesis(config.widths, (four, eight), wide, middle)
    return SwinSynthesis(config)


class SwinAnalysis(SwinUNet):
    """The encoder's correction: coefficients that are better to code than the wavelet's own."""


class SwinSynthesis(SwinUNet):
    """The decoder's correction: an estimate of the coefficients before rounding, from their neighbourhood."""
