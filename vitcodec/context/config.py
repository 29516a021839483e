"""The settings of a context model. No torch here, so that config.json is read and checked at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContextConfig:
    """The widths of the networks, for levels 1 to 4 where there are four.

    The defaults are those of the first weights; CURRENT is what is trained now.
    """

    features: tuple[int, ...] = (96, 128, 128, 128)  # width of the features
    heads: tuple[int, ...] = (64, 80, 80, 80)  # width of the luma heads; twice that for chroma at levels 1 and 2
    low_head: int = 48  # width of the low band's heads
    low_scales: int = 3  # how often the low band's grid is halved: its first sites are 2^low_scales apart
    parameters: int = 3  # predicted for each value: mean, log scale, mixture logit
    conditional: int = 0  # width of a ChannelCondition; 0: all groups of channels at a place are coded at once
    extra_blocks: tuple[int, ...] = (0, 0, 0, 0)  # residual blocks beyond one, of the features and of every head
    flags: bool = False  # whether block flags are coded at levels 1 and 2, in place of certain zeros; then heads of
    # later phases see those neighbours alone that earlier phases hold, not others, which are always zero
    flag_head: int = 48  # width of the flags' heads


CURRENT = ContextConfig(conditional=32, extra_blocks=(0, 1, 2, 2), flags=True)
