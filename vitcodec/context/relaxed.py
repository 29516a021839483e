"""The integer arithmetic with a gradient, for the RDO search.

Forward it gives the same numbers as IntegerArithmetic. Backward, floors pass the gradient on, and look-ups have the
slope of their logarithm.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import wavelet
from ..layers import local_contrast
from .integer import FRACTION_BITS, LOG_UNIT, IntegerArithmetic

UNIT = 1 << FRACTION_BITS


class _LookUp(torch.autograd.Function):
    """32 sign(x) log(1 + |x| / 16) and 32 log(1 + |x| / 16); slopes towards zero over a distance of `reach`."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def, override]
        ctx, x: Tensor, arithmetic: IntegerArithmetic, reach: int
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.reach = reach
        return arithmetic.look_up(x.int())

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def, override]
        (x,) = ctx.saved_tensors
        reach = ctx.reach
        size = x.abs().clamp_min(reach)
        slope = LOG_UNIT * (torch.log1p(size / UNIT) - torch.log1p((size - reach) / UNIT)) / reach
        signed, magnitude = gradient.chunk(2, -1)
        return slope * (signed + magnitude * x.sign()), None, None


class RelaxedArithmetic:
    """As IntegerArithmetic, but integers come as float32 tensors, through which gradients pass."""

    def __init__(self, exact: IntegerArithmetic):
        self.exact = exact

    def zeros(self, *shape: int) -> Tensor:
        return self.exact.zeros(*shape)

    def integers(self, *shape: int) -> Tensor:
        return self.exact.zeros(*shape)

    def embed(self, q: Tensor) -> Tensor:
        return _LookUp.apply(q * UNIT, self.exact, UNIT)

    def embed_flags(self, flags: Tensor) -> Tensor:
        return self.exact.embed_flags(flags)

    def lowpass(self, q: Tensor) -> Tensor:
        return q * UNIT

    def merge(self, low: Tensor, details: Tensor) -> Tensor:
        return _straight_through(
            wavelet.merge(low, details * UNIT), self.exact.merge(low.detach().int(), details.detach().int())
        )

    def contrast(self, low: Tensor) -> Tensor:
        return _LookUp.apply(
            _straight_through(local_contrast(low), self.exact.difference(low.detach().int())), self.exact, 1
        )

    def quotient(self, total: Tensor, count: Tensor) -> Tensor:
        return _straight_through(total * UNIT / count, self.exact.quotient(total.detach(), count.detach()))

    def relative(self, q: Tensor, centre: Tensor) -> Tensor:
        return _LookUp.apply(q * UNIT - centre, self.exact, 1)

    def shifted(self, mean: Tensor, centre: Tensor) -> Tensor:
        return mean + _straight_through(centre / 2, centre.detach().int() >> 1)


def _straight_through(smooth: Tensor, exact: Tensor) -> Tensor:
    """The exact numbers with the gradient of the smooth ones."""
    return exact.float() + (smooth - smooth.detach())  # the difference is zero exactly
