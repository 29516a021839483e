"""Small operations that transforms and context model share. Feature maps are channels-last, (B, H, W, C)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SITES_AT_ONCE = 4096  # of by_rows


def space_to_depth(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, H/2, W/2, 4C): each 2x2 block becomes one site."""
    B, H, W, C = x.shape
    return x.view(B, H // 2, 2, W // 2, 2, C).permute(0, 1, 3, 2, 4, 5).reshape(B, H // 2, W // 2, 4 * C)


def depth_to_space(x: Tensor) -> Tensor:
    """The inverse of space_to_depth: (B, H, W, 4C) -> (B, 2H, 2W, C)."""
    B, H, W, C = x.shape
    return x.view(B, H, W, 2, 2, C // 4).permute(0, 1, 3, 2, 4, 5).reshape(B, 2 * H, 2 * W, C // 4)


def by_rows(function: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """function(*maps), of maps (B, h, w, ...) -> (B, h, w, C), for a function that treats every site by itself.

    Without a gradient, and on a CPU, a few rows are worked on at a time: what lies between the layers then stays in the
    cache.
    """
    B, height, width = maps[0].shape[:3]
    rows = max(1, SITES_AT_ONCE // (B * width))
    if rows >= height or torch.is_grad_enabled() or maps[0].device.type != "cpu":
        return function(*maps)
    return torch.cat([function(*(m[:, a : a + rows] for m in maps)) for a in range(0, height, rows)], 1)


def signed_log(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|), of any shape: large coefficients compressed, small ones hardly changed."""
    return torch.sign(x) * torch.log1p(x.abs())


def local_contrast(x: Tensor, size: int = 5) -> Tensor:
    """x (B, H, W, C) less its mean over size x size sites, edges replicated.

    That is how a low band varies, whatever the brightness.
    """
    p = size // 2
    # replicated by indices: torch.compile mistakes the layout of the gradient of F.pad's replication
    rows, columns = (torch.arange(-p, n + p, device=x.device).clamp(0, n - 1) for n in x.shape[1:3])
    y = x.index_select(1, rows).index_select(2, columns).permute(0, 3, 1, 2)
    return x - F.avg_pool2d(y, size, 1).permute(0, 2, 3, 1)


class _RowProduct(torch.autograd.Function):
    """x (n, i) times weight (o, i) plus bias (o,), whose gradient is a matrix product too: sums over rows are slow on
    GPUs."""

    @staticmethod
    def forward(context, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        context.save_for_backward(x, weight)
        return torch.addmm(bias, x, weight.T)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:  # type: ignore[no-untyped-def, override]
        x, weight = context.saved_tensors
        back = gradient @ weight if context.needs_input_grad[0] else None
        return (
            back,
            gradient.T @ x,
            (gradient.new_ones(8, len(gradient)) @ gradient)[0],
        )  # a product has 8 rows at least


def row_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """F.linear for maps (..., i) -> (..., o), with such gradients, in the precision of autocast."""
    kind = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
    rows = _RowProduct.apply(x.flatten(0, -2).to(kind), weight.to(kind), bias.to(kind))
    return cast(Tensor, rows).unflatten(0, x.shape[:-1])


class Linear(nn.Linear):
    """A matrix product with bias. On a GPU the gradient of the bias is a product as well."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cuda" and torch.is_grad_enabled():
            return row_product(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)


def zero_init(layer: nn.Linear) -> nn.Linear:
    """A layer that starts as zero, so that the block around it starts as the identity."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
