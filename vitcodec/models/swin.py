"""The `swin` family: a U-Net over the wavelet subbands, convolutions at strides 4 and 8, shifted-window attention at stride 16.

Analysis and synthesis are the same network mirrored around the latents. Each corrects the coefficients that it is given; both start as zero
corrections, so that an untrained model is a wavelet codec.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layers import fold, local_contrast, signed_log, unfold, zero_init
from ..wavelet import Subbands
from .blocks import ConvBlock, WindowBlock

BANDS = (45, 9, 12)  # coefficients a site at strides 4, 8 and 16: level 1 folded with level 2; level 3; level 4 with the low band


@dataclass(frozen=True)
class SwinConfig:
    widths: tuple[int, int, int] = (96, 160, 256)  # channels at strides 4, 8, 16
    blocks: tuple[int, int, int] = (1, 1, 2)  # blocks on the way down at strides 4 and 8 (and as many on the way up), and at stride 16
    window: int = 8  # tokens along a side of an attention window
    head: int = 32  # channels of an attention head


class SubbandUNet(nn.Module):
    """Coefficients in units of the quantisation step -> corrected coefficients, same shapes.

    rate: (B,), the position of the step on a logarithmic scale, about -0.15 (finest) to 1.1 (coarsest).
    """

    def __init__(self, config: SwinConfig):
        super().__init__()
        widths, blocks = config.widths, config.blocks

        def stage(l: int) -> nn.Sequential:
            if l < 2:
                return nn.Sequential(*(ConvBlock(widths[l]) for _ in range(blocks[l])))
            return nn.Sequential(*(WindowBlock(widths[l], i % 2 == 1, config.window, config.head) for i in range(blocks[l])))

        self.inputs = nn.ModuleList(nn.Linear(2 * n + 1, w) for n, w in zip(BANDS, widths, strict=True))
        self.encoder = nn.ModuleList(stage(l) for l in range(3))
        self.down = nn.ModuleList(nn.Linear(4 * widths[l], widths[l + 1]) for l in range(2))
        self.up = nn.ModuleList(nn.Linear(widths[l + 1], 4 * widths[l]) for l in range(2))
        self.decoder = nn.ModuleList(stage(l) for l in range(2))
        self.outputs = nn.ModuleList(zero_init(nn.Linear(w, n)) for n, w in zip(BANDS, widths, strict=True))

    def forward(self, bands: Subbands, rate: Tensor) -> Subbands:
        low, (d1, d2, d3, d4) = bands
        sites = torch.cat((fold(d1), d2), -1), d3, torch.cat((d4, 0.3 * local_contrast(low)), -1)
        skips: list[Tensor] = []
        for l, c in enumerate(sites):
            x = torch.cat((c.clamp(-8, 8) * 0.5, signed_log(c), rate.view(-1, 1, 1, 1).expand(*c.shape[:3], 1)), -1)
            x = self.inputs[l](x)
            skips.append(self.encoder[l](x + self.down[l - 1](fold(skips[-1])) if l else x))
        h16 = skips[2]
        h8 = self.decoder[1](skips[1] + unfold(self.up[1](h16)))
        h4 = self.decoder[0](skips[0] + unfold(self.up[0](h8)))
        o4, o8, o16 = self.outputs[0](h4), self.outputs[1](h8), self.outputs[2](h16)
        return Subbands(low + o16[..., 9:], (d1 + unfold(o4[..., :36].contiguous()), d2 + o4[..., 36:], d3 + o8, d4 + o16[..., :9]))


class SwinAnalysis(SubbandUNet):
    """The encoder's correction: what the wavelet should have said, given what can be coded."""


class SwinSynthesis(SubbandUNet):
    """The decoder's correction: what the coefficients were before rounding, as far as their surroundings tell."""
