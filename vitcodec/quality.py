"""Quality: from 1 to 100 to a quantisation step, and rounding by it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .options import QUALITIES
from .search.tuning import LAGRANGIAN as LAGRANGIAN
from .subbands import Subbands

COARSEST, FINEST = 200.0, 3.0  # the step in 8-bit levels at quality 1 and 100
_STEP_0, _STEP_1 = 5.0, 140.0  # the steps at position 0 and 1


def step_of(quality: int) -> float:
    """The quantisation step in 8-bit levels of quality 1..100, log-linear."""
    return COARSEST * (FINEST / COARSEST) ** ((quality - 1) / (len(QUALITIES) - 1))


def step_position(step: Tensor) -> Tensor:
    """Where a step lies on a logarithmic scale, 0 at a step of 5 and 1 at 140: the transforms' input."""
    return torch.log(step / _STEP_0) / math.log(_STEP_1 / _STEP_0)


def step_at(position: Tensor) -> Tensor:
    """The step at a position: the inverse of step_position."""
    return _STEP_0 * torch.exp(position * math.log(_STEP_1 / _STEP_0))


def lagrangian(step: Tensor) -> Tensor:
    """lambda: bits per squared 8-bit level of error."""
    return LAGRANGIAN / step**2


def quantise(y: Tensor, dead: float = 0.0) -> Tensor:
    """Round to integers with a dead zone: |y| < 0.5 + dead becomes 0; larger values feel a quarter of it."""
    a = y.abs()
    return torch.sign(y) * torch.floor(a + 0.5 - dead * torch.where(a < 1.5, 1.0, 0.25))


def round_tokens(latents: Subbands, dead_zone: float) -> Subbands:
    """Latents in steps -> tokens, int32. The dead zone is for details alone."""
    return Subbands(
        torch.round(latents.low).int(), tuple(quantise(d, dead_zone).int() for d in latents.details), latents.finest
    )
