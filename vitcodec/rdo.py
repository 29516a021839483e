"""Encoder time for size: integers chosen by their true cost, with the synthesis network and the context model. The format stays the same.

The cost of an image is J = lambda D + R, D the squared error after the whole decoder, R the bits of all values. Rounding settles each value alone.
Here the gradient of J over all integers, through the synthesis and every context in which a value is seen, tells for each value what moving it by one
would change elsewhere; the probability of the moved value itself is computed, not linearised. Moves that promise to lower J are made together
where no neighbour's is better, and of all rounds the integers with the lowest true J are kept (the last of few rounds is trusted, see SURE).
From effort 2 on the entropy coder also fits the scales of every band to the picture (entropy/coding.py). (Kin to the refinement of latents by
Y. Yang, R. Bamler, S. Mandt, "Improving inference for neural image compression", NeurIPS 2020, but over the integers themselves.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import tiles
from .bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SCALE_LOW, SHAPE_UNIT
from .context.coding import EntropyModel
from .context.density import bits
from .context.model import CHROMA, LUMA, CodingGroup
from .context.relaxed import RelaxedArithmetic
from .metrics import MS_SSIM_SIDE, ms_ssim_tensor
from .models.autoencoder import Autoencoder
from .quality import LAGRANGIAN, lagrangian, ms_ssim_lagrangian, quantise
from .tiles import Area
from .wavelet import Subbands

DEFAULT_EFFORT = 3
ROUNDS = {
    1: 0,
    2: 1,
    3: 2,
    4: 3,
    5: 4,
    6: 6,
    7: 10,
    8: 20,
    9: 40,
}  # of moves at each effort; at 1 values are only rounded
BLOCK, MARGIN = 32, 2  # sites along a side of what is refined at once, to bound the memory, and seen around it
SURE = 0.25  # bits a pixel of cost: a last round that started from more is not checked, which saves a fifth of the time of two rounds
APART = 80.0  # 8-bit levels: at steps coarser than that only the best move in a square of 5x5 sites is made, at others in one of 3x3
# 8-bit levels: the steps at which what the corners of 3x3 sites promise counts not at all and in full; in between in part, for where the rule changed
# at once, from one quality to the next, PSNR fell
CORNERS = (26.0, 42.0)
EAGER = 2  # rounds after which some moves, at random, are put off: made together, they would go back and forth
PUT_OFF = (0.32, 0.01)  # how many of them, and how many more each round
SETTLED = 8  # rounds after which not every round lowers the cost
# of D at a step of MIDDLE, and the power of the step that it goes with, by what a model is tuned for. Less than in training, at coarse steps above
# all: a finer step with more values moved to zero makes smaller files than a coarser one
DISTORTION_WEIGHT = {"psnr": (0.75, -0.2), "ms-ssim": (1.15, 0.0)}
MIDDLE = 26.0  # 8-bit levels


class _Rates:
    """The visitor that answers with known integers and keeps what is predicted for them; of all groups at once, one after the other in one row."""

    def __init__(self, model: EntropyModel, quality: int, integers: Subbands):
        self.integers = integers
        self.bases = torch.from_numpy(model.bases[quality - 1]).to(integers.low)
        self.sites: list[CodingGroup] = []
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, site: CodingGroup, parameters: Tensor) -> Tensor:
        mean, scale, shape = parameters.chunk(3, -1)
        self.sites.append(site)
        self.seen.append((mean.flatten(), (scale + self._each(site, self.bases)).flatten(), shape.flatten()))
        return site.gather(self.integers)

    @staticmethod
    def _each(site: CodingGroup, bands: Tensor) -> Tensor:
        """A number for each band, (5, 9) -> one for each channel of a group."""
        of = bands[site.level, site.channels]
        return of if site.phase else of.repeat(4)

    def row(self, bands: Subbands) -> Tensor:
        """All values of whole subbands."""
        return torch.cat([site.gather(bands).flatten() for site in self.sites])

    def row_of_bands(self, bands: Tensor) -> Tensor:
        """A number for each band, (5, 9), at each value."""
        return torch.cat([self._each(s, bands).expand_as(s.gather(self.integers)).flatten() for s in self.sites])

    def put(self, bands: Subbands, row: Tensor) -> None:
        """The inverse of row, into whole subbands."""
        for site, part in zip(self.sites, row.split([len(mean) for mean, *_ in self.seen]), strict=True):
            site.scatter(bands, part.view(site.gather(bands).shape))

    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log scale and mixture logit of all values."""
        mean, scale, shape = (torch.cat(t) for t in zip(*self.seen, strict=True))
        return mean / MEAN_UNIT, SCALE_LOW + LOG_SCALE_UNIT * scale, shape * SHAPE_UNIT

    def total(self) -> Tensor:
        """All bits, with a gradient through the contexts alone."""
        return bits(self.row(self.integers).detach(), *self.parameters()).sum()


def rounded(latents: Subbands, dead_zone: float) -> Subbands:
    """Latents -> their integers, int32."""
    return Subbands(torch.round(latents.low).int(), tuple(quantise(d, dead_zone).int() for d in latents.details))


def refine(refiner: RDOSearch, image: Tensor, integers: Subbands, rounds: int) -> Subbands:
    """image (1, 16 h, 16 w, 3) uint8 and its integers, of h x w sites -> better integers, int32. Worked on block by block."""
    if not rounds:
        return integers
    out = integers.map(Tensor.clone)
    whole = Area(0, 0, *integers.low.shape[1:3])
    for block in whole.blocks(BLOCK):
        seen = block.grown(MARGIN, whole)
        better = refiner(tiles.view(image, whole.h, seen).float(), tiles.cut(out, seen), rounds)
        for target, source in zip((out.low, *out.details), (better.low, *better.details), strict=True):
            tiles.view(target, whole.h, block).copy_(tiles.view(source, seen.h, block.within(seen)))
    return out


@dataclass
class RDOSearch:
    """What is fixed for a model at a quality."""

    autoencoder: Autoencoder
    entropy: EntropyModel
    quality: int
    distortion_weight: float = 1.0  # what an error is worth, in units of its usual worth
    tune: str = "psnr"  # what an error is, as the model was trained

    def __post_init__(self) -> None:
        self.step = self.autoencoder.steps[self.quality - 1 : self.quality]
        weight, power = DISTORTION_WEIGHT[self.tune]
        self.worth = self.distortion_weight * weight * (self.step.item() / MIDDLE) ** power
        self.arithmetic = RelaxedArithmetic(self.entropy.arithmetic)
        with torch.no_grad():
            # half the second derivative of lambda times the squared error over a value, were the decoder linear
            self.curvature = self.worth * LAGRANGIAN * self.autoencoder.error_gains(self.step)[0] ** 2

    def __call__(self, image: Tensor, integers: Subbands, rounds: int) -> Subbands:
        """Images (B, H, W, 3) in 0..255 and their integers -> better integers, int32; of several the sum of their costs counts.

        What is too small for MS-SSIM stays as it is under its tuning.
        """
        if self.tune == "ms-ssim" and min(image.shape[1:3]) < MS_SSIM_SIDE:
            return integers
        best, lowest, falling = integers, float("inf"), False
        generator = torch.Generator().manual_seed(0)
        for k in range(rounds):
            cost, share, rates, moved = self._cost(image, integers, gradient=True)
            falling = cost < lowest
            if falling:
                best, lowest = integers, cost
            integers = self._move(rates, moved, share)
            if k >= EAGER:
                integers = _some(integers, moved, 1 - PUT_OFF[0] - PUT_OFF[1] * (k - EAGER), generator)
        # moves raised the cost of hardly anything but flat pictures and coarse steps; where they settle, not every round lowers it
        sure = self.tune == "psnr" and falling and rounds <= SETTLED and lowest > SURE * image[..., 0].numel()
        return integers if sure or self._cost(image, integers, gradient=False)[0] < lowest else best

    def _error(self, image: Tensor, decoded: Tensor) -> tuple[Tensor, float]:
        """lambda D, and how many times lambda times the squared error that is."""
        squared = (image - decoded).square().sum() * (self.worth * lagrangian(self.step))
        if self.tune == "psnr":
            return squared, 1.0
        loss = 1 - ms_ssim_tensor(image.permute(0, 3, 1, 2), decoded.permute(0, 3, 1, 2))
        error = (loss * (self.worth * ms_ssim_lagrangian(self.step) * image[0, ..., 0].numel())).sum()
        return error, (error / squared.clamp_min(1e-6)).item()

    def _cost(self, image: Tensor, integers: Subbands, gradient: bool) -> tuple[float, float, _Rates, Subbands]:
        with torch.set_grad_enabled(gradient):
            q = integers.map(lambda t: t.float().requires_grad_(gradient))
            error, share = self._error(image, self.autoencoder.decode(q, self.step))
            rates = _Rates(self.entropy, self.quality, q)
            rate = self.entropy.rates[self.quality - 1 : self.quality].expand(len(image), -1)
            self.entropy.context.autoregressive_pass(self.arithmetic, rate, q.low.shape[1], q.low.shape[2], rates)
            total = error + rates.total()
            if gradient:
                total.backward()
        return total.item(), share, rates, q

    @torch.no_grad()
    def _move(self, rates: _Rates, q: Subbands, share: float) -> Subbands:
        """The integers after a round of moves. share: how many times the curvature of the squared error that of the error is, on average."""
        value, slope, parameters = rates.row(q), rates.row(q.map(_gradient)), rates.parameters()
        settled = share * rates.row_of_bands(self.curvature) - bits(value, *parameters)
        up, down = (settled + s * slope + bits(value + s, *parameters) for s in (1, -1))
        change, sign = q.map(torch.zeros_like), q.map(torch.zeros_like)
        rates.put(change, torch.minimum(up, down))
        rates.put(sign, torch.where(up < down, 1.0, -1.0))
        side, outer = self._apart()
        bands = zip(*((b.low, *b.details) for b in (q, change, sign)), strict=True)
        low, *details = ((value.detach() + s * _chosen(c, side, outer)).int() for value, c, s in bands)
        return Subbands(low, tuple(details))

    def _apart(self) -> tuple[int, float]:
        """For _chosen, the side of the square of sites and what its outer ones count."""
        if self.tune != "psnr":
            return 3, 1.0
        step, (none, full) = self.step.item(), CORNERS
        return 5 if step > APART else 3, min(max((step - none) / (full - none), 0.0), 1.0)


def _gradient(t: Tensor) -> Tensor:
    assert t.grad is not None
    return t.grad


def _chosen(change: Tensor, side: int, outer: float) -> Tensor:
    """Which moves to make, (1, h, w, C) bool: of those that lower the cost the luma and the chroma ones that no neighbour has better.

    What neighbours promise would be counted on twice. side: of the square of neighbours, odd. outer: by how much, 0 to 1, what those of them promise
    is multiplied that are not among the four next ones; at 0 only these count.
    """
    chosen = []
    for c in (c for c in (change[..., LUMA], change[..., CHROMA]) if c.numel()):
        best = -c.amin(-1)[:, None]
        near = torch.maximum(F.max_pool2d(best, (1, 3), 1, (0, 1)), F.max_pool2d(best, (3, 1), 1, (1, 0)))
        best = torch.maximum(near, outer * F.max_pool2d(best, side, 1, side // 2))
        chosen.append((c < 0) & (-c >= best[:, 0, ..., None]))
    return torch.cat(chosen, -1)


def _some(after: Subbands, before: Subbands, share: float, generator: torch.Generator) -> Subbands:
    """before with that share of the changes to after, at random."""
    bands = zip((after.low, *after.details), (before.low, *before.details), strict=True)
    low, *details = (
        torch.where((torch.rand(a.shape, generator=generator) < share).to(a.device), a, b.detach().int())
        for a, b in bands
    )
    return Subbands(low, tuple(details))
