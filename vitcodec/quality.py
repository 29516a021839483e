"""Quality, quantisation steps and rounding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

COARSEST, FINEST = 200.0, 3.0  # the step in 8-bit levels at quality 1 and 100
QUALITIES = range(1, 101)
_POSITION_0, _POSITION_1 = 5.0, 140.0  # the steps at rate position 0 and 1
LAGRANGIAN = (
    0.8 * 6 / math.log(2)
)  # bits that a squared error of one step is worth: 6 / ln 2 by high-rate theory, times 0.8
# mean squared 8-bit levels that 1 - MS-SSIM counts as: so CompressAI's two series of Lagrangians stand to each other (J. Begaint et al., 2020)
MS_SSIM_WORTH = 1300.0


def step_of(quality: int) -> float:
    """The quantisation step in 8-bit levels of quality 1..100, log-linear."""
    return COARSEST * (FINEST / COARSEST) ** ((quality - 1) / 99)


def step_position(step: Tensor) -> Tensor:
    """Where a step lies on a logarithmic scale: 0 at a step of 5, 1 at 140; what the networks see of the quality."""
    return torch.log(step / _POSITION_0) / math.log(_POSITION_1 / _POSITION_0)


def step_at(rate: Tensor) -> Tensor:
    """The step at a rate position: the inverse of step_position."""
    return _POSITION_0 * torch.exp(rate * math.log(_POSITION_1 / _POSITION_0))


def lagrangian(step: Tensor) -> Tensor:
    """Bits that one squared 8-bit level of error is worth."""
    return LAGRANGIAN / step**2


def ms_ssim_lagrangian(step: Tensor) -> Tensor:
    """Bits a pixel that 1 - MS-SSIM is worth, where a model is tuned for it."""
    return MS_SSIM_WORTH * 3 * lagrangian(step)


def quantise(y: Tensor, dead: float = 0.0) -> Tensor:
    """Round to integers with a dead zone: |y| < 0.5 + dead becomes 0, larger values feel a quarter of it."""
    a = y.abs()
    return torch.sign(y) * torch.floor(a + 0.5 - dead * torch.where(a < 1.5, 1.0, 0.25))
