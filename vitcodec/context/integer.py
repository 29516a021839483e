"""Small-integer networks carried in float32: the exact twin of the float context model.

Weights are integers of at most 127 in magnitude, activations of at most 255. In every output row the sum of |weight| x
255, plus the bias, stays below 2^24. So each product and partial sum is an integer that float32 holds exactly, whatever
the order of summation: a matrix product gives the same numbers on every CPU, GPU and BLAS, in TF32 and bfloat16 with
float32 accumulation too. Between layers there is a multiplication by a power of two, a floor and a clamp, all exact.
The bound is checked for each layer when weights are loaded. (Idea: J. Balle, N. Johnston, D. Minnen, "Integer networks
for data compression with latent-variable models", ICLR 2019.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import wavelet
from ..errors import WeightsError
from .config import ContextConfig
from .heads import ChannelCondition, Dense, Head, Residual
from .model import ContextModel

WEIGHT_LIMIT, ACTIVATION_LIMIT = 127, 255
EXACT = 2**24  # float32 holds every integer up to here
LOG_UNIT = 32  # look-ups give 32 log(1 + |x|)
FRACTION_BITS = 4  # the low band is held in sixteenths of a step
COEFFICIENT_LIMIT = 2**15  # of decoded integers, so that lifting stays within int32 on any input


def product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (..., i) times weight (o, i) plus bias (o); integers in float32.

    One function, so that tests can put another arithmetic in its place.
    """
    return torch.addmm(bias, x.flatten(0, -2), weight.T).unflatten(0, x.shape[:-1])


class _Rounded(torch.autograd.Function):
    """floor((x W^T + b + other) scale), clamped to 0..255 if `clamp`: all whole numbers.

    Backward the floor is not there, and what the clamp made zero has no gradient; weights have none in any case.
    """

    @staticmethod
    def forward(  # type: ignore[no-untyped-def, override]
        ctx, x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, other: Tensor | None, clamp: bool
    ) -> Tensor:
        y = product(x, weight, bias)
        if other is not None:
            y.add_(other)
        y.mul_(scale).floor_()
        if clamp:
            y.clamp_(0, ACTIVATION_LIMIT)
        ctx.save_for_backward(weight, scale, y if clamp else None)
        ctx.added = other is not None
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def, override]
        weight, scale, y = ctx.saved_tensors
        if y is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
        return gradient @ (weight * scale[:, None]), None, None, None, gradient * scale if ctx.added else None, None


class IntegerLinear(nn.Module):
    """floor((x W^T + b) 2^-shift): no clamp, for the last layer of a head.

    The bias holds the half that makes the floor a rounding.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs))
        self.register_buffer("bias", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs))  # 2^-shift

    def largest_sum(self) -> Tensor:
        """The bound on every partial sum of each output row."""
        return ACTIVATION_LIMIT * self.weight.abs().sum(1) + self.bias.abs()

    def check(self, name: str) -> None:
        """Raise WeightsError unless all values are integers within the limits and the scales powers of two."""
        whole = all((t == t.round()).all() for t in (self.weight, self.bias))
        powers = (
            (torch.frexp(self.scale).mantissa == 0.5).all()
            and (self.scale <= 1).all()
            and (self.scale >= 2.0**-24).all()
        )
        if not whole or not powers or self.weight.abs().max() > WEIGHT_LIMIT or self.largest_sum().max() >= EXACT:
            raise WeightsError(
                f"layer {name}: not an exact integer layer; the weights are damaged or were exported wrongly"
            )

    def forward(self, x: Tensor) -> Tensor:
        return _Rounded.apply(x, self.weight, self.bias, self.scale, None, False)


class IntegerDense(IntegerLinear):
    """The same, clamped to 0..255."""

    def forward(self, x: Tensor) -> Tensor:
        return _Rounded.apply(x, self.weight, self.bias, self.scale, None, True)


class IntegerResidual(nn.Module):
    """clamp(floor((x * identity + reduce(expand(x))) 2^-shift), 0, 255) with a whole number `identity` for each
    channel.
    """

    def __init__(self, width: int):
        super().__init__()
        self.expand, self.reduce = IntegerDense(width, 2 * width), IntegerLinear(2 * width, width)
        self.register_buffer("identity", torch.ones(width))

    def check(self, name: str) -> None:
        whole = (self.identity == self.identity.round()).all() and (self.identity >= 0).all()
        if not whole or (self.reduce.largest_sum() + ACTIVATION_LIMIT * self.identity).max() >= EXACT:
            raise WeightsError(
                f"layer {name}: not an exact integer layer; the weights are damaged or were exported wrongly"
            )

    def forward(self, x: Tensor) -> Tensor:
        reduce = self.reduce
        return _Rounded.apply(self.expand(x), reduce.weight, reduce.bias, reduce.scale, x * self.identity, True)


def skeleton(config: ContextConfig) -> ContextModel:
    """A context model with integer layers in place of the float ones, all zero.

    It is filled by load_state_dict or by the export.
    """
    with torch.device("meta"):
        model = ContextModel(config)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Dense):
                setattr(module, name, IntegerDense(child.in_features, child.out_features))
            elif isinstance(child, Residual):
                setattr(module, name, IntegerResidual(child.reduce.out_features))
            elif isinstance(module, Head | ChannelCondition) and isinstance(child, nn.Linear):
                setattr(module, name, IntegerLinear(child.in_features, child.out_features))
    # both become tables with a row per quality
    del model.step_embedding
    del model.base
    return model


def check(model: ContextModel) -> None:
    """Check every layer of a loaded integer model; raises WeightsError."""
    for name, module in model.named_modules():
        if isinstance(module, IntegerLinear | IntegerResidual):
            module.check(name)


class IntegerArithmetic:
    """How decoded integers (int32) enter the integer networks.

    thresholds: (255,) int32, ascending; 32 log(1 + x / 16) rounds to the number of thresholds that are at most x, for x
    = 0, 1, 2, ...
    """

    def __init__(self, thresholds: Tensor):
        self.device = thresholds.device
        self.limit = int(thresholds[-1])
        self.table = torch.searchsorted(
            thresholds, torch.arange(self.limit + 1, dtype=thresholds.dtype, device=self.device), right=True
        ).float()

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device)

    def integers(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=self.device)

    def look_up(self, x: Tensor) -> Tensor:
        # clamped first: the magnitude of the smallest int32 is not an int32
        magnitude = self.table[x.clamp(-self.limit, self.limit).abs()]
        return torch.cat((magnitude * x.sign(), magnitude), -1)

    def embed(self, q: Tensor) -> Tensor:
        return self.look_up(q << FRACTION_BITS)

    def embed_flags(self, flags: Tensor) -> Tensor:
        return flags.float() * LOG_UNIT  # the unit of all other inputs

    def lowpass(self, q: Tensor) -> Tensor:
        return q << FRACTION_BITS

    def merge(self, low: Tensor, details: Tensor) -> Tensor:
        return wavelet.merge(low, details << FRACTION_BITS, wavelet.times_fixed_point)

    def contrast(self, low: Tensor) -> Tensor:
        return self.look_up(self.difference(low))

    def difference(self, low: Tensor) -> Tensor:
        """The low band less its mean over 5x5 sites, borders replicated, floored to sixteenths."""
        total = low
        for dim in (1, 2):
            n = total.shape[dim]
            place = torch.arange(n, device=low.device)
            total = sum(
                (total.index_select(dim, (place + k).clamp(0, n - 1)) for k in range(-2, 3)), torch.zeros_like(total)
            )
        return torch.div(25 * low - total, 25, rounding_mode="floor")

    def quotient(self, total: Tensor, count: Tensor) -> Tensor:
        """Sixteenths."""
        return torch.div(total.int() << FRACTION_BITS, count.int(), rounding_mode="floor")

    def relative(self, q: Tensor, centre: Tensor) -> Tensor:
        return self.look_up((q << FRACTION_BITS) - centre)

    def shifted(self, mean: Tensor, centre: Tensor) -> Tensor:
        """mean in eighths, centre in sixteenths."""
        return mean + (centre >> 1)


def log_thresholds() -> Tensor:
    """The thresholds of IntegerArithmetic, computed once at export and stored with the weights."""
    level = torch.arange(1, ACTIVATION_LIMIT + 1, dtype=torch.float64)
    return torch.ceil((torch.exp((level - 0.5) / LOG_UNIT) - 1) * 2**FRACTION_BITS).int()
