"""The search for many crops at once, in torch: tokens to train on, on a GPU in a fraction of the time.

It does what search/ does for files, with the true gradient and with the model that is being trained, in floating point:
tokens change by one, blocks are emptied, and each site keeps the best tokens that were seen. The same steps for files:
search/rounds.py, moves.py, sites.py, gradient.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..context.density import bits, flag_bits
from ..context.groups import CHROMA, LUMA, CodingGroup, FlagGroup, block_flags
from ..layers import depth_to_space
from ..quality import lagrangian
from ..search.efforts import SearchConfig
from ..search.moves import EMPTYING
from ..search.smooth import SlopedArithmetic
from ..search.tuning import ENERGY, SQUARED_ERROR
from ..subbands import Subbands
from ..tiles import SITE
from .model import TrainingModel

LOW_PARTS, PARTS = (slice(0, 1), slice(1, 3)), (LUMA, CHROMA)
CROWDING = SearchConfig.crowding


class Costs(NamedTuple):
    """Bits of every value, and what one more and one less add: float32 in the shape of the tokens.

    saved: of each flagged level, (B, h, w, 2): what a block's flags save where they are set no longer. flags: the flags
    themselves, 0 or 1. flag_bits: what they cost.
    """

    own: Subbands
    up: Subbands
    down: Subbands
    flags: dict[int, Tensor]
    saved: dict[int, Tensor]
    flag_bits: dict[int, Tensor]


class _Collector:
    """The coder callback: known tokens; all bits but a token's own have a gradient over it."""

    def __init__(self, tokens: Subbands, base: Tensor, step: Tensor):
        """tokens: float32, with a gradient. base: ContextModel.base. step: (B,)."""
        self.tokens, self.base, self.log_step = tokens, base, torch.log(step).view(-1, 1, 1, 1)

        def zeros() -> Subbands:
            return tokens.map(lambda t: torch.zeros_like(t, requires_grad=False))

        self.costs = Costs(zeros(), zeros(), zeros(), {}, {}, {})
        self.total: list[Tensor] = []

    def __call__(self, group: CodingGroup | FlagGroup, parameters: Tensor) -> Tensor:
        parameters, costs = parameters.float(), self.costs
        if isinstance(group, FlagGroup):
            if group.level not in costs.flags:
                known = costs.flags[group.level] = block_flags(self.tokens[group.level].detach()).float()
                costs.saved[group.level], costs.flag_bits[group.level] = (torch.zeros_like(known) for _ in range(2))
            flags = group.select(costs.flags[group.level])
            own = flag_bits(flags, parameters)
            self.total.append(own.sum())
            alone, empty, beside = parameters.detach().unbind(-1)
            chroma = torch.where(flags[..., 0] > 0, beside, empty)
            # -log2 of the probability of 1 less that of 0
            group.select(costs.saved[group.level]).copy_(torch.stack((alone, chroma), -1) / -math.log(2))
            group.select(costs.flag_bits[group.level]).copy_(own.detach())
            return flags
        q = group.gather(self.tokens)
        mean, log_scale, logit = parameters.chunk(3, -1)
        base = self.base[group.level, group.channels]
        log_scale = log_scale + ((base if group.phase else base.repeat(4)) - self.log_step)
        values = q.detach()
        own = bits(group.symbols(values), mean, log_scale, logit)
        coded = torch.ones_like(own)
        if (flags_known := costs.flags.get(group.level)) is not None:
            coded = flags_known[..., group.flag, None].expand_as(own)
        self.total.append((own * coded).sum())
        with torch.no_grad():
            group.scatter(costs.own, own * coded)
            for change, target in ((1, costs.up), (-1, costs.down)):
                group.scatter(target, (bits(group.symbols(values + change), mean, log_scale, logit) - own) * coded)
        return q


@dataclass
class BatchedSearch:
    """model: what is searched with; its synthesis may be rounded or not. rounds: of updates."""

    model: TrainingModel
    rounds: int = 3

    def __call__(self, image: Tensor, step: Tensor, tokens: Subbands) -> Subbands:
        """image (B, H, W, 3) in 0..255, step (B,), tokens to start from, whole numbers -> better ones, float32."""
        q = tokens.map(Tensor.float)
        best: Subbands | None = None
        lowest: Tensor | None = None
        for k in range(self.rounds + 1):
            slopes, costs, sites = self._evaluate(image, step, q, slopes=k < self.rounds)
            if best is None or lowest is None:
                best, lowest = q, sites
            else:
                better = sites < lowest
                lowest = torch.minimum(sites, lowest)
                best = best.combine(lambda a, b, chosen=better: torch.where(_spread(chosen, a), b, a), q)
            if k < self.rounds:
                q = self._update(q, slopes, costs, step, CROWDING[min(k, len(CROWDING) - 1)])
        assert best is not None
        return best

    def _error_weight(self, step: Tensor) -> Tensor:
        """Bits per squared step, (B,)."""
        tuning = SQUARED_ERROR
        return lagrangian(torch.ones_like(step)) * tuning.weight * (step / tuning.MIDDLE) ** tuning.power

    def _evaluate(self, image: Tensor, step: Tensor, tokens: Subbands, slopes: bool) -> tuple[Subbands, Costs, Tensor]:
        """The gradient of J over every token, what tokens cost, and J of every site, (B, h, w)."""
        model = self.model
        q = tokens.map(lambda t: t.detach().clone().requires_grad_(slopes))
        with torch.set_grad_enabled(slopes):
            collector = _Collector(q, model.context.base, step)
            features = model.context.step_features(step)
            model.context.autoregressive_pass(SlopedArithmetic(image.device), features, *q.grid, collector)
            error = (model.autoencoder.decode(q, step) - image) / step.view(-1, 1, 1, 1)
            distortion = error.square().sum(-1) * self._error_weight(step).view(-1, 1, 1)
            found = q.map(torch.zeros_like)
            if slopes:
                cost = torch.stack(collector.total).sum() + distortion.sum()
                gradients = torch.autograd.grad(cost, list(q), allow_unused=True)
                parts = [torch.zeros_like(t) if g is None else g for t, g in zip(q, gradients, strict=True)]
                found = Subbands(parts[0], tuple(parts[1:]))
        with torch.no_grad():
            sites = _sums(distortion, SITE)
            for own in collector.costs.own:
                sites += _sums(own.sum(-1), own.shape[1] // sites.shape[1])
            for flags in collector.costs.flag_bits.values():
                sites += _sums(flags.sum(-1), flags.shape[1] // sites.shape[1])
        return found, collector.costs, sites

    @torch.no_grad()
    def _update(self, q: Subbands, slopes: Subbands, costs: Costs, step: Tensor, crowding: float | None) -> Subbands:
        """Tokens after a round of updates: search.moves.update."""
        gains = self.model.autoencoder.error_gains(step)  # (B, 5, 9)
        energy = torch.from_numpy(ENERGY).to(gains).repeat(1, 3)
        curvature = self._error_weight(step).view(-1, 1, 1) * energy * gains.square()

        def level(k: int) -> Tensor:
            out = q[k].clone()
            for part, channels in enumerate(LOW_PARTS if k == 0 else PARTS):
                own_curvature = curvature[:, k, channels][:, None, None]
                values, slope = q[k][..., channels], slopes[k][..., channels]
                up, down = costs.up[k][..., channels] + slope, costs.down[k][..., channels] - slope
                change, more = torch.minimum(up, down) + own_curvature, up < down
                gain = (-change).amax(-1).clamp_min(0)
                flags = costs.flags.get(k)
                if flags is None:
                    limit = _best_near(gain, step, crowding)
                    chosen = (change < 0) & (-change >= limit[..., None])
                    out[..., channels] = values + torch.where(more, 1.0, -1.0) * chosen
                    continue
                flagged = _doubled(flags[..., part]) > 0
                emptying = costs.own[k][..., channels] - (own_curvature * values - slope) * values
                block = _sums(emptying.sum(-1), 2) + costs.saved[k][..., part]
                block = block * EMPTYING * (_sums(values.abs().sum(-1), 2) > 1) * flags[..., part]
                gain = torch.where(flagged, torch.maximum(gain, _doubled(block)), 0)
                limit = _best_near(gain, step, crowding)
                chosen = (change < 0) & (-change >= limit[..., None]) & flagged[..., None]
                moved = values + torch.where(more, 1.0, -1.0) * chosen
                highest = F.max_pool2d(torch.maximum(limit, gain)[:, None], 2)[:, 0]
                emptied = _doubled((block > 0) & (block >= highest))
                out[..., channels] = torch.where(emptied[..., None], 0, moved)
            return out

        low, *details = (level(k) for k in range(len(list(q))))
        return Subbands(low, tuple(details))


def _best_near(gain: Tensor, step: Tensor, crowding: float | None) -> Tensor:
    """search.moves.best_near for maps (B, h, w), each with the neighbourhood of its step."""
    if crowding is None:
        return torch.zeros_like(gain)
    near = [SQUARED_ERROR.neighbourhood(s) for s in step.tolist()]
    wide = torch.tensor([side > 3 for side, _ in near], device=gain.device).view(-1, 1, 1)
    outer = torch.tensor([factor for _, factor in near], device=gain.device).view(-1, 1, 1)
    x = gain[:, None]
    cross = torch.maximum(F.max_pool2d(x, (3, 1), 1, (1, 0)), F.max_pool2d(x, (1, 3), 1, (0, 1)))[:, 0]
    around = torch.where(wide, F.max_pool2d(x, 5, 1, 2)[:, 0], F.max_pool2d(x, 3, 1, 1)[:, 0])
    return torch.maximum(gain, crowding * torch.maximum(cross, outer * around))


def _sums(x: Tensor, k: int) -> Tensor:
    """(B, k h, k w) -> the sums of k x k places, (B, h, w)."""
    B, H, W = x.shape
    return x.view(B, H // k, k, W // k, k).sum((2, 4))


def _doubled(x: Tensor) -> Tensor:
    """(B, h, w) -> (B, 2h, 2w)."""
    return depth_to_space(x[..., None].expand(*x.shape, 4).contiguous())[..., 0]


def _spread(chosen: Tensor, band: Tensor) -> Tensor:
    """Of sites, (B, h, w) bool -> of a band's places, (B, H, W, 1)."""
    k = band.shape[1] // chosen.shape[1]
    return chosen.repeat_interleave(k, 1).repeat_interleave(k, 2)[..., None]
