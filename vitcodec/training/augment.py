"""Augmentation of crops where they lie: other scales, other colours. Shapes do not depend on what is drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import permutations

import torch
from torch import Tensor

CUBIC = -0.5  # R. Keys' coefficient
GAINS, OFFSETS = (0.6, 1.2), (-20.0, 20.0)  # of recoloured channels: on the contrast; in 8-bit levels


def resized(x: Tensor, sides: Tensor, size: int) -> Tensor:
    """The squares of `sides` (B,) pixels at the top left of maps x (B, S, S, 3) -> (B, size, size, 3), as large or
    smaller.

    By cubic interpolation with a filter as wide as the scale, as F.interpolate does with antialias; rounded to whole
    levels, 0..255. Two matrix products, of which most factors are zero: that suits a GPU.
    """
    weights = _cubic_weights(sides, x.shape[1], size)  # (B, size, S)
    rows = torch.bmm(weights, x.flatten(2)).unflatten(2, (x.shape[2], 3))
    columns = torch.bmm(weights, rows.transpose(1, 2).flatten(2)).unflatten(2, (size, 3))
    return columns.transpose(1, 2).clamp(0, 255).round()


def _cubic_weights(sides: Tensor, most: int, size: int) -> Tensor:
    """(B, size, most): what each place of a line counts in each of its scaled form; zero beyond the side."""
    scale = (sides / size)[:, None, None]
    place = torch.arange(most, device=sides.device)
    centre = (torch.arange(size, device=sides.device)[:, None] + 0.5) * scale
    d = ((place + 0.5 - centre) / scale.clamp_min(1)).abs()
    near = ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1
    far = ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC
    weights = torch.where(d < 1, near, torch.where(d < 2, far, 0)) * (place < sides[:, None, None])
    return weights / weights.sum(2, keepdim=True)


@cache
def _orders(device: torch.device) -> Tensor:
    return torch.tensor(list(permutations(range(3))), device=device)


def recoloured(x: Tensor, share: float, random: Callable[..., Tensor]) -> Tensor:
    """A share of crops (B, S, S, 3) in 0..255 with other gains and offsets and in another order of channels.

    random: shape -> uniform numbers in 0..1.
    """
    count = len(x)
    orders = _orders(x.device)
    order = orders[(random(count) * len(orders)).long().clamp_max(len(orders) - 1)][:, None, None].expand(x.shape)
    mean = x.mean((1, 2), keepdim=True)
    gain, offset = (low + (high - low) * random(count, 1, 1, 3) for low, high in (GAINS, OFFSETS))
    other = ((x - mean) * gain + mean + offset).gather(3, order).clamp(0, 255).round()
    return torch.where(random(count, 1, 1, 1) < share, other, x)
