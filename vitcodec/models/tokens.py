"""Images as grids of tokens: a token is the 768 coefficients of a site of 16x16 pixels. And attention among them.

Global attention costs the square of the number of tokens, so it runs within areas of at most `window` x `window` tokens
that start at multiples of `window`: an image no larger than that is one area, a larger one is several, and cost and
memory grow with the image's size alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import wavelet
from ..layers import depth_to_space, signed_log, space_to_depth, zero_init
from ..quality import step_at
from ..subbands import LEVELS, Subbands
from .blocks import RMSNorm, coefficient_features

TOKEN = 3 << 2 * LEVELS  # coefficients of a token: 768
LOW = TOKEN - 3  # where the low band's values start
PIXEL_UNIT = 127.5  # 8-bit levels to one unit of a pixel that is normalised to -1..1


def tokens(bands: Subbands) -> Tensor:
    """Subbands of n levels -> (B, H/2^n, W/2^n, 3 * 4^n), which is 768 for n = 4.

    The values of each site: those of level 1, then 2, ..., then n, then the low band's.
    """
    parts = []
    for level, d in enumerate(bands.details, 1):
        for _ in range(len(bands.details) - level):
            d = space_to_depth(d)
        parts.append(d)
    return torch.cat((*parts, bands.low), -1)


def subbands(x: Tensor, levels: int = LEVELS) -> Subbands:
    """The inverse of `tokens`."""
    *parts, low = x.split((*(9 << 2 * (levels - level) for level in range(1, levels + 1)), 3), -1)
    details = []
    for level, d in enumerate(parts, 1):
        d = d.contiguous()
        for _ in range(levels - level):
            d = depth_to_space(d)
        details.append(d)
    return Subbands(low, tuple(details))


def by_areas(function: Callable[..., Tensor], window: int, *maps: Tensor) -> Tensor:
    """Apply a function of areas (n, r, c, C_i) -> (n, r, c, D) to maps (B, h, w, C_i): (B, h, w, D).

    r = c = window, but for the areas at the right and the lower edge, which are smaller where the map ends.
    """
    B, height, width, _ = maps[0].shape
    rows = []
    for y, y_end, r in _spans(height, window):
        row = []
        for x, x_end, c in _spans(width, window):
            down, across = (y_end - y) // r, (x_end - x) // c
            areas = [
                m[:, y:y_end, x:x_end].reshape(B, down, r, across, c, -1).transpose(2, 3).reshape(-1, r, c, m.shape[-1])
                for m in maps
            ]
            row.append(
                function(*areas).view(B, down, across, r, c, -1).transpose(2, 3).reshape(B, y_end - y, x_end - x, -1)
            )
        rows.append(torch.cat(row, 2))
    return torch.cat(rows, 1)


def place_of(height: int, width: int, window: int, row: int, column: int) -> tuple[int, int, tuple[int, int, int, int]]:
    """Where by_areas has a site of maps (B, height, width, C): in which call of its function, counted from 0, in which
    area of the call, of an image, and that area on the map: (top, left, r, c).
    """
    spans = [(*rows, *columns) for rows in _spans(height, window) for columns in _spans(width, window)]
    for call, (y, y_end, r, x, x_end, c) in enumerate(spans):
        if y <= row < y_end and x <= column < x_end:
            down, across = (row - y) // r, (column - x) // c
            return call, down * ((x_end - x) // c) + across, (y + down * r, x + across * c, r, c)
    raise IndexError(f"site {row}, {column} of {height}x{width}")


def _spans(length: int, window: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, side of the areas between them)."""
    rest = length % window
    if length > rest:
        yield 0, length - rest, window
    if rest:
        yield length - rest, length, rest


class TokenEmbedding(nn.Module):
    """Tokens in quantisation steps -> features of `width` channels.

    The mean of the low band over the area is subtracted, as the brightness tells nothing.
    """

    def __init__(self, width: int):
        super().__init__()
        self.enter = nn.Linear(2 * TOKEN + 1, width)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """x (n, r, c, 768); position (n, r, c, 1), the step position -> (n, r, c, width)."""
        low = x[..., LOW:]
        x = torch.cat((x[..., :LOW], low - low.mean((1, 2), keepdim=True)), -1)
        return self.enter(coefficient_features(x, position))


class PatchEmbedding(nn.Module):
    """The same for timm's backbones: the pixels of a patch take the place of the clamped coefficients.

    values: pixels of a patch times three.
    """

    def __init__(self, width: int, values: int = TOKEN):
        super().__init__()
        self.enter = nn.Linear(2 * values + 1, width)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """x (n, r, c, 2 * values), from `with_pixels`; position (n, r, c, 1), the step position -> (n, r, c, width)."""
        return self.enter(torch.cat((x, position), -1))


def with_pixels(bands: Subbands, position: Tensor) -> Tensor:
    """Subbands of n levels in quantisation steps, step position (B,) -> (B, H/2^n, W/2^n, 6 * 4^n).

    Of every patch of 2^n x 2^n pixels its pixels, -1 to 1, then the signed logarithms of its coefficients.
    """
    p = 1 << len(bands.details)
    s = step_at(position).view(-1, 1, 1, 1)
    image = (wavelet.inverse(bands.map(lambda t: t * s)) - 128) / PIXEL_UNIT
    B, H, W, _ = image.shape
    patches = image.view(B, H // p, p, W // p, p, 3).permute(0, 1, 3, 5, 2, 4).flatten(3)
    return torch.cat((patches, signed_log(tokens(bands))), -1)


class TransformerBlock(nn.Module):
    """Attention of all tokens to all others, or to a memory, then an MLP. Starts as the identity.

    Each of the two comes after normalisation and has a residual connection. head: channels of an attention head;
    expansion: hidden neurons of the MLP for each channel.

    Sources: A. Vaswani et al., "Attention is all you need", 2017; A. Dosovitskiy et al., "An image is worth 16x16
    words", 2021.
    """

    def __init__(self, width: int, head: int, expansion: int):
        super().__init__()
        self.heads = width // head
        self.norm1, self.q, self.kv = RMSNorm(width), nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj = zero_init(nn.Linear(width, width))
        self.norm2, self.up = RMSNorm(width), nn.Linear(width, expansion * width)
        self.down = zero_init(nn.Linear(expansion * width, width))

    def forward(self, x: Tensor, memory: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """x (n, t, C) -> the same.

        memory: (n, s, C), normalised already, or None for x itself. bias: added to the scores, broadcasts to
        (n, heads, t, s).
        """
        n, t, C = x.shape
        y = self.norm1(x)
        q = self.q(y).view(n, t, self.heads, -1).transpose(1, 2)
        k, v = (
            self.kv(y if memory is None else memory).view(n, -1, 2, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, C))
        return x + self.down(F.gelu(self.up(self.norm2(x))))
