"""The `beit` family: a bidirectional encoder with mask tokens, and a cross-attention decoder that can do without some.

Tokens are the 768 wavelet coefficients of 16x16 pixels. An erased token enters as a learned mask token. In the decoder
a query of every site attends to the received tokens; a linear head with a sigmoid bounds the correction. Both networks
start as zero corrections. The preset `beit-base` has timm's Beit as its encoder.

Sources: H. Bao et al., "BEiT", 2022 (mask tokens, relative position biases); K. He et al., "Masked autoencoders", 2022
(decoding from a part of the tokens); O. Press et al., "Train short, test long", 2022 (biases that fall with the
distance, where the learning starts here).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import zero_init
from ..quality import step_at
from ..subbands import LEVELS, Subbands
from .backbone import TimmTokens
from .blocks import RMSNorm, position_map
from .tokens import TOKEN, PatchEmbedding, TokenEmbedding, TransformerBlock, by_areas, subbands, tokens, with_pixels

# the largest correction of an erased value in 8-bit levels: at levels 1 to 4, and in the low band
ERASED_REACH = (32.0, 64.0, 128.0, 256.0, 1024.0)


@dataclass(frozen=True)
class BeitConfig:
    width: int = 256  # channels of the encoder
    blocks: int = 3  # of the encoder
    decoder_width: int = 256
    memory_blocks: int = 1  # blocks of the decoder in which all tokens attend to each other
    decoder_blocks: int = 2  # blocks of cross-attention to the received tokens
    reach: float = 4.0  # the largest correction of a received value: quantisation steps
    window: int = 16  # tokens along a side of the area within which attention is global
    head: int = 32  # channels of an attention head
    expansion: int = 4  # hidden neurons of the MLP for each channel
    backbone: str = ""  # timm's name of the encoder's class; none: the blocks of this package


class RelativeBlock(nn.Module):
    """A transformer block with a bias for each head and offset between two tokens: at first a penalty for distance."""

    def __init__(self, width: int, config: BeitConfig):
        super().__init__()
        heads, window = width // config.head, config.window
        self.block = TransformerBlock(width, config.head, config.expansion)
        distance = torch.cartesian_prod(*(torch.arange(1.0 - window, window),) * 2).norm(dim=1).view(2 * window - 1, -1)
        self.bias = nn.Parameter(-distance * 2.0 ** -torch.arange(heads)[:, None, None])

    def forward(self, x: Tensor, memory: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """x (n, r, c, C) -> the same, by attention to x itself or to a memory.

        memory: (n, 1 + r * c, C), whose first entry belongs to no site. hidden: (n, r, c) bool, the sites of the memory
        that are masked.
        """
        n, r, c, C = x.shape
        side = self.bias.shape[1] // 2
        # (heads, r, c, r, c): the bias at each pair's offset
        bias = self.bias[:, side - r + 1 : side + r, side - c + 1 : side + c].unfold(1, r, 1).unfold(2, c, 1).flip(1, 2)
        bias = bias.reshape(1, -1, r * c, r * c)
        if memory is not None:
            bias = F.pad(bias, (1, 0))
        if hidden is not None:
            bias = bias.masked_fill(F.pad(hidden.flatten(1), (1, 0))[:, None, None], -torch.inf)
        return self.block(x.flatten(1, 2), memory, bias).view(n, r, c, C)


class MaskedEmbedding(nn.Module):
    """Tokens -> features; those of an erased token are a learned mask token."""

    def __init__(self, width: int, embedding: nn.Module):
        super().__init__()
        self.embedding = embedding
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, x: Tensor, position: Tensor, erased: Tensor | None) -> Tensor:
        """x (n, r, c, C) -> (n, r, c, width). position: (n, r, c, 1), the step position; erased: (n, r, c, 1) bool."""
        features = self.embedding(x, position)
        return features if erased is None else torch.where(erased, self.mask_token, features)


class RelativeTransformer(nn.Module):
    """Blocks over all tokens of an area, mask tokens included."""

    def __init__(self, width: int, blocks: int, config: BeitConfig):
        super().__init__()
        self.blocks = nn.ModuleList(RelativeBlock(width, config) for _ in range(blocks))
        self.norm = RMSNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, r, c, width) -> the same."""
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class MaskedTokens(nn.Module):
    """The base of analysis and synthesis: areas of tokens, some of which may be erased.

    An area starts at every multiple of `grid`.
    """

    supports_erasure = True

    def __init__(self, config: BeitConfig):
        super().__init__()
        self.window = config.window
        self.grid = config.window << LEVELS
        self.halo = 0
        self.timm = False

    def correction(self, x: Tensor, position: Tensor, erased: Tensor | None) -> Tensor:
        """Of an area's tokens x (n, r, c, C): (n, r, c, 768).

        position: (n, r, c, 1), the step position. erased: (n, r, c, 1) bool, or None for none.
        """
        raise NotImplementedError

    def forward(self, bands: Subbands, position: Tensor, erased: Tensor | None = None) -> Subbands:
        """Coefficients in quantisation steps -> corrected coefficients.

        position: (B,), the step position. erased: (B, H/16, W/16) bool, or None for none.
        """
        x = tokens(bands)
        _, h, w, _ = x.shape
        maps = [with_pixels(bands, position) if self.timm else x, position_map(position, x)]
        if self.timm and erased is None:
            erased = torch.zeros_like(maps[1][..., 0], dtype=torch.bool)
        if erased is not None:
            maps.append(erased[..., None].to(x.dtype))
        if self.timm:  # whose position biases are for whole areas: tokens outside the image count as erased
            maps = [
                F.pad(m, (0, 0, 0, -w % self.window, 0, -h % self.window), value=k // 2) for k, m in enumerate(maps)
            ]

        def function(x: Tensor, position: Tensor, mask: Tensor | None = None) -> Tensor:
            return self.correction(x, position, None if mask is None else mask > 0.5)

        return subbands(x + by_areas(function, self.window, *maps)[:, :h, :w])


class BeitAnalysis(MaskedTokens):
    """The encoder's correction. Erased tokens, which will not be coded, enter as mask tokens and are not corrected."""

    def __init__(self, config: BeitConfig):
        super().__init__(config)
        self.timm = bool(config.backbone)
        self.halo = self.grid if self.timm else 0  # pixels depend on the coefficients around
        embedding = PatchEmbedding(config.width) if config.backbone else TokenEmbedding(config.width)
        self.enter = MaskedEmbedding(config.width, embedding)
        self.body = (
            TimmTokens(config.backbone, config.window)
            if config.backbone
            else RelativeTransformer(config.width, config.blocks, config)
        )
        self.leave = zero_init(nn.Linear(config.width, TOKEN))

    def correction(self, x: Tensor, position: Tensor, erased: Tensor | None) -> Tensor:
        y = self.leave(self.body(self.enter(x, position, erased)))
        return y if erased is None else y.masked_fill(erased, 0)


class BeitSynthesis(MaskedTokens):
    """The decoder's correction: blocks over all tokens, then a query of every site, which attends to the received ones.

    Erased tokens are to be filled in roughly before (`erasure.fill`); the correction is relative to that.
    """

    erased_reach: Tensor

    def __init__(self, config: BeitConfig):
        super().__init__(config)
        width = config.decoder_width
        self.enter = MaskedEmbedding(width, TokenEmbedding(width))
        self.memory = RelativeTransformer(width, config.memory_blocks, config)
        self.nothing = nn.Parameter(
            0.02 * torch.randn(1, 1, width)
        )  # a memory entry of its own, for areas where no token was received
        self.queries = nn.ModuleList(RelativeBlock(width, config) for _ in range(config.decoder_blocks))
        self.norm = RMSNorm(width)
        self.leave = zero_init(nn.Linear(width, TOKEN))
        self.received_reach = config.reach
        widths = *(9 << 2 * (LEVELS - level) for level in range(1, LEVELS + 1)), 3
        reach = [r for r, n in zip(ERASED_REACH, widths, strict=True) for _ in range(n)]
        self.register_buffer("erased_reach", torch.tensor(reach), persistent=False)

    def correction(self, x: Tensor, position: Tensor, erased: Tensor | None) -> Tensor:
        h = self.memory(self.enter(x, position, erased))
        memory = torch.cat((self.nothing.expand(len(h), -1, -1), h.flatten(1, 2)), 1)
        for query in self.queries:
            h = query(h, memory, None if erased is None else erased[..., 0])
        reach = (
            self.received_reach
            if erased is None
            else torch.where(erased, self.erased_reach / step_at(position), self.received_reach)
        )
        return reach * (2 * torch.sigmoid(self.leave(self.norm(h))) - 1)
