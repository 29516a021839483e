"""The `cnn` family: the U-Net of `swin` with convolutions in place of attention.

It is the control that tells what attention gains.
"""

from __future__ import annotations

from dataclasses import dataclass

from .blocks import ConvBlock
from .unet import CONTRAST_REACH, SubbandUNet, round_up


@dataclass(frozen=True)
class CNNConfig:
    widths: tuple[int, int, int] = (96, 160, 256)  # channels at strides 4, 8, 16
    blocks: tuple[int, int, int] = (
        1,
        1,
        4,
    )  # on the way down at strides 4 and 8 (on the way up as many), and at stride 16


class ConvolutionalUNet(SubbandUNet):
    grid = 32

    def __init__(self, config: CNNConfig):
        super().__init__(
            config.widths, config.blocks[:2], [ConvBlock(config.widths[2]) for _ in range(config.blocks[2])]
        )
        self.halo = round_up(2 * self.reach + CONTRAST_REACH + 16 * ConvBlock.RADIUS * config.blocks[2] + 16, self.grid)


class CNNAnalysis(ConvolutionalUNet):
    """The encoder's correction."""


class CNNSynthesis(ConvolutionalUNet):
    """The decoder's correction."""
