"""From a trained float context model to its networks of small integers (integer/context.py).

A map's scale, one number for each channel, is what 1 stands for in it. The residual blocks of a network share one
scale, that of the map they add to. Inputs are unsigned: a decoded integer enters as the logarithms of its positive and
of its negative part, where the float model has a signed logarithm s and a magnitude m: s S + m M = p (M + S) +
n (M - S).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SHAPE_UNIT
from ..coding.maps import FLAG_INPUT, LOG_UNIT
from ..coding.tables import FLAG_UNIT
from ..context.arithmetic import FloatArithmetic
from ..context.density import RateEstimator
from ..context.heads import ChannelConditionalHead, FourPhaseContext, Head, Residual
from ..context.model import ContextModel
from ..errors import WeightsError
from ..integer.context import ENTER, LEAVE, condition
from ..integer.layers import LARGEST, SHIFT_LIMIT, SUM_LIMIT, WEIGHT_LIMIT, Layer
from ..options import QUALITIES
from ..quality import step_of
from ..subbands import Subbands

Largest = dict[str, Tensor]  # module -> the largest magnitude of each output channel, (o,)
TOP = LARGEST[False]
ADDED = 127  # the largest magnitude of what a residual block adds


@torch.no_grad()
def measure(context: ContextModel, samples: Iterator[tuple[Subbands, Tensor]]) -> Largest:
    """The largest outputs of all layers. samples: tokens as floats, and their steps (B,) in 8-bit levels."""
    largest: Largest = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if output.numel():
                top = output.abs().flatten(0, -2).amax(0).double()
                largest[name] = torch.maximum(largest[name], top) if name in largest else top

        return hook

    hooks = [m.register_forward_hook(watch(n)) for n, m in context.named_modules() if isinstance(m, nn.Linear)]
    hooks += [m.register_forward_hook(watch(n)) for n, m in context.named_modules() if isinstance(m, Residual)]
    for tokens, step in samples:
        coder = RateEstimator(tokens, tokens, context.base, step)
        context.autoregressive_pass(FloatArithmetic(step.device), context.step_features(step), *tokens.grid, coder)
    for h in hooks:
        h.remove()
    return largest


@dataclass(frozen=True)
class Given:
    """Inputs that are a map's channels. scale: (c,)."""

    scale: Tensor

    @property
    def count(self) -> int:
        return len(self.scale)

    def units(self, weight: Tensor) -> Tensor:
        """The weights (o, c) for inputs in units of their scales."""
        return weight * self.scale


@dataclass(frozen=True)
class LookUps:
    """Inputs that are decoded integers: at each place the channels' positive parts, then their negative ones."""

    channels: int
    places: int = 1

    @property
    def count(self) -> int:
        return 2 * self.channels * self.places

    def units(self, weight: Tensor) -> Tensor:
        signed, magnitude = weight.view(len(weight), self.places, 2, self.channels).unbind(2)
        return torch.stack((magnitude + signed, magnitude - signed), 2).flatten(1) / LOG_UNIT


@dataclass(frozen=True)
class Flags:
    """Inputs that are block flags."""

    count: int

    def units(self, weight: Tensor) -> Tensor:
        return weight / FLAG_INPUT


Inputs = Sequence[Given | LookUps | Flags]


def _in_units(weight: Tensor, inputs: Inputs) -> Tensor:
    parts = weight.double().split([part.count for part in inputs], 1)
    return torch.cat([part.units(columns) for part, columns in zip(inputs, parts, strict=True)], 1)


def _finest(weight: Tensor, bias: Tensor) -> Tensor:
    """The finest unit of each output that keeps weights and sums within their limits. weight: in units of the inputs."""
    sums = (TOP * weight.abs().sum(1) + bias.abs()) / (SUM_LIMIT * 0.98)
    return torch.maximum(weight.abs().amax(1) / WEIGHT_LIMIT, sums).clamp_min(1e-12)


class Rounding:
    """Fills `layers`, the integer layers by NETWORK.LAYER."""

    def __init__(self, largest: Largest):
        self.largest, self.layers = largest, dict[str, Layer]()

    def _largest(self, name: str, width: int) -> Tensor:
        """What was measured; 1 where a layer never ran, as where no sample had a flagged block."""
        return self.largest.get(name, torch.ones(width, dtype=torch.float64))

    def fill(self, name: str, weight: Tensor, bias: Tensor, out: Tensor, signed: bool) -> None:
        """A layer with output scales `out`, (o,). weight, bias: in units of the inputs. Raises WeightsError."""
        shift = torch.floor(torch.log2(out / _finest(weight, bias)) + 1e-9).clamp_max(SHIFT_LIMIT)
        if (shift < 0).any():
            raise WeightsError(f"layer {name}: its weights are too large to be rounded; train it for longer")
        unit = out * 2.0**-shift
        rows = torch.round(weight / unit[:, None]).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
        self.layers[name] = Layer(
            rows.to(torch.int8).numpy()[:, None, None],
            torch.round(bias / unit).int().numpy(),
            shift.to(torch.uint8).numpy(),
            False,
            signed,
        )
        self.layers[name].check(name)

    def dense(self, name: str, layer: nn.Linear, inputs: Inputs, need: Tensor) -> Tensor:
        """A layer with ReLU whose output scales, which are returned, may be chosen: at least `need`, (o,)."""
        weight, bias = _in_units(layer.weight, inputs), layer.bias.double()
        finest = _finest(weight, bias)
        out = finest * 2.0 ** torch.ceil(torch.log2(need.clamp_min(1e-9) / finest)).clamp(0, SHIFT_LIMIT)
        self.fill(name, weight, bias, out, False)
        return out

    def stack(
        self, network: str, name: str, enter: nn.Linear, blocks: Sequence[tuple[str, Residual]], inputs: Inputs
    ) -> Tensor:
        """A layer and residual blocks after it; returns the scale of their output. name: of `enter` in the model."""
        width = enter.out_features
        need = self._largest(name, width) / TOP
        for block, module in blocks:
            reduce = _in_units(module.reduce.weight, [Given(self._hidden(block, module))])
            added = self._largest(f"{block}.reduce", width) / ADDED
            for least in (self._largest(block, width) / TOP, added, _finest(reduce, module.reduce.bias.double())):
                need = torch.maximum(need, least)
        scale = self.dense(f"{network}.{ENTER}", enter, inputs, need)
        for k, (block, module) in enumerate(blocks):
            top = self._largest(f"{block}.expand", module.expand.out_features) / TOP
            hidden = self.dense(f"{network}.{k}.expand", module.expand, [Given(scale)], top)
            weight = _in_units(module.reduce.weight, [Given(hidden)])
            self.fill(f"{network}.{k}.reduce", weight, module.reduce.bias.double(), scale, True)
        return scale

    def _hidden(self, block: str, module: Residual) -> Tensor:
        """An upper bound on the scales between the layers of a block."""
        return 2 * self._largest(f"{block}.expand", module.expand.out_features) / TOP

    def leave(self, network: str, layer: nn.Linear, scale: Tensor, units: Tensor, order: Sequence[int]) -> None:
        """A last layer with sums in `units`, (o,); order: which outputs come first, second, ..."""
        weight, bias = _in_units(layer.weight, [Given(scale)]), layer.bias.double()
        rows = torch.tensor(order)
        self.fill(f"{network}.{LEAVE}", weight[rows], bias[rows], units[rows], True)

    def head(self, network: str, name: str, head: Head, inputs: Inputs, unit: float | None = None) -> None:
        """A head, with its conditions. unit: of all its outputs; None: those of means, log scales and shapes."""
        blocks = [(f"{name}.body", head.body), *((f"{name}.extra.{k}", b) for k, b in enumerate(head.extra))]
        scale = self.stack(network, f"{name}.enter", head.enter, blocks, inputs)
        outputs = head.leave.out_features
        units = parameter_units(outputs) if unit is None else torch.full((outputs,), unit, dtype=torch.float64)
        order = np.arange(outputs)
        if isinstance(head, ChannelConditionalHead):
            # a head's outputs are parameters, places, channels; here those of one group after those of another
            parts = np.split(order.reshape(3, head.places, -1), np.cumsum(head.channels)[:-1], 2)
            order = np.concatenate([part.ravel() for part in parts])
        self.leave(network, head.leave, scale, units, order.tolist())
        if isinstance(head, ChannelConditionalHead):
            decoded: list[LookUps] = []
            for k, module in enumerate(head.conditionals):
                decoded.append(LookUps(head.places * head.channels[k]))
                own = condition(network, k + 1)
                top = self._largest(f"{name}.conditionals.{k}.enter", module.enter.out_features) / TOP
                inner = self.dense(f"{own}.{ENTER}", module.enter, [Given(scale), *decoded], top)
                count = module.leave.out_features
                self.leave(own, module.leave, inner, parameter_units(count), range(count))

    def phases(
        self, network: str, name: str, phases: FourPhaseContext, scale: Tensor, other: Inputs, flags: Inputs
    ) -> None:
        """The heads of four phases. scale: of the level's features; other: inputs that are decoded before the first."""
        for k, head in enumerate(phases.heads):
            own = [LookUps(phases.n, phases.size**2)] if k else []
            self.head(f"{network}.{k}", f"{name}.heads.{k}", head, [Given(scale), *own, *other, *flags])


def parameter_units(outputs: int) -> Tensor:
    """The units of a head's outputs: of all means, all log scales and all mixture logits."""
    units = torch.tensor([1 / MEAN_UNIT, LOG_SCALE_UNIT, SHAPE_UNIT], dtype=torch.float64)
    return units.repeat_interleave(outputs // 3)


@torch.no_grad()
def round_context(context: ContextModel, largest: Largest) -> tuple[dict[str, Layer], np.ndarray]:
    """The integer layers of a float context model, and its input for each quality: (100, 16) uint8.

    largest: from `measure`. Raises WeightsError where weights are too large.
    """
    steps = torch.tensor([step_of(q) for q in QUALITIES])
    features = context.step_features(steps).double()
    scale = features.amax(0).clamp_min(1e-6) / TOP
    out = Rounding(largest)
    first = Given(scale)
    for part in ("luma", "chroma"):
        for s, heads in enumerate(getattr(context.low, part)):
            for k, head in enumerate(heads):
                inputs = [first, LookUps(3, 25), *([LookUps(1)] if part == "chroma" else [])]
                out.head(f"low.{part}.{s}.{k}", f"low.{part}.{s}.{k}", head, inputs)
    for i, level in enumerate(context.levels):
        scale = _round_level(out, level, f"levels.{i}", scale)
    return out.layers, torch.round(features / first.scale).clamp(0, TOP).to(torch.uint8).numpy()


def _round_level(out: Rounding, level: nn.Module, name: str, scale: Tensor) -> Tensor:
    """One level's networks. scale: of the inherited features; returns that of those for the next level."""
    network = f"level{level.level}"
    inherited: list[Given | LookUps | Flags] = [Given(scale)]
    parent = [LookUps(9, 9)] if level.parent else []
    flags: list[Flags] = []
    if level.flags is not None:
        flags = [Flags(2 * 9)]
        for k, head in enumerate(level.flags.heads):
            own = [Flags(2 * level.flags.SIZE**2)] if k else []
            inputs = [*inherited, *parent, *own]
            out.head(f"{network}.flags.{k}", f"{name}.flags.heads.{k}", head, inputs, FLAG_UNIT)
    blocks = [(f"{name}.body", level.body), *((f"{name}.extra.{k}", b) for k, b in enumerate(level.extra))]
    inputs = [*inherited, LookUps(3, 36), *parent, *flags]
    scale = out.stack(f"{network}.features", f"{name}.enter", level.enter, blocks, inputs)
    out.phases(f"{network}.luma", f"{name}.luma", level.luma, scale, [], flags)
    if isinstance(level.chroma, FourPhaseContext):
        out.phases(f"{network}.chroma", f"{name}.chroma", level.chroma, scale, [LookUps(3, 9)], flags)
    else:
        out.head(f"{network}.chroma", f"{name}.chroma", level.chroma, [Given(scale), LookUps(3, 36), *flags])
    if level.up is None:
        return scale
    # a site becomes four of the next level, which share a channel's scale
    weight, bias = _in_units(level.up.weight, [Given(scale)]), level.up.bias.double()
    need = torch.maximum(out._largest(f"{name}.up", len(bias)) / TOP, _finest(weight, bias))
    shared = need.view(4, -1).amax(0)
    out.fill(f"{network}.up.{ENTER}", weight, bias, shared.repeat(4), False)
    return shared
