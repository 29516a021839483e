"""Rate-distortion optimisation (RDO): the encoder spends time on tokens that make a smaller file.

The format and the decoder stay the same. The cost of a picture is J = lambda D + R, with D the distortion after the
whole decoder and R the bits of all values. Rounding settles each value by itself. The search computes the gradient of J
over all integers, through the synthesis and through every context that a value is part of: it tells what a change of a
value by one costs elsewhere. The bits of the changed value itself are computed, not linearised. In each round, updates
by one that lower J are made where no neighbour's lowers it more; of all rounds the tokens with the lowest true J are
kept.

Related to the refinement of latents by Y. Yang, R. Bamler, S. Mandt, "Improving inference for neural image
compression", NeurIPS 2020, but over the integers themselves. EFFORTS says what each --effort does; docs/effort.md shows
what it gains.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SCALE_LOW, SHAPE_UNIT
from .context.coding import EntropyModel
from .context.density import bits
from .context.groups import CHROMA, LUMA, CodingGroup
from .context.relaxed import RelaxedArithmetic
from .distortion import Distortion
from .models.autoencoder import Autoencoder
from .quality import LAGRANGIAN, QualityPoint
from .subbands import Subbands
from .tiles import Area, crop, crop_map


@dataclass(frozen=True)
class RDOConfig:
    """The search of one effort."""

    rounds: int  # of updates; 0: values are only rounded
    fit_scales: bool  # whether the entropy coder fits scale offsets to the picture, which takes one more pass
    block: int = 32  # sites along a side of what is searched at once, which bounds the memory
    margin: int = 2  # sites of context around a block
    unchecked_rounds: int = 8  # a last round is taken without checking its cost in searches of at most so many rounds
    # after the first rounds a share of the updates, at random, is skipped: made together, they would go back and forth
    skip_after: int = 2  # rounds
    skip_share: float = 0.32
    skip_growth: float = 0.01  # of the share, by round

    def kept(self, round: int) -> float:
        """The share of updates that is made in a round, counted from 0."""
        return 1.0 if round < self.skip_after else 1 - self.skip_share - self.skip_growth * (round - self.skip_after)


EFFORTS = {
    1: RDOConfig(rounds=0, fit_scales=False),
    2: RDOConfig(rounds=1, fit_scales=True),
    3: RDOConfig(rounds=2, fit_scales=True),
    4: RDOConfig(rounds=3, fit_scales=True),
    5: RDOConfig(rounds=4, fit_scales=True),
    6: RDOConfig(rounds=6, fit_scales=True),
    7: RDOConfig(rounds=10, fit_scales=True),
    8: RDOConfig(rounds=20, fit_scales=True),
    9: RDOConfig(rounds=40, fit_scales=True),
}


class ParameterCollector:
    """The coder callback that returns known integers and keeps what is predicted for them.

    All values of all groups, one after the other, make one row.
    """

    def __init__(self, tokens: Subbands, base_scales: Tensor):
        self.tokens, self.base_scales = tokens, base_scales
        self.groups: list[CodingGroup] = []
        self.predicted: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, group: CodingGroup, parameters: Tensor) -> Tensor:
        mean, scale, shape = parameters.chunk(3, -1)
        self.groups.append(group)
        self.predicted.append(
            (mean.flatten(), (scale + self._per_channel(group, self.base_scales)).flatten(), shape.flatten())
        )
        return group.gather(self.tokens)

    @staticmethod
    def _per_channel(group: CodingGroup, table: Tensor) -> Tensor:
        """(5, 9), a number for each level and channel -> those of a group's values at a place."""
        row = table[group.level, group.channels]
        return row if group.phase else row.repeat(4)

    def row(self, bands: Subbands) -> Tensor:
        """All values of whole subbands."""
        return torch.cat([group.gather(bands).flatten() for group in self.groups])

    def row_per_channel(self, table: Tensor) -> Tensor:
        """(5, 9), a number for each level and channel, at each value."""
        rows = (self._per_channel(g, table).expand_as(g.gather(self.tokens)).flatten() for g in self.groups)
        return torch.cat(list(rows))

    def scatter(self, bands: Subbands, row: Tensor) -> None:
        """The inverse of row: write it into whole subbands."""
        parts = row.split([len(mean) for mean, *_ in self.predicted])
        for group, part in zip(self.groups, parts, strict=True):
            group.scatter(bands, part.view(group.gather(bands).shape))

    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log scale and mixture logit of all values."""
        mean, scale, shape = (torch.cat(t) for t in zip(*self.predicted, strict=True))
        return mean / MEAN_UNIT, SCALE_LOW + LOG_SCALE_UNIT * scale, shape * SHAPE_UNIT

    def total(self) -> Tensor:
        """All bits, with a gradient through the contexts alone."""
        return bits(self.row(self.tokens).detach(), *self.parameters()).sum()


@dataclass(frozen=True)
class Evaluation:
    """A true cost in bits, and, where a gradient was asked for, what the next updates are chosen by."""

    cost: float
    curvature: float  # how many times that of lambda times the squared error the distortion's curvature is, on average
    collector: ParameterCollector
    tokens: Subbands  # float32, with .grad


class RDOSearch:
    """The search for a model at a quality."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        entropy: EntropyModel,
        point: QualityPoint,
        distortion: Distortion,
        config: RDOConfig,
        distortion_weight: float = 1.0,
    ):
        self.autoencoder, self.entropy, self.point = autoencoder, entropy, point
        self.distortion, self.config = distortion, config
        self.weight = distortion_weight * distortion.search.weight_at(point.step.item())
        self.side, self.outer = distortion.search.neighbourhood(point.step.item())
        self.arithmetic = RelaxedArithmetic(entropy.arithmetic)
        with torch.no_grad():
            # half the second derivative of lambda times the squared error over a value, were the decoder linear
            self.curvature = self.weight * LAGRANGIAN * autoencoder.error_gains(point.step)[0] ** 2

    def search_in_blocks(self, image: Tensor, tokens: Subbands) -> Subbands:
        """image (1, 16 h, 16 w, 3) uint8 and its tokens, of h x w sites -> better tokens, int32.

        Searched block by block.
        """
        if not self.config.rounds:
            return tokens
        out = tokens.map(Tensor.clone)
        whole = Area(0, 0, *tokens.grid)
        for block in whole.blocks(self.config.block):
            context = block.grown(self.config.margin, whole)
            better = self.search(crop_map(image, whole.h, context).float(), crop(out, context))
            for target, source in crop(out, block).zip(crop(better, block.within(context))):
                target.copy_(source)
        return out

    def search(self, image: Tensor, tokens: Subbands) -> Subbands:
        """Images (B, H, W, 3) in 0..255 and their tokens -> better tokens, int32.

        Of several images the sum of costs counts. Pictures that are too small for the distortion keep their tokens.
        """
        if min(image.shape[1:3]) < self.distortion.smallest_side:
            return tokens
        best, lowest, falling = tokens, float("inf"), False
        generator = torch.Generator().manual_seed(0)
        for k in range(self.config.rounds):
            found = self.evaluate(image, tokens, gradient=True)
            falling = found.cost < lowest
            if falling:
                best, lowest = tokens, found.cost
            tokens = self._update(found)
            if (kept := self.config.kept(k)) < 1:
                tokens = skip_at_random(tokens, found.tokens, kept, generator)
        if falling and self._needs_no_check(lowest, image[..., 0].numel()):
            return tokens
        return tokens if self.cost(image, tokens) < lowest else best

    def cost(self, image: Tensor, tokens: Subbands) -> float:
        """J in bits of images (B, H, W, 3) in 0..255 and their tokens."""
        return self.evaluate(image, tokens, gradient=False).cost

    def _needs_no_check(self, cost: float, pixels: int) -> bool:
        """Whether one more round is certain to lower the cost.

        Updates raised it for flat pictures, at coarse steps and in long searches alone.
        """
        return (
            self.config.rounds <= self.config.unchecked_rounds
            and cost > self.distortion.search.check_threshold * pixels
        )

    def evaluate(self, image: Tensor, tokens: Subbands, gradient: bool) -> Evaluation:
        """The true cost of images (B, H, W, 3) in 0..255 and their tokens, and with `gradient` that of every token."""
        point = self.point
        with torch.set_grad_enabled(gradient):
            q = tokens.map(lambda t: t.float().requires_grad_(gradient))
            decoded = self.autoencoder.decode(q, point.step)
            distortion = self.distortion.bits(image, decoded, point.step, self.weight)
            curvature = self.distortion.curvature(image, decoded, point.step, self.weight, distortion)
            collector = ParameterCollector(q, torch.from_numpy(point.base_scales).to(q.low))
            features = point.features.expand(len(image), -1)
            self.entropy.context.autoregressive_pass(self.arithmetic, features, *q.grid, collector)
            total = distortion + collector.total()
            if gradient:
                total.backward()
        return Evaluation(total.item(), curvature, collector, q)

    @torch.no_grad()
    def _update(self, found: Evaluation) -> Subbands:
        """The tokens after one round of updates."""
        collector, q = found.collector, found.tokens
        value, slope, parameters = collector.row(q), collector.row(q.map(_gradient)), collector.parameters()
        # the change of J by an update: curvature and slope of all else, and the bits of the value itself after it and
        # before
        stay = found.curvature * collector.row_per_channel(self.curvature) - bits(value, *parameters)
        up, down = (stay + s * slope + bits(value + s, *parameters) for s in (1, -1))
        change, sign = q.map(torch.zeros_like), q.map(torch.zeros_like)
        collector.scatter(change, torch.minimum(up, down))
        collector.scatter(sign, torch.where(up < down, 1.0, -1.0))

        def apply(value: Tensor, change: Tensor, sign: Tensor) -> Tensor:
            return (value.detach() + sign * best_updates(change, self.side, self.outer)).int()

        return q.combine(apply, change, sign)


def _gradient(t: Tensor) -> Tensor:
    assert t.grad is not None
    return t.grad


def best_updates(change: Tensor, side: int, outer: float) -> Tensor:
    """The updates to make, (B, h, w, C) bool: those that lower the cost and are the best of their neighbourhood.

    Luma and chroma apart. Neighbouring updates would count the same gain twice. change: what each update adds to the
    cost. side: of the square of neighbours, odd. outer: the factor, 0 to 1, on the gains of neighbours beyond the four
    next ones; at 0 only these count.
    """
    chosen = []
    for c in (c for c in (change[..., LUMA], change[..., CHROMA]) if c.numel()):
        best = -c.amin(-1)[:, None]
        near = torch.maximum(F.max_pool2d(best, (1, 3), 1, (0, 1)), F.max_pool2d(best, (3, 1), 1, (1, 0)))
        best = torch.maximum(near, outer * F.max_pool2d(best, side, 1, side // 2))
        chosen.append((c < 0) & (-c >= best[:, 0, ..., None]))
    return torch.cat(chosen, -1)


def skip_at_random(after: Subbands, before: Subbands, share: float, generator: torch.Generator) -> Subbands:
    """`before` with that share of the changes to `after`, at random; int32."""

    def mix(a: Tensor, b: Tensor) -> Tensor:
        return torch.where((torch.rand(a.shape, generator=generator) < share).to(a.device), a, b.detach().int())

    return after.combine(mix, before)
