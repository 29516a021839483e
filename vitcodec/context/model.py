"""The context model: which value is coded when, and what each prediction sees.

No hyperprior: what is already decoded is the side information, from the coarsest level to the finest. The low band is interlaced, a sparse grid and
then the sites between, each predicted from the mean of its known neighbours. At each level the luma details are coded in four steps, one position of
every 2x2 block at a time, then the chroma details, which see the luma.

The same walk serves training (float layers, all integers known), encoding and decoding (integer layers, values made or read on the way): `visit` is
called for each group of values with the parameters predicted for them and returns their integers. Only matrix products, ReLU, neighbourhoods and
look-ups occur, so that the float model has an exact integer twin (see integer.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import wavelet
from ..layers import by_rows, depth_to_space, local_contrast, space_to_depth, zero_init
from ..wavelet import Subbands

PHASES = (0, 0), (1, 1), (0, 1), (1, 0)  # the order of the four positions of each 2x2 block
LUMA, CHROMA = slice(0, 3), slice(3, 9)
RATE_FEATURES = 16
LOW_SIZE = 5  # sites along a side of the neighbourhood that is seen of the low band
NEAREST = F.pad(torch.ones(3, 3), (1, 1, 1, 1)).view(LOW_SIZE**2, 1)  # 1 for the middle 3x3 of that neighbourhood


@dataclass(frozen=True)
class ContextConfig:
    """The defaults are what weights without such a field were trained with; NEW is what is trained now."""

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
    conditional: int = 0  # width of a ChannelCondition, by which the groups of channels at a place see each other; 0: all groups are coded at once
    extra_blocks: tuple[int, ...] = (
        0,
        0,
        0,
        0,
    )  # residual blocks more than one, of the features and of every head at levels 1 to 4


NEW = ContextConfig(conditional=32, extra_blocks=(0, 1, 2, 2))


@dataclass(frozen=True)
class CodingGroup:
    """A group of values that are coded together."""

    level: int  # 0: the low band; 1 (finest) to 4: details
    channels: slice
    phase: tuple[int, int] | None  # the position in each block; None: all four of 2x2, folded into channels
    stride: int = 2  # side of a block

    def gather(self, bands: Subbands) -> Tensor:
        """The group's values (B, h, w, n) out of whole subbands."""
        x = (bands.details[self.level - 1] if self.level else bands.low)[..., self.channels]
        if self.phase is None:
            return space_to_depth(x.contiguous())
        return x[:, self.phase[0] :: self.stride, self.phase[1] :: self.stride]

    def scatter(self, bands: Subbands, values: Tensor) -> None:
        """The inverse of gather, into whole subbands."""
        x = (bands.details[self.level - 1] if self.level else bands.low)[..., self.channels]
        if self.phase is None:
            x.copy_(depth_to_space(values))
        else:
            x[:, self.phase[0] :: self.stride, self.phase[1] :: self.stride] = values


Coder = Callable[[CodingGroup, Tensor], Tensor]


class Arithmetic(Protocol):
    """How decoded integers enter the networks: in floating point for training, in integers for coding."""

    def zeros(self, *shape: int) -> Tensor: ...
    def integers(self, *shape: int) -> Tensor: ...
    def embed(self, q: Tensor) -> Tensor: ...
    def lowpass(self, q: Tensor) -> Tensor: ...
    def merge(self, low: Tensor, details: Tensor) -> Tensor: ...
    def contrast(self, low: Tensor) -> Tensor: ...
    def quotient(self, total: Tensor, count: Tensor) -> Tensor: ...
    def relative(self, q: Tensor, centre: Tensor) -> Tensor: ...
    def shifted(self, mean: Tensor, centre: Tensor) -> Tensor: ...


class FloatArithmetic:
    """Every integer q enters as two numbers, sign(q) log(1 + |q|) and log(1 + |q|)."""

    def __init__(self, device: torch.device | str | None = None):
        self.device = device
        kind = torch.device(device or "cpu").type
        # what only matrix products look at is gathered in the precision that they take
        self.seen = (
            torch.get_autocast_dtype(kind) if kind != "mps" and torch.is_autocast_enabled(kind) else torch.float32
        )

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device, dtype=self.seen)

    def integers(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device)

    def embed(self, q: Tensor) -> Tensor:
        magnitude = torch.log1p(q.abs()).to(self.seen)
        return torch.cat((magnitude * q.sign().to(self.seen), magnitude), -1)

    def lowpass(self, q: Tensor) -> Tensor:
        return q

    def merge(self, low: Tensor, details: Tensor) -> Tensor:
        return wavelet.merge(low, details)

    def contrast(self, low: Tensor) -> Tensor:
        return self.embed(local_contrast(low))

    def quotient(self, total: Tensor, count: Tensor) -> Tensor:
        return total / count

    def relative(self, q: Tensor, centre: Tensor) -> Tensor:
        return self.embed(q - centre)

    def shifted(self, mean: Tensor, centre: Tensor) -> Tensor:
        return mean + centre


def around(x: Tensor, size: int, i: int = 0, j: int = 0, stride: int = 1) -> Tensor:
    """The size x size neighbourhood of the sites (i::stride, j::stride), zero outside: (B, h, w, size, size, C), no copy of it for each site yet."""
    p = size // 2
    x = F.pad(x, (0, 0, p - j, p + j - stride + 1, p - i, p + i - stride + 1))
    return x.unfold(1, size, stride).unfold(2, size, stride).permute(0, 1, 2, 4, 5, 3)


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """All that parts, (B, h, w, ...), hold at a site, as channels: (B, h, w, C)."""
    return torch.cat([part.flatten(3) for part in parts], -1)


class Dense(nn.Linear):
    """A matrix product with bias and ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.linear(x, self.weight, self.bias))


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.expand, self.reduce = Dense(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.reduce(self.expand(x)))


def extra_blocks(width: int, count: int) -> nn.Sequential:
    """Residual blocks that change nothing before they are trained."""
    blocks = [Residual(width) for _ in range(count)]
    for block in blocks:
        zero_init(block.reduce)
    return nn.Sequential(*blocks)


class Head(nn.Module):
    """What is seen -> the parameters of each value, (..., parameters * n): all means, then all log scales, then all mixture logits."""

    def __init__(self, inputs: int, width: int, outputs: int, more: int = 0):
        super().__init__()
        self.enter, self.body, self.leave = Dense(inputs, width), Residual(width), zero_init(nn.Linear(width, outputs))
        self.extra = extra_blocks(width, more)

    def hidden(self, x: Tensor) -> Tensor:
        return self.extra(self.body(self.enter(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.hidden(x))


class ChannelCondition(nn.Module):
    """A head's hidden layer and the groups of channels that are known -> what is added to the parameters of the next group."""

    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        self.enter, self.leave = Dense(inputs, width), zero_init(nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.enter(x))


class ChannelConditionalHead(Head):
    """A head whose channels are coded in groups, one after the other, each seeing those before it at the same places.

    groups: channels of each; places: how many the head speaks for. Values and parameters are in the order of places, then channels.
    """

    def __init__(self, inputs: int, width: int, groups: Sequence[int], places: int, level: int, config: ContextConfig):
        p = config.parameters
        super().__init__(inputs, width, p * places * sum(groups), config.extra_blocks[level - 1])
        self.groups, self.places, self.parameters_each = (
            (tuple(groups) if config.conditional else (sum(groups),)),
            places,
            p,
        )
        known = [2 * places * sum(groups[:k]) for k in range(len(groups))]
        pairs = list(zip(known, groups, strict=True))[1:]
        self.conditionals = (
            nn.ModuleList(ChannelCondition(width + n, config.conditional, p * places * g) for n, g in pairs)
            if config.conditional
            else nn.ModuleList()
        )

    def code(self, num: Arithmetic, parts: Sequence[Tensor], visit: Callable[[slice, Tensor], Tensor]) -> Tensor:
        """The parts of what is seen -> all values, (B, h, w, places * channels). visit: a group's channels and parameters -> its values."""
        hidden = by_rows(lambda *rows: self.hidden(side_by_side(rows)), *parts)
        parameters = self.leave(hidden).unflatten(-1, (self.parameters_each, self.places, -1)).split(self.groups, -1)
        seen, first = [hidden], 0
        values: list[Tensor] = []
        for k, (group, predicted) in enumerate(zip(self.groups, parameters, strict=True)):
            predicted = predicted.flatten(-3)
            if k:
                seen.append(num.embed(values[-1].flatten(-2)))
                predicted = predicted + self.conditionals[k - 1](torch.cat(seen, -1))
            values.append(visit(slice(first, first + group), predicted).unflatten(-1, (self.places, group)))
            first += group
        return torch.cat(values, -1).flatten(-2)


LUMA_GROUPS, CHROMA_GROUPS = (1, 1, 1), (3, 3)  # the orientations of luma; the two colours


def _within(channels: slice, group: slice) -> slice:
    return slice(channels.start + group.start, channels.start + group.stop)


class FourPhaseContext(nn.Module):
    """n channels in four steps, each seeing a size x size neighbourhood of the steps before it, and of `other`, which is whole."""

    def __init__(
        self, groups: Sequence[int], other: int, features: int, width: int, size: int, level: int, config: ContextConfig
    ):
        super().__init__()
        self.n, self.size = (n := sum(groups)), size
        seen = (features + 2 * size * size * (n * (k > 0) + other) for k in range(len(PHASES)))
        self.heads = nn.ModuleList(ChannelConditionalHead(inputs, width, groups, 1, level, config) for inputs in seen)

    def forward(
        self, num: Arithmetic, features: Tensor, other: Tensor | None, visit: Coder, level: int, channels: slice
    ) -> Tensor:
        B, h, w, _ = features.shape
        seen, values = num.zeros(B, 2 * h, 2 * w, 2 * self.n), None
        for k, ((i, j), head) in enumerate(zip(PHASES, self.heads, strict=True)):
            inputs = [features]
            if k:
                inputs.append(around(seen, self.size, i, j, 2))
            if other is not None:
                inputs.append(around(other, self.size, i, j, 2))

            def group(part: slice, parameters: Tensor, phase: tuple[int, int] = (i, j)) -> Tensor:
                return visit(CodingGroup(level, _within(channels, part), phase), parameters)

            q = cast(ChannelConditionalHead, head).code(num, inputs, group)
            values = q.new_zeros(B, 2 * h, 2 * w, self.n) if values is None else values
            values[:, i::2, j::2] = q
            seen[:, i::2, j::2] = num.embed(q)
        assert values is not None
        return values


class InterlacedLowBand(nn.Module):
    """The low band from a sparse grid to the whole: at each scale the grid's 2x2 blocks are filled in the order of PHASES, luma before chroma.

    What is seen of a value's surroundings is taken relative to the mean of its known neighbours, and so is the mean that is predicted: a constant
    added to the low band changes nothing. Only the sparsest grid's first sites are coded without neighbours.
    """

    def __init__(self, features: int, width: int, scales: int, parameters: int):
        super().__init__()
        seen = features + 2 * 3 * LOW_SIZE**2
        self.scales = scales

        def heads(scale: int, inputs: int, channels: int) -> nn.ModuleList:
            return nn.ModuleList(Head(inputs, width, parameters * channels) for _ in PHASES[scale < scales - 1 :])

        self.luma = nn.ModuleList(heads(s, seen, 1) for s in range(scales))
        self.chroma = nn.ModuleList(heads(s, seen + 2, 2) for s in range(scales))

    def forward(self, num: Arithmetic, rate: Tensor, height: int, width: int, visit: Coder) -> Tensor:
        """rate (B, 16) -> all values, (B, height, width, 3)."""
        values = num.integers(len(rate), height, width, 3)
        known = num.integers(1, height, width, 1)
        for scale in reversed(range(self.scales)):
            luma_heads, chroma_heads = cast(nn.ModuleList, self.luma[scale]), cast(nn.ModuleList, self.chroma[scale])
            for (i, j), luma, chroma in zip(PHASES[-len(luma_heads) :], luma_heads, chroma_heads, strict=True):
                phase, stride = (i << scale, j << scale), 2 << scale
                here = (slice(None), slice(phase[0], None, stride), slice(phase[1], None, stride))
                if not known[here].numel():
                    continue
                q, mask = (self._neighbours(t[:, :: 1 << scale, :: 1 << scale], i, j) for t in (values, known))
                near = mask * NEAREST.to(mask)
                centre = num.quotient((q * near).sum(3), near.sum(3).clamp_min(1))
                seen = (num.relative(q, centre[:, :, :, None]) * mask).flatten(3)
                inputs = torch.cat((rate[:, None, None].expand(-1, *seen.shape[1:3], -1), seen), -1)
                y = visit(CodingGroup(0, slice(0, 1), phase, stride), self._moved(num, luma(inputs), centre[..., :1]))
                inputs = torch.cat((inputs, num.relative(y, centre[..., :1])), -1)
                c = visit(CodingGroup(0, slice(1, 3), phase, stride), self._moved(num, chroma(inputs), centre[..., 1:]))
                values[here], known[here] = torch.cat((y, c), -1), 1
        return values

    def _neighbours(self, grid: Tensor, i: int, j: int) -> Tensor:
        """What lies around the sites (i::2, j::2) of a grid of any size: (B, h, w, size * size, C), zero outside."""
        height, width = grid.shape[1:3]
        grid = F.pad(grid, (0, 0, 0, width % 2 * (1 - j), 0, height % 2 * (1 - i)))
        return around(grid, LOW_SIZE, i, j, 2).flatten(3, 4)

    @staticmethod
    def _moved(num: Arithmetic, parameters: Tensor, centre: Tensor) -> Tensor:
        n = centre.shape[-1]
        return torch.cat((num.shifted(parameters[..., :n], centre), parameters[..., n:]), -1)


class DetailLevel(nn.Module):
    """One level's details: features on the grid of 2x2 blocks, luma heads, chroma heads, and features for the next finer level."""

    def __init__(self, level: int, inherited: int, config: ContextConfig):
        super().__init__()
        width, head = config.features[level - 1], config.heads[level - 1]
        self.level, coarsest = level, level == wavelet.LEVELS
        self.enter = Dense(inherited + 9 * 24 + (0 if coarsest else 9 * 18), width)
        self.body, self.extra = Residual(width), extra_blocks(width, config.extra_blocks[level - 1])
        self.luma = FourPhaseContext(LUMA_GROUPS, 0, width, head, 5, level, config)
        # at the coarse levels chroma has steps of its own; at the fine ones, where little of it is left, one step does
        if level > 2:
            self.chroma: FourPhaseContext | ChannelConditionalHead = FourPhaseContext(
                CHROMA_GROUPS, 3, width, head, 3, level, config
            )
        else:
            self.chroma = ChannelConditionalHead(width + 9 * 24, 2 * head, CHROMA_GROUPS, 4, level, config)
        self.up = Dense(width, 4 * width) if level > 1 else None

    def forward(
        self, num: Arithmetic, inherited: Tensor, low: Tensor, parent: Tensor | None, visit: Coder
    ) -> tuple[Tensor, Tensor | None]:
        inputs = [inherited, around(space_to_depth(num.contrast(low)), 3)]
        if parent is not None:
            inputs.append(around(num.embed(parent), 3))
        f = by_rows(lambda *rows: self.extra(self.body(self.enter(side_by_side(rows)))), *inputs)
        y = self.luma(num, f, None, visit, self.level, LUMA)
        if isinstance(self.chroma, FourPhaseContext):
            c = self.chroma(num, f, num.embed(y), visit, self.level, CHROMA)
        else:
            seen = f, around(space_to_depth(num.embed(y)), 3)
            c = depth_to_space(
                self.chroma.code(
                    num, seen, lambda part, p: visit(CodingGroup(self.level, _within(CHROMA, part), None), p)
                )
            )
        return torch.cat((y, c), -1), None if self.up is None else depth_to_space(self.up(f))


class ContextModel(nn.Module):
    """The whole walk. base (5, 9): log mean magnitude of each band in 8-bit levels, row 0 the low band, where the predicted log scales start."""

    def __init__(self, config: ContextConfig = NEW):
        super().__init__()
        self.config = config
        self.low = InterlacedLowBand(RATE_FEATURES, config.low_head, config.low_scales, config.parameters)
        inherited = (*config.features[1:], RATE_FEATURES)
        self.levels = nn.ModuleList(
            DetailLevel(l, inherited[l - 1], config) for l in range(wavelet.LEVELS, 0, -1)
        )  # coarsest first
        self.rate = Dense(1, RATE_FEATURES)
        self.register_buffer("base", torch.zeros(wavelet.LEVELS + 1, 9))

    def step_features(self, step: Tensor) -> Tensor:
        """step (B,) -> (B, 16): what the coarsest levels see of the quality."""
        return self.rate(torch.log(step)[:, None] / 2 - 1.5)

    def autoregressive_pass(
        self, num: Arithmetic, rate: Tensor, height: int, width: int, visit: Coder, finest: int = 1
    ) -> Subbands:
        """Coder every value once, the low band first and then levels 4 to `finest`.

        rate (B, 16); height and width are the low band's, even. Returns all values visited; levels below `finest` are left out.
        """
        features = rate[:, None, None].expand(-1, height // 2, width // 2, -1)
        q_low = self.low(num, rate, height, width, visit)
        low, parent, details = num.lowpass(q_low), None, []
        levels: Sequence[DetailLevel] = [m for m in self.levels if isinstance(m, DetailLevel) and m.level >= finest]
        for level in levels:
            if parent is not None:
                low = num.merge(low, parent)
            parent, features = level(num, features, low, parent, visit)
            details.append(parent)
        return Subbands(q_low, tuple(reversed(details)))
