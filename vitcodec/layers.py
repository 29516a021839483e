"""Small operations that transforms and context model share. Feature maps are channels-last, (B, H, W, C)."""

from __future__ import annotations

from collections.abc import Callable

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


def zero_init(layer: nn.Linear) -> nn.Linear:
    """A layer that starts as zero, so that the block around it starts as the identity."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
