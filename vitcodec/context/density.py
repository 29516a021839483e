"""The probability of an integer under the float model, for training.

It is a mixture of a Laplace and a Gauss distribution with one scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..subbands import Subbands
from .groups import CHROMA, LUMA, CodingGroup, FlagGroup, block_flags

LOG_SCALE_RANGE = -3.0, 7.0
GAUSS_WIDTH = 1.35  # standard deviation of the Gauss part in scales of the Laplace part
PROBABILITY_FLOOR = 2.0**-20
DEAD_ZONE, MOST_CERTAIN = 0.1, 1 - 1e-4  # of flag_chances
VALUE_BITS = 6.0  # about what a value of 1 costs in a block that is all zero else, with the zeros


def probability(q: Tensor, mean: Tensor, log_scale: Tensor, logit: Tensor) -> Tensor:
    """Mass of the unit interval around q (any real number).

    log_scale is clamped to LOG_SCALE_RANGE; sigmoid(logit) is the Gauss share.
    """
    inverse = torch.exp(-log_scale.clamp(*LOG_SCALE_RANGE))
    # by symmetry both edges are looked at from the left, where differences of small tails keep their precision
    a = (q - mean).abs().neg()
    upper, lower = (a + 0.5) * inverse, (a - 0.5) * inverse
    gauss = torch.special.ndtr(upper / GAUSS_WIDTH) - torch.special.ndtr(lower / GAUSS_WIDTH)
    tail = 0.5 * torch.exp(-upper.abs())
    laplace = torch.where(upper < 0, tail, 1 - tail) - 0.5 * torch.exp(lower)
    return torch.lerp(laplace, gauss, torch.sigmoid(logit))


def bits(q: Tensor, mean: Tensor, log_scale: Tensor, logit: Tensor) -> Tensor:
    """-log2 of the probability, with a floor that keeps it finite."""
    p = probability(q, mean, log_scale, logit).clamp_min(PROBABILITY_FLOOR)
    return -torch.log2(p * (1 - 2.0**-16) + 2.0**-22)


def _own_logits(flags: Tensor, logits: Tensor) -> Tensor:
    """Of each flag, (..., 2): that of chroma depends on the flag of luma. Arguments as of flag_bits."""
    alone, empty, beside = logits.unbind(-1)
    return torch.stack((alone, torch.where(flags[..., 0] > 0, beside, empty)), -1)


def flag_bits(flags: Tensor, logits: Tensor) -> Tensor:
    """Block flags (..., 2), 0 or 1, and logits (..., 3) as FlagGroup says -> -log2 of their probabilities, (..., 2)."""
    logit = _own_logits(flags, logits)
    return F.binary_cross_entropy_with_logits(logit, flags, reduction="none") / math.log(2)


def flag_chances(soft: Tensor) -> tuple[Tensor, Tensor]:
    """What uniform noise, added to a level's latents (B, 2h, 2w, 9) before they are rounded, makes of its blocks.

    Of luma and chroma, (B, h, w, 2) each: the probability of the flag, and the mean number of values that are not zero,
    of which each counts once.
    """
    B, H, W, _ = soft.shape
    chances = (soft.abs() - DEAD_ZONE).clamp(0, MOST_CERTAIN).view(B, H // 2, 2, W // 2, 2, -1)
    parts = [chances[..., channels] for channels in (LUMA, CHROMA)]
    flag = [1 - torch.log1p(-part).sum((2, 4, 5)).exp() for part in parts]
    return torch.stack(flag, -1), torch.stack([part.sum((2, 4, 5)) for part in parts], -1)


def expected_bits(chances: Tensor, count: Tensor, flags: Tensor, logits: Tensor) -> Tensor:
    """What flags cost on average, (..., 2), up to a constant, and in unflagged blocks what values would cost too.

    chances, count: as flag_chances. flags, logits: as of flag_bits.
    """
    logit = _own_logits(flags, logits)
    return VALUE_BITS * count * (1 - flags) - chances * logit / math.log(2)


class RateEstimator:
    """The coder callback of training: returns the known integers and flags and collects what is predicted.

    The rate is then computed once, of all groups. integers, soft: the latents after and before rounding; base (5, 9),
    see ContextModel; step (B,) in 8-bit levels. bits: `bits`, or its compiled form.
    """

    def __init__(
        self, integers: Subbands, soft: Subbands, base: Tensor, step: Tensor, bits: Callable[..., Tensor] = bits
    ):
        self.integers, self.soft, self.base, self.bits_of = integers, soft, base, bits
        self.log_step = torch.log(step).view(-1, 1, 1, 1)
        self.collected: list[tuple[Tensor, ...]] = []
        self.flags: dict[int, Tensor] = {}  # of each level that has them, (B, h, w, 2), 0 or 1
        self.coded: list[Tensor] = []  # 1 for what is coded, 0 for values of unflagged blocks
        self.collected_flags: list[Tensor] = []  # their bits, (B, n)
        self.chances: dict[int, tuple[Tensor, Tensor]] = {}  # as flag_chances
        self.expected_flags: list[Tensor] = []  # as expected_bits, (B, n)

    def __call__(self, group: CodingGroup | FlagGroup, parameters: Tensor) -> Tensor:
        if isinstance(group, FlagGroup):
            values = self.integers[group.level]
            if group.level not in self.flags:
                self.flags[group.level] = block_flags(values).float()
            flags = group.select(self.flags[group.level])
            self.collected_flags.append(flag_bits(flags, parameters.float()).flatten(1))
            if self.soft.low.requires_grad:
                if group.level not in self.chances:
                    self.chances[group.level] = flag_chances(self.soft[group.level])
                chances, count = self.chances[group.level]
                own = group.select(chances), group.select(count), flags, parameters.float().detach()
                self.expected_flags.append(expected_bits(*own).flatten(1))
            return flags
        q, y = group.gather(self.integers), group.gather(self.soft)
        mean, log_scale, logit = parameters.float().chunk(3, -1)
        base = self.base[group.level, group.channels]
        base = base if group.phase else base.repeat(4)
        symbols = group.symbols(q)
        collected = symbols, y + (symbols - q), mean, log_scale + (base - self.log_step), logit
        known = self.flags.get(group.level)
        coded = torch.ones_like(q) if known is None else known[..., group.flag, None].expand_as(q)
        self.coded.append(coded.flatten(1))
        self.collected.append(tuple(t.flatten(1) for t in collected))
        return q

    def flag_bits(self) -> Tensor:
        """(B,): bits of each image's block flags; 0 where the weights have none."""
        if not self.collected_flags:
            return self.log_step.new_zeros(len(self.integers.low))
        return torch.cat(self.collected_flags, 1).sum(1)

    def bits(self) -> Tensor:
        """(B,): bits of each image, flags and values.

        The context model learns from the integers; the analysis, whose gradient through rounding would vanish at every
        zero, from the rate of y + uniform noise, and in unflagged blocks from what flags would cost then.
        """
        q, y, *parameters = (torch.cat(t, 1) for t in zip(*self.collected, strict=True))
        coded = torch.cat(self.coded, 1)
        total = (self.bits_of(q, *parameters) * coded).sum(1) + self.flag_bits()
        if y.requires_grad:
            noise = torch.rand_like(y) - 0.5
            noisy = (self.bits_of(y + noise, *(p.detach() for p in parameters)) * coded).sum(1)
            if self.expected_flags:
                noisy = noisy + torch.cat(self.expected_flags, 1).sum(1)
            total = total + noisy - noisy.detach()
        return total
