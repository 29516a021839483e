"""The gradient of J over all tokens, through the synthesis and every context that a token is part of. Needs torch.

The context model is differentiated as smooth.py has it. Decoding is differentiated as it is, integers with gradients
that pass the rounding, or by its adjoint, which is nearly the same and takes a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..bitstream.tables import LOG_SCALE_UNIT, SCALE_LOW
from ..context.density import bits, flag_bits
from ..context.groups import CodingGroup, FlagGroup, block_flags
from ..dequantiser import GAIN_BITS, LINEAR_BITS, LOG_UNIT, STEP_BITS
from ..integer import synthesis
from ..integer.layers import ZERO_POINT
from ..integer.torch_ops import Round, TorchOps
from ..layers import depth_to_space, signed_log
from ..models.unet import by_stride
from ..pretrained.integer_model import ContextNumbers, IntegerModel
from ..subbands import Subbands
from ..tiles import Area, crop
from .adjoint import ZERO_SLOPE, Adjoint
from .measures import Target, Weights
from .proposals import known_slopes
from .smooth import SlopedArithmetic, smooth_context
from .state import State

BLOCK, MARGIN = 32, 2  # sites along a side of what is differentiated at once, which bounds the memory; around it


class RateCollector:
    """The coder callback that returns known tokens and collects what they and the block flags cost.

    The bits of a token itself have no gradient, those of all others have.
    """

    def __init__(self, tokens: Subbands, base: Tensor):
        """tokens: float32, with a gradient. base: (5, 9), natural logarithms of where scales start."""
        self.tokens, self.base = tokens, base
        self.flags: dict[int, Tensor] = {}
        self.parts: list[Tensor] = []

    def __call__(self, group: CodingGroup | FlagGroup, parameters: Tensor) -> Tensor:
        parameters = parameters.float()
        if isinstance(group, FlagGroup):
            if group.level not in self.flags:
                values = self.tokens[group.level]
                self.flags[group.level] = block_flags(values.detach()).to(values.dtype)
            flags = group.select(self.flags[group.level])
            self.parts.append(flag_bits(flags, parameters).sum())
            return flags
        q = group.gather(self.tokens)
        mean, log_scale, logit = parameters.chunk(3, -1)
        base = self.base[group.level, group.channels]
        own = bits(group.symbols(q.detach()), mean, log_scale + (base if group.phase else base.repeat(4)), logit)
        known = self.flags.get(group.level)
        self.parts.append((own if known is None else own * known[..., group.flag, None]).sum())
        return q

    def total(self) -> Tensor:
        """All bits."""
        return torch.stack(self.parts).sum()


# tokens, float32 with a gradient, and their quality -> the coefficients that the decoder makes of them, in steps
Corrected = Callable[[Subbands, int], Subbands]


class Gradient:
    """A source of slopes for rounds of updates: those of the true J.

    corrected: the decoder, differentiable; None: that of the model, which is an IntegerModel. adjoint: of the decoder,
    to take the place of its gradient.
    """

    def __init__(
        self,
        model: ContextNumbers,
        corrected: Corrected | None = None,
        device: torch.device | str = "cpu",
        adjoint: Adjoint | None = None,
    ):
        self.device, self.adjoint = torch.device(device), adjoint
        self.context = smooth_context(model.context, model.context_config).to(self.device)
        self.features, self.base_scales = model.coding.features, model.coding.base_scales
        self.arithmetic = SlopedArithmetic(self.device)
        if corrected is None and adjoint is None:
            assert isinstance(model, IntegerModel)
            corrected = IntegerSynthesis(model, self.device)
        self.corrected = corrected

    def __call__(self, target: Target, state: State, weights: Weights) -> Subbands:
        """The slopes of all tokens, float32."""
        out = state.tokens.map(lambda t: np.zeros(t.shape, np.float32))
        whole = Area(0, 0, *state.tokens.grid)
        for block in whole.blocks(BLOCK):
            around = block.grown(MARGIN, whole)
            inner = block.within(around)
            slopes = self.slopes(crop(state.tokens, around), crop(state.felt, around), target.quality, weights)
            for place, own in crop(out, block).zip(crop(slopes, inner)):
                place[...] = own
        if self.adjoint is None:
            return out
        return out.combine(np.add, known_slopes(replace(state, felt=self.adjoint(target, state)), weights))

    def slopes(self, tokens: Subbands, felt: Subbands, quality: int, weights: Weights) -> Subbands:
        """tokens, felt: of a State, a batch of one -> the gradient, float32; with an adjoint that of the bits alone."""
        q = tokens.map(lambda t: torch.tensor(t, dtype=torch.float32, device=self.device).requires_grad_())
        with torch.enable_grad(), _half_products(self.device):
            total = self._rate(q, quality)
            if self.adjoint is None:
                total = total + self._distortion(q, felt, quality, weights)
            total.backward()
        return q.map(lambda t: np.zeros(t.shape, np.float32) if t.grad is None else t.grad.cpu().numpy())

    def _rate(self, q: Subbands, quality: int) -> Tensor:
        features = torch.from_numpy(self.features[quality - 1 : quality]).float().to(self.device)
        base = SCALE_LOW + LOG_SCALE_UNIT * torch.from_numpy(self.base_scales[quality - 1]).float().to(self.device)
        collector = RateCollector(q, base)
        self.context.autoregressive_pass(self.arithmetic, features, *q.grid, collector)
        return collector.total()

    def _distortion(self, q: Subbands, felt: Subbands, quality: int, weights: Weights) -> Tensor:
        """What has the gradient of lambda D: by the chain rule, that over the corrected coefficients is known."""
        assert self.corrected is not None
        corrected = self.corrected(q, quality)
        parts = ((c * torch.tensor(f, device=self.device)).sum() for c, f in corrected.zip(felt))
        return 2 * weights.error * torch.stack(list(parts)).sum()


class IntegerSynthesis:
    """The decoder of a model of integers, with a gradient."""

    def __init__(self, model: IntegerModel, device: torch.device):
        self.layers, self.shape, self.dequantiser = model.synthesis, model.shape, model.dequantiser
        self.ops = TorchOps(device)

    def __call__(self, q: Subbands, quality: int) -> Subbands:
        """As Corrected."""
        gains = torch.from_numpy(self.dequantiser.gains[quality - 1]).float().to(q.low) / (1 << GAIN_BITS)
        low, *details = (t * gains[level, : t.shape[-1]] for level, t in enumerate(q))
        return self.corrected(Subbands(low, tuple(details)), quality)

    def corrected(self, bands: Subbands, quality: int) -> Subbands:
        """Coefficients in steps, (1, h, w, C) -> corrected by the synthesis, with a gradient."""
        position = float(self.dequantiser.positions[quality - 1]) - ZERO_POINT
        x4, x8, x16 = (_features(c, position) for c in by_stride(bands))
        h4, h8, h16 = synthesis.down(self.ops, x4, x8, x16, self.layers, self.shape)
        h16 = synthesis.middle(self.ops, h16, self.layers, self.shape)
        o4, o8, o16 = (y / (1 << STEP_BITS) for y in synthesis.up(self.ops, h4, h8, h16, self.layers, self.shape))
        low, d1, d2, d3, d4 = bands
        finest = d1 + depth_to_space(o4[..., :36].contiguous())
        return Subbands(low + o16[..., 9:], (finest, d2 + o4[..., 36:], d3 + o8, d4 + o16[..., :9]))


def _features(c: Tensor, position: float) -> Tensor:
    """As Dequantiser.features, signed and with a gradient."""
    logarithm = torch.where(c == 0, ZERO_SLOPE * c, signed_log(c))
    both = torch.cat((c * (1 << (STEP_BITS - LINEAR_BITS)), logarithm * LOG_UNIT), -1)
    values = torch.clamp(Round.apply(both), -128, 127)  # type: ignore[no-untyped-call]
    return torch.cat((values, torch.full_like(c[..., :1], position)), -1)


@contextmanager
def _half_products(device: torch.device) -> Iterator[None]:
    """Let matrix products and convolutions run in bfloat16 where the processor has instructions for it."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    names = ("matmul", "conv")  # torch 2.9 and later
    backends: list[Any] = [getattr(torch.backends.mkldnn, n) for n in names if hasattr(torch.backends.mkldnn, n)]
    if device.type != "cpu" or not supported():
        backends = []
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "bf16"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
