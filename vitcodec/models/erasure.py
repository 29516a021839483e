"""Filling in erased tokens: those that the encoder erased on purpose, and those of damaged parts of a file.

An erased token is first filled in roughly: no details, and a low band interpolated from the tokens that were received.
A family that understands erasure (`supports_erasure`, as `beit`) then corrects this by what it has learned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..subbands import Subbands
from .tokens import tokens

ROUNDS = 4  # in which the tokens to erase are chosen
DEAR = 1e12  # a squared error that no token has
Filling = Callable[
    [Tensor, Tensor], Tensor
]  # a low band (B, h, w, C) and the erased sites (B, h, w) -> a whole low band


class Restoring(Protocol):
    """What an Autoencoder offers: latents and the erased tokens -> corrected coefficients in quantisation steps."""

    def restore(self, latents: Subbands, step: Tensor, erased: Tensor | None = None) -> Subbands: ...


def interpolated(low: Tensor, erased: Tensor) -> Tensor:
    """low (B, h, w, C) with the erased sites (B, h, w) interpolated from the received ones.

    Pull and push: coarser and coarser means of the received sites are filled in from the coarsest to the finest. Where
    no token was received at all, the result is zero.

    Source: S. Gortler et al., "The Lumigraph", 1996.
    """
    received = ~erased[:, None]
    x = low.permute(0, 3, 1, 2) * received
    return _pull_push(x, received.to(low.dtype)).permute(0, 2, 3, 1)


def _pull_push(x: Tensor, received: Tensor) -> Tensor:
    """x (B, C, h, w), zero where received (B, 1, h, w) is zero."""
    _, _, h, w = x.shape
    if h == w == 1:
        return x
    half = {"kernel_size": 2, "ceil_mode": True}
    weight = F.avg_pool2d(received, **half)
    coarse = _pull_push(F.avg_pool2d(x, **half) / weight.clamp_min(1e-6), (weight > 0).to(x.dtype))
    return torch.where(received > 0, x, F.interpolate(coarse, scale_factor=2, mode="bilinear")[..., :h, :w])


def mean(low: Tensor, erased: Tensor) -> Tensor:
    """low (B, h, w, C) with the mean of the received sites at the erased ones (B, h, w).

    The simplest filling, to compare others with.
    """
    received = ~erased[..., None]
    average = (low * received).sum((1, 2), keepdim=True) / received.sum((1, 2), keepdim=True).clamp_min(1)
    return torch.where(received, low, average)


def fill(bands: Subbands, erased: Tensor, filling: Filling = interpolated) -> Subbands:
    """Subbands with a low band made by `filling` and no details at the erased sites, (B, H/16, W/16) bool."""

    def blank(d: Tensor) -> Tensor:
        k = d.shape[1] // erased.shape[1]
        return d.masked_fill(erased.repeat_interleave(k, 1).repeat_interleave(k, 2)[..., None], 0)

    return Subbands(filling(bands.low, erased), tuple(blank(d) for d in bands.details), bands.finest)


def random_erasure(
    batch: int, height: int, width: int, share: float, generator: torch.Generator | None = None
) -> Tensor:
    """(batch, height, width) bool: a share, 0 to 1, of the tokens of each picture, at random."""
    order = torch.rand(batch, height * width, generator=generator).argsort(1).argsort(1)
    return (order < round(share * height * width)).view(batch, height, width)


@torch.no_grad()
def cheapest_to_erase(
    autoencoder: Restoring, latents: Subbands, step: Tensor, keep: float, first: Tensor | None = None
) -> Tensor:
    """The tokens to erase, (B, h, w) bool, so that a share `keep`, 0 to 1, is left: those that cost least.

    Cost is squared error after filling in. The tokens are chosen in ROUNDS equal parts. In each round every token is
    tried as erased together with those chosen before, in four passes: each tries one token of every 2x2 block, so that
    the block's others help to fill it in, unless they were chosen before. first: (B, h, w) bool, tokens that are
    kept before all others.
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
        if first is not None:
            errors = torch.where(first & ~chosen, errors.double() + DEAR, errors.double())
        more = round((1 - keep) * h * w * (k + 1) / ROUNDS) - round((1 - keep) * h * w * k / ROUNDS)
        chosen |= (errors.flatten(1).argsort(1).argsort(1) < more).view(B, h, w)
    return chosen
