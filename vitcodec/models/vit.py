"""The `vit` family: a plain vision transformer over tokens of 16x16 pixels.

The wavelet is the patch embedding: a token is its 768 coefficients. The decoder is a transformer too, with dense and
convolutional upsampling behind it. Both networks start as zero corrections. The presets `vit-b16` and `vit-l16` have
timm's VisionTransformer as their encoder.

Sources: A. Dosovitskiy et al., "An image is worth 16x16 words", 2021; sine-cosine positions in two axes as in K. He et
al., "Masked autoencoders", 2022, from which the learning starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import zero_init
from ..subbands import LEVELS, Subbands
from .backbone import TimmTokens
from .blocks import RMSNorm, coefficient_features, position_map
from .tokens import TOKEN, PatchEmbedding, TokenEmbedding, TransformerBlock, by_areas, subbands, tokens, with_pixels
from .unet import BANDS, Upsampling, by_stride, round_up


@dataclass(frozen=True)
class ViTConfig:
    width: int = 256  # channels of the encoder
    blocks: int = 3  # of the encoder
    decoder_width: int = 256  # channels of the decoder at stride 16
    decoder_blocks: int = 3
    fine_widths: tuple[int, int] = (96, 128)  # channels of the decoder at strides 4 and 8
    fine_blocks: tuple[int, int] = (1, 1)  # convolution blocks of the decoder at strides 4 and 8
    window: int = 16  # tokens along a side of the area within which attention is global
    head: int = 32  # channels of an attention head
    expansion: int = 4  # hidden neurons of the MLP for each channel
    backbone: str = ""  # timm's name of the encoder's class; none: the blocks of this package


class Transformer(nn.Module):
    """Blocks over an area of tokens, with a position embedding that is resized to the area."""

    def __init__(self, width: int, blocks: int, config: ViTConfig):
        super().__init__()
        self.position = nn.Parameter(sine_positions(width, config.window))
        self.blocks = nn.ModuleList(TransformerBlock(width, config.head, config.expansion) for _ in range(blocks))
        self.norm = RMSNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, r, c, width) -> the same."""
        n, r, c, width = x.shape
        position: Tensor = self.position
        if position.shape[2:] != (r, c):
            position = F.interpolate(position, (r, c), mode="bilinear", align_corners=False)
        x = (x + position.permute(0, 2, 3, 1)).flatten(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).view(n, r, c, width)


def sine_positions(width: int, side: int) -> Tensor:
    """(1, width, side, side): half of the channels tell the row, half the column."""
    angles = torch.arange(side)[:, None] / 100 ** (torch.arange(width // 4) / (width // 4))
    line = torch.cat((angles.sin(), angles.cos()), 1).T
    rows, columns = line[:, :, None].expand(-1, -1, side), line[:, None, :].expand(-1, side, -1)
    return 0.5 * torch.cat((rows, columns))[None]


class ViTAnalysis(nn.Module):
    """The encoder's correction: transformer blocks over all tokens of an area, then a linear head for each.

    An area starts at every multiple of `grid`.
    """

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.grid = config.window << LEVELS
        self.halo = self.grid if config.backbone else 0  # pixels depend on the coefficients around
        self.pixels = bool(config.backbone)
        self.enter = PatchEmbedding(config.width) if config.backbone else TokenEmbedding(config.width)
        self.body = (
            TimmTokens(config.backbone, config.window)
            if config.backbone
            else Transformer(config.width, config.blocks, config)
        )
        self.leave = zero_init(nn.Linear(config.width, TOKEN))

    def forward(self, bands: Subbands, position: Tensor) -> Subbands:
        x = tokens(bands)
        inputs = with_pixels(bands, position) if self.pixels else x

        def correction(x: Tensor, position: Tensor) -> Tensor:
            return self.leave(self.body(self.enter(x, position)))

        return subbands(x + by_areas(correction, self.grid >> LEVELS, inputs, position_map(position, x)))


class ViTSynthesis(Upsampling):
    """The decoder's correction: transformer blocks over all tokens of an area, then dense and convolutional upsampling.

    On the way up, the coefficients of each level enter beside the features from below.
    """

    def __init__(self, config: ViTConfig):
        super().__init__((*config.fine_widths, config.decoder_width), config.fine_blocks)
        self.grid = config.window << LEVELS
        self.halo = round_up(self.reach, self.grid)
        self.enter = TokenEmbedding(config.decoder_width)
        self.body = Transformer(config.decoder_width, config.decoder_blocks, config)
        self.inputs = nn.ModuleList(nn.Linear(2 * n + 1, w) for n, w in zip(BANDS[:2], config.fine_widths, strict=True))

    def forward(self, bands: Subbands, position: Tensor) -> Subbands:
        x = tokens(bands)

        def features(x: Tensor, position: Tensor) -> Tensor:
            return self.body(self.enter(x, position))

        h16 = by_areas(features, self.grid >> LEVELS, x, position_map(position, x))
        h4, h8 = (
            layer(coefficient_features(c, position_map(position, c)))
            for layer, c in zip(self.inputs, by_stride(bands)[:2], strict=True)
        )
        return self.correct(bands, h4, h8, h16)
