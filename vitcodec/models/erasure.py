"""Filling in tokens that are erased, because a file was damaged or because they were left out on purpose.

A erased token is first filled in roughly: no details, and a low band interpolated from the tokens that arrived. A family that understands erased
tokens (its synthesis has `fills`, as that of `beit`) then corrects this by what it has learned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..wavelet import Subbands
from .tokens import tokens

if TYPE_CHECKING:
    from .autoencoder import Autoencoder

ROUNDS = 4  # in which the tokens to leave out are chosen
Filling = Callable[[Tensor, Tensor], Tensor]


def interpolated(low: Tensor, erased: Tensor) -> Tensor:
    """low (B, h, w, C) with what is erased (B, h, w) interpolated from coarser and coarser means of what is there (pull and push).

    Source: S. Gortler et al., "The Lumigraph", 1996. Where nothing is there, the result is zero.
    """
    there = ~erased[:, None]
    x = low.permute(0, 3, 1, 2) * there
    return _pull_push(x, there.to(low.dtype)).permute(0, 2, 3, 1)


def _pull_push(x: Tensor, there: Tensor) -> Tensor:
    """x (B, C, h, w), zero where there (B, 1, h, w) is zero."""
    _, _, h, w = x.shape
    if h == w == 1:
        return x
    half = {"kernel_size": 2, "ceil_mode": True}
    weight = F.avg_pool2d(there, **half)
    coarse = _pull_push(F.avg_pool2d(x, **half) / weight.clamp_min(1e-6), (weight > 0).to(x.dtype))
    return torch.where(there > 0, x, F.interpolate(coarse, scale_factor=2, mode="bilinear")[..., :h, :w])


def mean(low: Tensor, erased: Tensor) -> Tensor:
    """low (B, h, w, C) with the mean of what is there in place of what is erased (B, h, w): the simplest filling, to compare with."""
    there = ~erased[..., None]
    average = (low * there).sum((1, 2), keepdim=True) / there.sum((1, 2), keepdim=True).clamp_min(1)
    return torch.where(there, low, average)


def fill(bands: Subbands, erased: Tensor, filling: Filling = interpolated) -> Subbands:
    """Subbands with a low band made by `filling` and no details at the erased sites, (B, H/16, W/16) bool."""

    def blank(d: Tensor) -> Tensor:
        k = d.shape[1] // erased.shape[1]
        return d.masked_fill(erased.repeat_interleave(k, 1).repeat_interleave(k, 2)[..., None], 0)

    return Subbands(filling(bands.low, erased), tuple(blank(d) for d in bands.details), bands.finest)


def random_erasure(
    batch: int, height: int, width: int, share: float, generator: torch.Generator | None = None
) -> Tensor:
    """(batch, height, width) bool: a share of the tokens of each picture, at random."""
    order = torch.rand(batch, height * width, generator=generator).argsort(1).argsort(1)
    return (order < round(share * height * width)).view(batch, height, width)


@torch.no_grad()
def cheapest_to_erase(autoencoder: Autoencoder, latents: Subbands, step: Tensor, keep: float) -> Tensor:
    """(B, h, w) bool: the tokens to leave out so that a share `keep` of them, 0 to 1, is left: those whose absence costs little squared error.

    They are chosen in ROUNDS equal parts. In each every token is tried as erased beside those chosen before, while three of the four tokens of its
    2x2 block are there if they still are.
    """
    whole = tokens(autoencoder.restore(latents, step))
    B, h, w, _ = whole.shape
    chosen = torch.zeros(B, h, w, dtype=torch.bool, device=whole.device)
    for k in range(ROUNDS):
        errors = torch.full((B, h, w), torch.inf, device=whole.device)
        for i, j in ((0, 0), (1, 1), (0, 1), (1, 0)):
            tried = torch.zeros_like(chosen)
            tried[:, i::2, j::2] = True
            error = (tokens(autoencoder.restore(latents, step, chosen | tried)) - whole).square().sum(-1)
            errors = torch.where(tried & ~chosen, error, errors)
        more = round((1 - keep) * h * w * (k + 1) / ROUNDS) - round((1 - keep) * h * w * k / ROUNDS)
        chosen |= (errors.flatten(1).argsort(1).argsort(1) < more).view(B, h, w)
    return chosen
