"""What is trained: the autoencoder together with the float context model, and the moving average of their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import wavelet
from ..context.arithmetic import FloatArithmetic
from ..context.density import RateEstimator, bits
from ..context.heads import ChannelCondition, ChannelConditionalHead, FlagContext, FourPhaseContext, Residual
from ..context.model import CONTRAST_INPUTS, FLAG_INPUTS, PARENT_INPUTS, ContextModel, DetailLevel
from ..context.phases import PHASES, known_places
from ..models import build_autoencoder
from ..models.autoencoder import Autoencoder
from ..pretrained.config import context_config
from ..quality import round_tokens
from ..subbands import Subbands
from .data import Crops


class TrainingModel(nn.Module):
    """Autoencoder and float context model: images -> reconstructions and the bits of their tokens."""

    bits: Callable[..., Tensor] = staticmethod(bits)  # of values: context.density.bits, or its compiled form

    def __init__(self, autoencoder: Autoencoder, context: ContextModel):
        super().__init__()
        self.autoencoder, self.context = autoencoder, context

    @classmethod
    def build(cls, description: Mapping[str, Any]) -> TrainingModel:
        """The untrained model of a `description`. Raises KeyError, TypeError and WeightsError for what is none."""
        context = ContextModel(context_config(description["context"]))
        return cls(build_autoencoder(description["family"], description["transform"]), context)

    @property
    def description(self) -> dict[str, Any]:
        """Family and sizes, as JSON can hold them: what `build` needs."""
        return {
            "family": self.autoencoder.family,
            "transform": self.autoencoder.settings,
            "context": asdict(self.context.config),
        }

    def forward(
        self,
        image: Tensor,
        step: Tensor,
        dead_zone: float,
        erased: Tensor | None = None,
        with_bits: bool = True,
        tokens: Subbands | None = None,
        with_pixels: bool = True,
        bend: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """image (B, H, W, 3) in 0..255 -> reconstructions (B, H, W, 3), not clamped, and the bits of each image (B,).

        step: (B,), in 8-bit levels.
        dead_zone: of the rounding, 0 to 0.4.
        erased: (B, H/16, W/16) bool, tokens that the decoder does not get. The bits are those of all tokens
        nevertheless: erasure must not teach the context model that tokens are often empty.
        with_bits: whether the context model runs; without it the bits are zero and the analysis gets no gradient.
        tokens: whole numbers in float32 in place of the image's own; the analysis then gets no gradient.
        with_pixels: whether the image is decoded; without it the reconstruction is the image.
        bend: as _bent, for the gradient of the bits alone.
        """
        latents = self.autoencoder.encode(image, step, erased) if tokens is None else tokens
        rounded = round_tokens(latents, dead_zone).map(Tensor.float)
        if not with_bits:
            return self.autoencoder.decode(rounded, step, erased), torch.zeros_like(step)
        meter = RateEstimator(rounded, latents, self.context.base, step, self.bits)
        arithmetic, features = FloatArithmetic(image.device), self.context.step_features(step)
        self.context.autoregressive_pass(arithmetic, features, *rounded.grid, meter)
        bits = meter.bits()
        if bend and latents.low.requires_grad:
            bent = _bent(latents, rounded, self.autoencoder.error_gains(step).detach(), bend)
            bits = bits + bent - bent.detach()
        if not with_pixels:
            return image, bits
        return self.autoencoder.decode(latents.combine(_straight_through, rounded), step, erased), bits


def _straight_through(latents: Tensor, rounded: Tensor) -> Tensor:
    """The rounded values with the gradient of the latents."""
    return latents + (rounded - latents).detach()


def _bent(latents: Subbands, rounded: Subbands, gains: Tensor, bend: float) -> Tensor:
    """(B,): what holds latents that are rounded to 0 back.

    The gradient of the distortion there is that at 0, as if a little more of a signal were coded; a token is coded
    wholly or not at all, and the mean slope between 0 and 1 is less, by the square of the step between them. bend: how
    much less, in bits, where the decoder's factor on the band, gains (B, 5, 9), is 1.
    """
    total = torch.zeros_like(gains[:, 0, 0])
    for level, (y, q) in enumerate(latents.zip(rounded)):
        square = gains[:, level, : y.shape[-1]].square()[:, None, None]
        total = total + (bend * square * y.float().abs() * (q == 0)).sum((1, 2, 3))
    return total


class Average:
    """The exponential moving average of a module's weights.

    decay: the share that stays of the average at each update, 0 to 1; less in the first steps.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.module, self.decay = module, decay
        self.mean = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def weight(self, step: int) -> float:
        """How far the average moves after so many steps, 0 to 1."""
        return 1 - min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def move(self, weight: Tensor) -> None:
        """Move the average towards the module's weights by a share of the way, a tensor of one number."""
        current = self.module.state_dict()
        floats = [k for k in self.mean if self.mean[k].is_floating_point()]
        mean = [self.mean[k] for k in floats]
        moves = torch._foreach_sub([current[k] for k in floats], mean)
        torch._foreach_mul_(moves, weight)  # _foreach_lerp_ would wait for a weight on a GPU
        torch._foreach_add_(mean, moves)

    def update(self, step: int) -> None:
        """Move the average after so many steps."""
        self.move(torch.tensor(self.weight(step), device=next(iter(self.mean.values())).device))


def load_grown(context: ContextModel, weights: Mapping[str, Tensor]) -> None:
    """Load weights of a context model that lacks parts of this one, such as block flags.

    New inputs get zeros, and inputs that were always zero are left out (`_columns`); new layers stay as they are made:
    the predictions of what both models code are equal. Raises RuntimeError for weights that do not fit otherwise.
    """
    state, columns = context.state_dict(), _columns(context)
    for name, value in weights.items():
        if name in state and value.ndim == 2 and len(value) == len(state[name]):
            count, order = columns.get(name, (0, []))
            if order and value.shape[1] in (count, count + FLAG_INPUTS):
                order = [*order, *range(count, value.shape[1])]
                value = F.pad(value, (0, 1))[:, order]
            value = F.pad(value, (0, state[name].shape[1] - value.shape[1]))
        state[name] = value
    context.load_state_dict(state)


def _columns(context: ContextModel) -> dict[str, tuple[int, list[int]]]:
    """By the names of weights: how many inputs they had in older models, without later ones such as flags, and which of
    them is now the first, second, ...; -1 for a new one.

    In older models later phases saw whole neighbourhoods, with zeros for what is not known, and the flags' heads did
    not see the low band. None of them had as many inputs as the layers have now.
    """
    found = {}
    for name, module in context.named_modules():
        if isinstance(module, FourPhaseContext) and module.known_alone:
            first, each, size, new, rest = module.inputs, 2 * module.n, module.size, 0, module.other
        elif isinstance(module, FlagContext):
            first = module.inputs - CONTRAST_INPUTS
            each, size, new, rest = 2, module.SIZE, CONTRAST_INPUTS, 0
        else:
            continue
        before = list(range(first))
        if new:
            before[first - PARENT_INPUTS : first - PARENT_INPUTS] = [-1] * new
        for k in range(len(PHASES)):
            last = first + each * size**2 * (k > 0)
            known = [first + each * place + c for place in known_places(k, size) for c in range(each)]
            found[f"{name}.heads.{k}.enter.weight"] = last + rest, [*before, *known, *range(last, last + rest)]
    return found


@torch.no_grad()
def dedicate_units(context: ContextModel) -> None:
    """Let a hidden unit of each luma head with flags say that its block is flagged and all zero so far.

    Then something must follow, which heads are slow to find out by themselves. In phases 1 to 3 the unit that matters
    least becomes relu(flag - 3 * the sum of the block's magnitudes); nothing reads it before it is trained.
    """
    for level in (level for level in context.levels if isinstance(level, DetailLevel) and level.flags is not None):
        n, size, width = level.luma.n, level.luma.size, level.enter.out_features
        for k, (phase, head) in enumerate(zip(PHASES, level.luma.heads, strict=True)):
            if not k:
                continue
            assert isinstance(head, ChannelConditionalHead)
            enter, blocks = head.enter, [block for block in (head.body, *head.extra) if isinstance(block, Residual)]
            conditions = [c.enter for c in head.conditionals if isinstance(c, ChannelCondition)]
            readers: list[nn.Linear] = [head.leave, *(block.expand for block in blocks), *conditions]
            read = sum((r.weight[:, : enter.out_features].norm(dim=0) for r in readers), torch.zeros(()))
            unit = int((enter.weight.norm(dim=1) * read).argmin())
            for layer in (enter, *(block.reduce for block in blocks)):
                layer.weight[unit], layer.bias[unit] = 0, 0
            for reader in readers:
                reader.weight[:, unit] = 0
            enter.weight[unit, -FLAG_INPUTS + FLAG_INPUTS // 2 - 1] = 1  # the luma flag in the middle of 3x3
            for other in PHASES[:k]:
                row, column = (size // 2 + other[d] - phase[d] for d in (0, 1))
                place = known_places(k, size).index(row * size + column)
                first = width + place * 2 * n  # of the position's signed values, then magnitudes
                enter.weight[unit, first + n : first + 2 * n] = -3


@torch.no_grad()
def dedicate_overdue_units(context: ContextModel) -> None:
    """Let the hidden unit that matters least of each condition say that its block is overdue.

    It moves what is predicted to between the symbols of 1 and -1, at first by the same for all.
    """
    for head in (m for m in context.modules() if isinstance(m, ChannelConditionalHead) and m.overdue):
        for condition in head.conditionals:
            assert isinstance(condition, ChannelCondition)
            enter, leave = condition.enter, condition.leave
            unit = int((enter.weight.norm(dim=1) * leave.weight.norm(dim=0)).argmin())
            enter.weight[unit], enter.bias[unit], enter.weight[unit, -1] = 0, 0, 1
            # of the mean, the logarithm of the scale, the mixture logit
            leave.weight[:, unit] = torch.tensor([-0.5, -1.0, 0.0]).repeat_interleave(len(leave.weight) // 3)


@torch.no_grad()
def initialise_base(context: ContextModel, images: Sequence[np.ndarray], rng: np.random.Generator) -> None:
    """Set where the context model's log scales start, from the wavelet coefficients of training crops.

    images: (H, W, 3) uint8, of which those with sides of at least 256 pixels are used.
    """
    bands = wavelet.forward(Crops(images, int(rng.integers(1 << 30))).batch(64, 256))
    context.base[0, :3] = torch.log(bands.low.std((0, 1, 2)) * 0.3)
    for level in bands.levels:
        context.base[level] = torch.log(bands[level].abs().mean((0, 1, 2)))
