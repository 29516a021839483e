"""Building blocks that the model families share. Feature maps are channels-last, (B, H, W, C)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import by_rows, signed_log, zero_init


def position_map(position: Tensor, x: Tensor) -> Tensor:
    """The step position (B,) at each site of x (B, h, w, C): (B, h, w, 1)."""
    return position.view(-1, 1, 1, 1).expand(*x.shape[:3], 1)


def coefficient_features(c: Tensor, position: Tensor) -> Tensor:
    """Coefficients (B, h, w, n) in quantisation steps as a network's input, (B, h, w, 2n + 1).

    position: (B, h, w, 1), the step position. Every coefficient enters twice: clamped to eight steps, and as a signed
    logarithm.
    """
    return torch.cat((c.clamp(-8, 8) * 0.5, signed_log(c), position), -1)


class RMSNorm(nn.Module):
    """Division by the root mean square over the channels (B. Zhang and R. Sennrich, "Root mean square layer
    normalization", 2019).
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), 1e-6)


class _RowByRow(torch.autograd.Function):
    """Depthwise convolution with a faster weight gradient for CPUs: a fifth of the time of the library's.

    The gradient comes from matrix products. The padded picture's rows times the gradient's give all products of two
    columns of a channel at once; their diagonals, summed, are the taps.
    """

    @staticmethod
    def forward(context, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        context.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:  # type: ignore[no-untyped-def, override]
        x, weight = context.saved_tensors
        size, (B, C, H, W) = weight.shape[-1], x.shape
        p = size // 2
        back = F.conv2d(gradient, weight.flip(2, 3), padding=p, groups=C)
        if not context.needs_input_grad[1]:
            return back, None, None
        g = gradient.permute(1, 0, 2, 3).reshape(C, B * H, W)
        rows = F.pad(x.permute(1, 0, 2, 3), (p, p, p, p))
        shifts = torch.cat([rows[:, :, i : i + H].reshape(C, B * H, W + 2 * p) for i in range(size)], -1)
        columns = torch.bmm(shifts.mT, g).view(C, size, W + 2 * p, W)
        taps = torch.stack([columns.diagonal(-j, 2, 3).sum(-1, dtype=torch.float32) for j in range(size)], -1)
        return back, taps.view(weight.shape).to(weight.dtype), gradient.sum((0, 2, 3))


class Depthwise(nn.Conv2d):
    """A convolution of every channel by itself, as large as its input: (B, C, H, W) -> the same."""

    def __init__(self, width: int, size: int):
        super().__init__(width, width, size, padding=size // 2, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        return _RowByRow.apply(x.to(kind), self.weight.to(kind), cast(Tensor, self.bias).to(kind))


class ConvBlock(nn.Module):
    """Depthwise 5x5 convolution, then a gated MLP, with a residual connection. Starts as the identity.

    (B, H, W, width) -> the same.
    """

    RADIUS = 2  # sites

    def __init__(self, width: int):
        super().__init__()
        hidden = 3 * width // 2
        self.norm = RMSNorm(width)
        self.mix = Depthwise(width, 2 * self.RADIUS + 1)
        self.up = nn.Linear(width, 2 * hidden)
        self.down = zero_init(nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return by_rows(self._mlp, x, y)

    def _mlp(self, x: Tensor, y: Tensor) -> Tensor:
        gate, value = self.up(y).chunk(2, -1)
        return x + self.down(F.gelu(gate) * value)


class WindowBlock(nn.Module):
    """Self-attention within windows of tokens, with a relative position bias, then an MLP. Starts as the identity.

    (B, H, W, width) -> the same. window: tokens along a side of a window; head: channels of an attention head. A
    shifted block pads half a window at the top and the left instead of rolling, so that far sides of an image never
    meet and a tile that starts at a multiple of the window computes what the whole image would. Padding tokens are zero
    after normalisation.

    Source: Z. Liu et al., "Swin transformer", 2021.
    """

    def __init__(self, width: int, shifted: bool, window: int = 8, head: int = 32):
        super().__init__()
        self.heads, self.window, self.shift = width // head, window, window // 2 if shifted else 0
        self.norm1, self.qkv, self.proj = (
            RMSNorm(width),
            nn.Linear(width, 3 * width),
            zero_init(nn.Linear(width, width)),
        )
        self.norm2, self.up, self.down = (
            RMSNorm(width),
            nn.Linear(width, 2 * width),
            zero_init(nn.Linear(2 * width, width)),
        )
        self.bias = nn.Parameter(torch.zeros(self.heads, (2 * window - 1) ** 2))
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        offset = place[:, :, None] - place[:, None, :] + window - 1
        self.register_buffer("index", offset[0] * (2 * window - 1) + offset[1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        w, s, d = self.window, self.shift, C // self.heads
        y = F.pad(self.norm1(x), (0, 0, s, -(W + s) % w, s, -(H + s) % w))
        rows, columns = y.shape[1] // w, y.shape[2] // w
        qkv = self.qkv(y).view(B, rows, w, columns, w, 3, self.heads, d)
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, -1, self.heads, w * w, d)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias[:, self.index][None])
        y = (
            y.view(B, rows, columns, self.heads, w, w, d)
            .permute(0, 1, 4, 2, 5, 3, 6)
            .reshape(B, rows * w, columns * w, C)
        )
        x = x + self.proj(y[:, s : s + H, s : s + W])
        return x + self.down(F.gelu(self.up(self.norm2(x))))
