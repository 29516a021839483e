"""The size of a context model. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContextConfig:
    """The defaults are what weights whose config.json lacks a field were trained with; CURRENT is what is trained today."""

    features: tuple[int, ...] = (96, 128, 128, 128)  # width of the features at levels 1 to 4
    heads: tuple[int, ...] = (
        64,
        80,
        80,
        80,
    )  # width of the luma heads at levels 1 to 4; twice that for chroma at levels 1 and 2
    low_head: int = 48  # width of the low band's heads
    low_scales: int = 3  # how often the low band's grid is halved: its first sites are 2^low_scales apart
    parameters: int = 3  # predicted per value: mean, log scale, mixture logit
    conditional: int = 0  # width of what conditions a channel group on those before it; 0: all channels at once
    extra_blocks: tuple[int, ...] = (
        0,
        0,
        0,
        0,
    )  # residual blocks beyond the first, of features and heads at levels 1 to 4


CURRENT = ContextConfig(conditional=32, extra_blocks=(0, 1, 2, 2))
