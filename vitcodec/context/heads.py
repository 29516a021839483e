"""The layers of the context model: dense layers, and heads that predict the parameters of a coding group's values.

Only matrix products, ReLU, neighbourhoods and look-ups occur, so that the float model has an exact integer twin
(integer.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import Linear, by_rows, zero_init
from .arithmetic import Arithmetic
from .config import ContextConfig
from .groups import Coder, CodingGroup, FlagGroup
from .phases import PHASES, known_places, known_rectangles


def neighbourhood(x: Tensor, size: int, i: int = 0, j: int = 0, stride: int = 1) -> Tensor:
    """The size x size neighbourhoods of the sites (i::stride, j::stride), zero outside.

    x (B, H, W, C) -> (B, h, w, size, size, C), as a view.
    """
    p = size // 2
    x = F.pad(x, (0, 0, p - j, p + j - stride + 1, p - i, p + i - stride + 1))
    return x.unfold(1, size, stride).unfold(2, size, stride).permute(0, 1, 2, 4, 5, 3)


def known_neighbourhoods(phases: Sequence[Tensor], size: int) -> list[Tensor]:
    """What the next phase sees of the phases before it, each (B, h, w, C): a part for each, (B, h, w, m, n, C)."""
    parts = []
    for r in known_rectangles(len(phases), size):
        x = F.pad(phases[r.phase], (0, 0, -r.left, r.left + r.width - 1, -r.top, r.top + r.height - 1))
        parts.append(x.unfold(1, r.height, 1).unfold(2, r.width, 1).permute(0, 1, 2, 4, 5, 3))
    return parts


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """All values that parts, (B, h, w, ...), have at a site, as channels: (B, h, w, C)."""
    return torch.cat([part.flatten(3) for part in parts], -1)


class Sites:
    """The sites of a map that are computed: rows are gathered there and scattered back.

    chosen: (B, h, w), not zero where something is to be computed. None: everywhere, and maps stay as they are.
    """

    def __init__(self, chosen: Tensor | None = None):
        # on other devices than CPUs waiting for the number of rows costs more than it saves
        self.places = None
        if chosen is not None and chosen.device.type == "cpu":
            self.shape, self.places = chosen.shape, chosen.nonzero(as_tuple=True)
            self.rows = chosen.flatten().nonzero().squeeze(1)

    def gather(self, x: Tensor) -> Tensor:
        """(B, h, w, ...) -> (1, n, 1, ...): as a map of one column, so that layers need not know."""
        if self.places is None:
            return x
        # the gradient of index_select is much faster, but a neighbourhood would be copied for it
        rows = x.flatten(0, 2).index_select(0, self.rows) if x.is_contiguous() else x[self.places]
        return rows[None, :, None]

    def scatter(self, rows: Tensor) -> Tensor:
        """The inverse for (1, n, 1, C); zero elsewhere."""
        if self.places is None:
            return rows
        flat = rows.new_zeros(self.shape.numel(), rows.shape[-1]).index_copy(0, self.rows, rows[0, :, 0])
        return flat.unflatten(0, self.shape)


EVERYWHERE = Sites()


def subgroup(channels: slice, group: slice) -> slice:
    """Channels counted from the start of others."""
    return slice(channels.start + group.start, channels.start + group.stop)


class Dense(Linear):
    """A matrix product with bias and ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class Residual(nn.Module):
    """relu(x + reduce(relu(expand(x)))), twice as wide inside."""

    def __init__(self, width: int):
        super().__init__()
        self.expand, self.reduce = Dense(width, 2 * width), Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.reduce(self.expand(x)))


def extra_blocks(width: int, count: int) -> nn.Sequential:
    """Residual blocks that change nothing before they are trained."""
    blocks = [Residual(width) for _ in range(count)]
    for block in blocks:
        zero_init(block.reduce)
    return nn.Sequential(*blocks)


class Head(nn.Module):
    """A context -> the parameters of each value, (..., parameters * n).

    All means come first, then all log scales, then all mixture logits.
    """

    def __init__(self, inputs: int, width: int, outputs: int, extra: int = 0):
        super().__init__()
        self.enter, self.body, self.leave = Dense(inputs, width), Residual(width), zero_init(Linear(width, outputs))
        self.extra = extra_blocks(width, extra)

    def hidden(self, x: Tensor) -> Tensor:
        return self.extra(self.body(self.enter(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.hidden(x))

    def of_parts(self, *parts: Tensor) -> Tensor:
        """Parts of the context, (B, h, w, ...) -> (B, h, w, outputs)."""
        return self(concatenate(parts))


class ChannelCondition(nn.Module):
    """What conditions a group of channels on those decoded before it.

    A head's hidden layer and those channels -> what is added to the parameters of the group.
    """

    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        self.enter, self.leave = Dense(inputs, width), zero_init(Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.enter(x))


class ChannelConditionalHead(Head):
    """A head whose channels are coded in groups, each conditioned on those before it at the same place.

    channels: of each group; places: for how many the head speaks. Values and parameters are in the order of places,
    then channels. overdue: whether blocks may be so (phases.py): groups after the first then see which ones are.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        channels: Sequence[int],
        places: int,
        level: int,
        config: ContextConfig,
        overdue: bool = False,
    ):
        p = config.parameters
        super().__init__(inputs, width, p * places * sum(channels), config.extra_blocks[level - 1])
        self.channels = tuple(channels) if config.conditional else (sum(channels),)
        self.places, self.parameters_each = places, p
        decoded = [2 * places * sum(channels[:k]) for k in range(len(channels))]
        conditioned = list(zip(decoded, channels, strict=True))[1:] if config.conditional else []
        self.overdue = overdue and config.conditional > 0
        self.conditionals = nn.ModuleList(
            ChannelCondition(width + n + self.overdue, config.conditional, p * places * c) for n, c in conditioned
        )

    def code(
        self,
        num: Arithmetic,
        context: Sequence[Tensor],
        coder: Callable[[slice, Tensor, Tensor | None], Tensor],
        sites: Sites = EVERYWHERE,
        empty: Tensor | None = None,
    ) -> Tensor:
        """The parts of the context -> all values, (B, h, w, places * channels).

        coder: the channels of a group, its parameters, and which blocks are overdue -> its values. sites: where there
        are values. empty: (B, h, w, 1) bool, where all luma values before the head's own are zero, for heads of blocks
        that may be overdue.
        """
        hidden = by_rows(lambda *rows: self.hidden(concatenate(rows)), *map(sites.gather, context))
        parameters = self.leave(hidden).unflatten(-1, (self.parameters_each, self.places, -1)).split(self.channels, -1)
        inputs, first = [hidden], 0
        values: list[Tensor] = []
        for k, (count, predicted) in enumerate(zip(self.channels, parameters, strict=True)):
            predicted, overdue, known = predicted.flatten(-3), None, inputs
            if k:
                inputs.append(num.embed(values[-1].flatten(-2)))
                if self.overdue and empty is not None:
                    still = [sites.gather(empty), *((v == 0).all(-1) for v in values)]
                    alone = torch.cat(still, -1).all(-1, keepdim=True)
                    overdue, known = sites.scatter(alone), [*inputs, num.embed_flags(alone)]
                predicted = predicted + self.conditionals[k - 1](torch.cat(known, -1))
            coded = sites.gather(coder(slice(first, first + count), sites.scatter(predicted), overdue))
            values.append(coded.unflatten(-1, (self.places, count)))
            first += count
        return sites.scatter(torch.cat(values, -1).flatten(-2))


class FlagContext(nn.Module):
    """The block flags of a level in four phases, one position of every 2x2 blocks each.

    The context of a phase is what is known of the site before the level, and those of the 5x5 flags around it that the
    phases before it hold. inputs: how many the former makes.
    """

    SIZE = 5  # blocks along a side of the neighbourhoods

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.inputs = inputs
        known = (len(known_places(k, self.SIZE)) for k in range(len(PHASES)))
        self.heads = nn.ModuleList(Head(inputs + 2 * n, width, 3) for n in known)

    def forward(self, num: Arithmetic, context: Sequence[Tensor], coder: Coder, level: int) -> Tensor:
        """Parts of the context (B, h, w, ...), h and w even -> all flags, (B, h, w, 2), as network inputs."""
        flags, phases = num.zeros(*context[0].shape[:3], 2), list[Tensor]()
        for (i, j), head in zip(PHASES, self.heads, strict=True):
            parts = [*(part[:, i::2, j::2] for part in context), *known_neighbourhoods(phases, self.SIZE)]
            logits = by_rows(cast(Head, head).of_parts, *parts)
            phases.append(num.embed_flags(coder(FlagGroup(level, (i, j)), logits)))
            flags[:, i::2, j::2] = phases[-1]
        return flags


class FourPhaseContext(nn.Module):
    """n channels in four phases, one position of every 2x2 block each.

    The context of a phase is the level's features, the size x size neighbourhood of the phases before it, and that of
    `other` channels, which are decoded already. channels: of each group of a head. flags: how many inputs the flags
    make. Of the phases before it a head sees what they hold, or, without flags in the weights, a whole neighbourhood
    with zeros for the rest.
    """

    def __init__(
        self,
        channels: Sequence[int],
        other: int,
        features: int,
        width: int,
        size: int,
        level: int,
        config: ContextConfig,
        flags: int = 0,
    ):
        super().__init__()
        self.n, self.size, self.known_alone = sum(channels), size, config.flags
        self.inputs, self.other = features, 2 * size**2 * other
        inputs = (features + 2 * self.n * len(self.places(k)) + self.other + flags for k in range(len(PHASES)))
        self.heads = nn.ModuleList(
            ChannelConditionalHead(i, width, channels, 1, level, config, overdue=flags > 0 and k == len(PHASES) - 1)
            for k, i in enumerate(inputs)
        )

    def places(self, phase: int) -> list[int]:
        """Which of a neighbourhood's positions, in raster order, a phase's head sees of its own channels, in order."""
        if self.known_alone:
            return known_places(phase, self.size)
        return list(range(self.size**2)) if phase else []

    def forward(
        self,
        num: Arithmetic,
        features: Tensor,
        other: Tensor | None,
        coder: Coder,
        level: int,
        channels: slice,
        flags: Sequence[Tensor] = (),
        sites: Sites = EVERYWHERE,
    ) -> Tensor:
        """features (B, h, w, C); other (B, 2h, 2w, C') as network inputs, or None -> all values, (B, 2h, 2w, n).

        flags: further parts of the context, (B, h, w, ...). sites: where there are values.
        """
        B, h, w, _ = features.shape
        decoded, values = num.zeros(B, 2 * h, 2 * w, 2 * self.n), None
        phases: list[Tensor] = []
        for k, ((i, j), head) in enumerate(zip(PHASES, self.heads, strict=True)):
            context = [features]
            if self.known_alone:
                context += known_neighbourhoods(phases, self.size)
            elif k:
                context.append(neighbourhood(decoded, self.size, i, j, 2))
            if other is not None:
                context.append(neighbourhood(other, self.size, i, j, 2))
            context += flags  # last, so that weights without flags grow by columns

            def code(
                part: slice, parameters: Tensor, overdue: Tensor | None, phase: tuple[int, int] = (i, j)
            ) -> Tensor:
                return coder(CodingGroup(level, subgroup(channels, part), phase, overdue=overdue), parameters)

            head = cast(ChannelConditionalHead, head)
            empty = torch.cat([(p == 0).all(-1, True) for p in phases], -1).all(-1, True) if head.overdue else None
            q = head.code(num, context, code, sites, empty)
            values = q.new_zeros(B, 2 * h, 2 * w, self.n) if values is None else values
            values[:, i::2, j::2] = q
            phases.append(num.embed(q))
            if not self.known_alone:
                decoded[:, i::2, j::2] = phases[-1]
        assert values is not None
        return values
