"""A U-Net over the wavelet subbands: convolutions at strides 4 and 8, whatever a family likes at stride 16.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net", 2015: a way down, a way up, and skip connections between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers import depth_to_space, local_contrast, space_to_depth, zero_init
from ..subbands import LEVELS, Subbands
from .blocks import ConvBlock, coefficient_features, position_map

# coefficients a site at strides 4, 8 and 16: level 1 (space to depth) with level 2; level 3; level 4 with the low band
BANDS = (45, 9, 12)
CONTRAST_REACH = 2 << LEVELS  # pixels around a site that enter its local_contrast


class Upsampling(nn.Module):
    """From features at stride 16 to corrections of every subband.

    Dense layers turn a site into 2x2, convolutions refine, linear heads, which start as zero, give the corrections.
    widths: channels at strides 4, 8 and 16; blocks: convolution blocks at strides 4 and 8.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(widths[l + 1], 4 * widths[l]) for l in range(2))
        self.decoder = nn.ModuleList(nn.Sequential(*(ConvBlock(widths[l]) for _ in range(blocks[l]))) for l in range(2))
        self.outputs = nn.ModuleList(zero_init(nn.Linear(w, n)) for n, w in zip(BANDS, widths, strict=True))
        # pixels on each side of a site that enter the convolutions' result
        self.reach = sum(ConvBlock.RADIUS * n * stride for n, stride in zip(blocks, (4, 8), strict=False))

    def correct(self, bands: Subbands, h4: Tensor, h8: Tensor, h16: Tensor) -> Subbands:
        """bands plus their corrections; h4, h8, h16: features (B, H/s, W/s, width) at strides s = 4, 8 and 16."""
        low, d1, d2, d3, d4 = bands
        h8 = self.decoder[1](h8 + depth_to_space(self.up[1](h16)))
        h4 = self.decoder[0](h4 + depth_to_space(self.up[0](h8)))
        o4, o8, o16 = self.outputs[0](h4), self.outputs[1](h8), self.outputs[2](h16)
        return Subbands(
            low + o16[..., 9:],
            (d1 + depth_to_space(o4[..., :36].contiguous()), d2 + o4[..., 36:], d3 + o8, d4 + o16[..., :9]),
        )


class SubbandUNet(Upsampling):
    """Coefficients in quantisation steps -> corrected coefficients, same shapes.

    position: (B,), the step position (quality.step_position), about -0.15 (finest) to 1.1 (coarsest). middle: the
    blocks at stride 16; blocks: convolution blocks at strides 4 and 8, on the way down and again on the way up.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int], middle: Sequence[nn.Module]):
        super().__init__(widths, blocks)
        self.inputs = nn.ModuleList(nn.Linear(2 * n + 1, w) for n, w in zip(BANDS, widths, strict=True))
        convolutions = [nn.Sequential(*(ConvBlock(widths[l]) for _ in range(blocks[l]))) for l in range(2)]
        self.encoder = nn.ModuleList([*convolutions, nn.Sequential(*middle)])
        self.down = nn.ModuleList(nn.Linear(4 * widths[l], widths[l + 1]) for l in range(2))

    def forward(self, bands: Subbands, position: Tensor) -> Subbands:
        skips: list[Tensor] = []
        for l, c in enumerate(by_stride(bands)):
            x = self.inputs[l](coefficient_features(c, position_map(position, c)))
            skips.append(self.encoder[l](x + self.down[l - 1](space_to_depth(skips[-1])) if l else x))
        return self.correct(bands, *skips)


def by_stride(bands: Subbands) -> tuple[Tensor, Tensor, Tensor]:
    """The coefficients at strides 4, 8 and 16, (B, H/s, W/s, n) with n as in BANDS.

    The low band enters as its local contrast, as the brightness tells nothing.
    """
    low, d1, d2, d3, d4 = bands
    return torch.cat((space_to_depth(d1), d2), -1), d3, torch.cat((d4, 0.3 * local_contrast(low)), -1)


def round_up(pixels: int, grid: int) -> int:
    return -(-pixels // grid) * grid
