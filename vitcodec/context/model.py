"""The context model: in which order values are coded, and on which context each prediction rests.

There is no hyperprior: what is already decoded is the side information, from the coarsest level to the finest. The low
band is interlaced: first a sparse grid, then the sites between, each predicted relative to the mean of its known
neighbours. At each level the luma details are coded in four phases, one position of every 2x2 block each, then the
chroma details, whose context includes the luma. At levels 1 and 2 the block flags come first (groups.py), where the
weights have them: they are context for the values, and only flagged blocks have values.

One autoregressive pass serves training (float layers, all integers known), encoding and decoding (integer layers,
values known or read on the way): see groups.py for the coder callback, integer.py for the integer layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import by_rows, depth_to_space, space_to_depth
from ..subbands import LEVELS, Subbands
from .arithmetic import Arithmetic
from .config import CURRENT, ContextConfig
from .groups import CHROMA, FLAGGED_LEVELS, LUMA, Coder, CodingGroup
from .heads import (
    EVERYWHERE,
    ChannelConditionalHead,
    Dense,
    FlagContext,
    FourPhaseContext,
    Head,
    Residual,
    Sites,
    concatenate,
    extra_blocks,
    neighbourhood,
    subgroup,
)
from .phases import PHASES

STEP_FEATURES = 16
FLAG_INPUTS = 2 * 9  # both flags of 3x3 blocks
CONTRAST_INPUTS = 9 * 24  # the low band at 3x3 blocks
PARENT_INPUTS = 9 * 18  # the coarser level's values at 3x3 places
LUMA_CHANNELS, CHROMA_CHANNELS = (1, 1, 1), (3, 3)  # of each channel group: the orientations of luma; the two colours
LOW_SIZE = 5  # sites along a side of the low band's neighbourhoods


@cache
def _nearest(device: torch.device, kind: torch.dtype) -> Tensor:
    """1 for the middle 3x3 of such a neighbourhood: copied to a device once, as a CUDA graph cannot hold a copy."""
    with torch.inference_mode(False):
        return F.pad(torch.ones(3, 3, device="cpu"), (1, 1, 1, 1)).view(LOW_SIZE**2, 1).to(device, kind)


class InterlacedLowBand(nn.Module):
    """The low band, coded from a sparse grid to the whole.

    At each scale the grid's 2x2 blocks are filled in the order of PHASES, luma before chroma. Neighbours enter relative
    to the mean of those that are known, and so does the predicted mean: a constant added to the low band changes
    nothing. Only the sparsest grid's first sites are coded without neighbours.
    """

    def __init__(self, features: int, width: int, scales: int, parameters: int):
        super().__init__()
        inputs = features + 2 * 3 * LOW_SIZE**2
        self.scales = scales

        def heads(scale: int, inputs: int, channels: int) -> nn.ModuleList:
            return nn.ModuleList(Head(inputs, width, parameters * channels) for _ in PHASES[scale < scales - 1 :])

        self.luma = nn.ModuleList(heads(s, inputs, 1) for s in range(scales))
        self.chroma = nn.ModuleList(heads(s, inputs + 2, 2) for s in range(scales))

    def forward(self, num: Arithmetic, features: Tensor, rows: int, columns: int, coder: Coder) -> Tensor:
        """features (B, 16) of the step -> all values, (B, rows, columns, 3)."""
        values = num.integers(len(features), rows, columns, 3)
        known = num.integers(1, rows, columns, 1)
        for scale in reversed(range(self.scales)):
            luma_heads, chroma_heads = cast(nn.ModuleList, self.luma[scale]), cast(nn.ModuleList, self.chroma[scale])
            for (i, j), luma, chroma in zip(PHASES[-len(luma_heads) :], luma_heads, chroma_heads, strict=True):
                phase, stride = (i << scale, j << scale), 2 << scale
                here = (slice(None), slice(phase[0], None, stride), slice(phase[1], None, stride))
                if not known[here].numel():
                    continue
                q, mask = (self._neighbours(t[:, :: 1 << scale, :: 1 << scale], i, j) for t in (values, known))
                near = mask * _nearest(mask.device, mask.dtype)
                centre = num.quotient((q * near).sum(3), near.sum(3).clamp_min(1))
                context = (num.relative(q, centre[:, :, :, None]) * mask).flatten(3)
                inputs = torch.cat((features[:, None, None].expand(-1, *context.shape[1:3], -1), context), -1)
                y = coder(CodingGroup(0, slice(0, 1), phase, stride), self._moved(num, luma(inputs), centre[..., :1]))
                inputs = torch.cat((inputs, num.relative(y, centre[..., :1])), -1)
                c = coder(CodingGroup(0, slice(1, 3), phase, stride), self._moved(num, chroma(inputs), centre[..., 1:]))
                values[here], known[here] = torch.cat((y, c), -1), 1
        return values

    def _neighbours(self, grid: Tensor, i: int, j: int) -> Tensor:
        """Neighbourhoods of the sites (i::2, j::2) of a grid of any size: (B, h, w, size * size, C), zero outside."""
        height, width = grid.shape[1:3]
        grid = F.pad(grid, (0, 0, 0, width % 2 * (1 - j), 0, height % 2 * (1 - i)))
        return neighbourhood(grid, LOW_SIZE, i, j, 2).flatten(3, 4)

    @staticmethod
    def _moved(num: Arithmetic, parameters: Tensor, centre: Tensor) -> Tensor:
        """Parameters whose means are relative to `centre` -> absolute ones."""
        n = centre.shape[-1]
        return torch.cat((num.shifted(parameters[..., :n], centre), parameters[..., n:]), -1)


class DetailLevel(nn.Module):
    """One level's details: block flags, features on the grid of 2x2 blocks, luma heads, chroma heads.

    Inputs that the flags make are the last ones of each layer, so that weights without flags grow by columns. Also
    makes the features that the next finer level inherits.
    """

    def __init__(self, level: int, inherited: int, config: ContextConfig):
        super().__init__()
        width, head = config.features[level - 1], config.heads[level - 1]
        self.level, parent = level, 0 if level == LEVELS else PARENT_INPUTS
        known = inherited + CONTRAST_INPUTS + parent
        self.flags = FlagContext(known, config.flag_head) if config.flags and level in FLAGGED_LEVELS else None
        flags = FLAG_INPUTS if self.flags else 0
        self.enter = Dense(known + flags, width)
        self.body, self.extra = Residual(width), extra_blocks(width, config.extra_blocks[level - 1])
        self.luma = FourPhaseContext(LUMA_CHANNELS, 0, width, head, 5, level, config, flags)
        # at the coarse levels chroma has four phases of its own; at the fine ones, where little of it is left, one
        if level > 2:
            self.chroma: FourPhaseContext | ChannelConditionalHead = FourPhaseContext(
                CHROMA_CHANNELS, 3, width, head, 3, level, config, flags
            )
        else:
            self.chroma = ChannelConditionalHead(width + 9 * 24 + flags, 2 * head, CHROMA_CHANNELS, 4, level, config)
        self.up = Dense(width, 4 * width) if level > 1 else None

    def known(self, num: Arithmetic, inherited: Tensor, low: Tensor, parent: Tensor | None) -> list[Tensor]:
        """What is known of a site before the level: parts of the context, (B, h, w, ...). Arguments as in forward."""
        parts = [inherited, neighbourhood(space_to_depth(num.contrast(low)), 3)]
        return parts if parent is None else [*parts, neighbourhood(num.embed(parent), 3)]

    def features(self, context: Sequence[Tensor], sites: Sites = EVERYWHERE) -> Tensor:
        """The level's features, (B, h, w, width), of what is known and of the flags, where the weights have them."""

        def of_parts(*parts: Tensor) -> Tensor:
            return self.extra(self.body(self.enter(concatenate(parts))))

        return sites.scatter(by_rows(of_parts, *map(sites.gather, context)))

    def forward(
        self, num: Arithmetic, inherited: Tensor, low: Tensor, parent: Tensor | None, coder: Coder
    ) -> tuple[Tensor, Tensor | None]:
        """inherited: features of the coarser level; low: the low band of this level; parent: the coarser level's
        values.

        Returns the level's values, (B, 2h, 2w, 9), and the features for the next finer one, or None for level 1.
        """
        context = self.known(num, inherited, low, parent)
        flags, everything, luma, chroma = [], EVERYWHERE, EVERYWHERE, EVERYWHERE
        if self.flags is not None:
            inputs = self.flags(num, context, coder, self.level)
            luma, chroma = Sites(inputs[..., 0]), Sites(inputs[..., 1])
            if self.up is None:  # or the next level would inherit the features of every site
                everything = Sites(inputs.amax(-1))
            flags = [neighbourhood(inputs, 3)]
        f = self.features([*context, *flags], everything)
        y = self.luma(num, f, None, coder, self.level, LUMA, flags, luma)
        if isinstance(self.chroma, FourPhaseContext):
            c = self.chroma(num, f, num.embed(y), coder, self.level, CHROMA, flags, chroma)
        else:

            def code(part: slice, parameters: Tensor, _: Tensor | None) -> Tensor:
                return coder(CodingGroup(self.level, subgroup(CHROMA, part), None), parameters)

            parts = f, neighbourhood(space_to_depth(num.embed(y)), 3), *flags
            c = depth_to_space(self.chroma.code(num, parts, code, chroma))
        return torch.cat((y, c), -1), None if self.up is None else depth_to_space(self.up(f))


class ContextModel(nn.Module):
    """The whole pass.

    base (5, 9): log mean magnitude of each level and channel in 8-bit levels, where the predicted log scales start.
    """

    def __init__(self, config: ContextConfig = CURRENT):
        super().__init__()
        self.config = config
        self.low = InterlacedLowBand(STEP_FEATURES, config.low_head, config.low_scales, config.parameters)
        inherited = (*config.features[1:], STEP_FEATURES)
        self.levels = nn.ModuleList(  # coarsest first
            DetailLevel(level, inherited[level - 1], config) for level in range(LEVELS, 0, -1)
        )
        self.step_embedding = Dense(1, STEP_FEATURES)
        self.register_buffer("base", torch.zeros(LEVELS + 1, 9))

    def step_features(self, step: Tensor) -> Tensor:
        """step (B,) in 8-bit levels -> (B, 16): the networks' inputs for the quality."""
        return self.step_embedding(torch.log(step)[:, None] / 2 - 1.5)

    def autoregressive_pass(
        self, num: Arithmetic, features: Tensor, rows: int, columns: int, coder: Coder, finest: int = 1
    ) -> Subbands:
        """Code every value once: the low band, then the details of levels 4 to `finest`.

        features (B, 16) of the step; rows and columns are the low band's, even. Returns all values.
        """
        inherited = features[:, None, None].expand(-1, rows // 2, columns // 2, -1)
        q_low = self.low(num, features, rows, columns, coder)
        low, parent, details = num.lowpass(q_low), None, []
        levels: Sequence[DetailLevel] = [m for m in self.levels if isinstance(m, DetailLevel) and m.level >= finest]
        for level in levels:
            if parent is not None:
                low = num.merge(low, parent)
            parent, inherited = level(num, inherited, low, parent, coder)
            details.append(parent)
        return Subbands(q_low, tuple(reversed(details)), finest)
