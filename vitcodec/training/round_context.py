"""From a trained float context model to its networks of small integers (integer/context.py).

A map's scale, one number for each channel, is what 1 stands for in it. The residual blocks of a network share one
scale, that of the map they add to. Inputs are unsigned: a decoded integer enters as the logarithms of its positive and
of its negative part, where the float model has a signed logarithm s and a magnitude m: s S + m M = p (M + S) +
n (M - S).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SCALE_LOW, SHAPE_UNIT
from ..coding.tables import FLAG_UNIT
from ..context.arithmetic import FloatArithmetic
from ..context.density import RateEstimator
from ..context.heads import ChannelConditionalHead, FourPhaseContext, Head, Residual
from ..context.model import ContextModel
from ..context.phases import known_places
from ..errors import WeightsError
from ..integer.context import ENTER, LEAVE, condition
from ..integer.layers import SHIFT_LIMIT, Layer
from ..options import QUALITIES
from ..quality import step_of
from ..subbands import LEVELS, Subbands
from .layer_sources import TOP, Flags, Given, Inputs, LookUps, Source, round_rows, whole_moments

SAMPLED = 4096  # rows of a layer's inputs whose moments are taken, of every sample
ADDED = 127  # the largest magnitude of what a residual block adds
# of the largest that was measured of that, what is not clipped: a finer scale of the map is better than the rare clip
ADDED_SHARE = 0.6


@dataclass(frozen=True)
class Measured:
    """What a float model does on samples, by the names of its modules."""

    largest: dict[str, Tensor]  # the largest magnitude of each output channel, (o,); all on the CPU
    moments: dict[str, Tensor]  # the sums of products of two inputs, and of each with 1, (i + 1, i + 1)


@torch.no_grad()
def measure(context: ContextModel, samples: Iterator[tuple[Subbands, Tensor]]) -> Measured:
    """Run a model on samples: tokens as floats, and their steps (B,) in 8-bit levels."""
    largest: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if not output.numel():
                return
            top = output.abs().flatten(0, -2).amax(0).cpu().double()
            largest[name] = torch.maximum(largest[name], top) if name in largest else top
            if isinstance(module, nn.Linear):
                x = F.pad(inputs[0].flatten(0, -2), (0, 1), value=1.0)
                x = x[:: max(1, len(x) // SAMPLED)]
                moments[name] = moments.get(name, 0) + (x.T @ x).cpu()

        return hook

    hooks = [m.register_forward_hook(watch(n)) for n, m in context.named_modules() if isinstance(m, nn.Linear)]
    hooks += [m.register_forward_hook(watch(n)) for n, m in context.named_modules() if isinstance(m, Residual)]
    for tokens, step in samples:
        coder = RateEstimator(tokens, tokens, context.base, step)
        context.autoregressive_pass(FloatArithmetic(step.device), context.step_features(step), *tokens.grid, coder)
    for h in hooks:
        h.remove()
    return Measured(largest, moments)


class Rounding:
    """Fills `layers`, the integer layers by NETWORK.LAYER."""

    def __init__(self, measured: Measured):
        self.measured, self.layers = measured, dict[str, Layer]()

    def top(self, name: str, width: int) -> Tensor:
        """What was measured; 1 where a layer never ran, as where no sample had a flagged block."""
        return self.measured.largest.get(name, torch.ones(width, dtype=torch.float64))

    def fill(self, name: str, source: Source, out: Tensor, signed: bool) -> None:
        """A layer with output scales `out`, (o,). Raises WeightsError."""
        shift = torch.floor(torch.log2(out / source.finest()) + 1e-9).clamp_max(SHIFT_LIMIT)
        if (shift < 0).any():
            raise WeightsError(f"layer {name}: its weights are too large to be rounded; train it for longer")
        unit = out * 2.0**-shift
        moments = self.measured.moments.get(source.name)
        if moments is not None:
            moments = whole_moments(moments, source.inputs)
        rows, biases = round_rows(source.weight / unit[:, None], source.bias / unit, moments)
        self.layers[name] = Layer(
            rows.to(torch.int8).numpy()[:, None, None],
            biases.int().numpy(),
            shift.to(torch.uint8).numpy(),
            False,
            signed,
        )
        self.layers[name].check(name)

    def dense(self, name: str, source: Source, need: Tensor) -> Tensor:
        """A layer with ReLU whose output scales, which are returned, may be chosen: at least `need`, (o,)."""
        out = torch.maximum(need, source.finest())
        self.fill(name, source, out, False)
        return out

    def stack(
        self, network: str, name: str, enter: nn.Linear, blocks: Sequence[tuple[str, Residual]], inputs: Inputs
    ) -> Tensor:
        """A layer, `name` in the float model, and residual blocks after it; returns the scale of their output."""
        width = enter.out_features
        need = self.top(name, width) / TOP
        for block, module in blocks:
            top = self.top(f"{block}.expand", 2 * width) / TOP
            added = self.top(f"{block}.reduce", width) * (ADDED_SHARE / ADDED)
            reduce = Source.of(f"{block}.reduce", module.reduce, [Given(top)])
            for least in (self.top(block, width) / TOP, added, reduce.finest()):
                need = torch.maximum(need, least)
        scale = self.dense(f"{network}.{ENTER}", Source.of(name, enter, inputs), need)
        for k, (block, module) in enumerate(blocks):
            expand = Source.of(f"{block}.expand", module.expand, [Given(scale)])
            hidden = self.dense(f"{network}.{k}.expand", expand, self.top(expand.name, 2 * width) / TOP)
            reduce = Source.of(f"{block}.reduce", module.reduce, [Given(hidden)])
            self.fill(f"{network}.{k}.reduce", reduce, scale, True)
        return scale

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
        leave = Source.of(f"{name}.leave", head.leave, [Given(scale)], order)
        self.fill(f"{network}.{LEAVE}", leave, units[order], True)
        if isinstance(head, ChannelConditionalHead):
            decoded, overdue = list[LookUps](), [Flags(1)] if head.overdue else []
            for k, module in enumerate(head.conditionals):
                decoded.append(LookUps(head.places * head.channels[k]))
                own = condition(network, k + 1)
                enter = Source.of(f"{name}.conditionals.{k}.enter", module.enter, [Given(scale), *decoded, *overdue])
                top = self.top(enter.name, module.enter.out_features) / TOP
                inner = self.dense(f"{own}.{ENTER}", enter, top)
                last = Source.of(f"{name}.conditionals.{k}.leave", module.leave, [Given(inner)])
                self.fill(f"{own}.{LEAVE}", last, parameter_units(module.leave.out_features), True)

    def phases(
        self, network: str, name: str, phases: FourPhaseContext, scale: Tensor, other: Inputs, flags: Inputs
    ) -> None:
        """The heads of four phases. scale: of the level's features; other: inputs that are decoded before the first."""
        for k, head in enumerate(phases.heads):
            own = [LookUps(phases.n, len(phases.places(k)))]
            self.head(f"{network}.{k}", f"{name}.heads.{k}", head, [Given(scale), *own, *other, *flags])


def parameter_units(outputs: int) -> Tensor:
    """The units of a head's outputs: of all means, all log scales and all mixture logits."""
    units = torch.tensor([1 / MEAN_UNIT, LOG_SCALE_UNIT, SHAPE_UNIT], dtype=torch.float64)
    return units.repeat_interleave(outputs // 3)


@torch.no_grad()
def round_context(context: ContextModel, measured: Measured) -> tuple[dict[str, Layer], np.ndarray]:
    """The integer layers of a float context model, and its input for each quality: (100, 16) uint8.

    measured: by `measure`. Raises WeightsError where weights are too large.
    """
    steps = torch.tensor([step_of(q) for q in QUALITIES])
    features = context.step_features(steps).double()
    scale = features.amax(0).clamp_min(1e-6) / TOP
    out = Rounding(measured)
    first = Given(scale)
    for part in ("luma", "chroma"):
        for s, heads in enumerate(getattr(context.low, part)):
            for k, head in enumerate(heads):
                inputs = [first, LookUps(3, 25), *([LookUps(1)] if part == "chroma" else [])]
                out.head(f"low.{part}.{s}.{k}", f"low.{part}.{s}.{k}", head, inputs)
    for i, level in enumerate(context.levels):
        scale = _round_level(out, level, f"levels.{i}", scale)
    return out.layers, torch.round(features / first.scale).clamp(0, TOP).to(torch.uint8).numpy()


def base_scales(context: ContextModel) -> np.ndarray:
    """Where log scales start, by quality, level and channel: (100, 5, 9) int16, in quarters of a scale index."""
    logs = context.base[None] - torch.tensor([math.log(step_of(q)) for q in QUALITIES])[:, None, None]
    return torch.round((logs - SCALE_LOW) / LOG_SCALE_UNIT).clamp(-(2**14), 2**14).short().numpy()


def _round_level(out: Rounding, level: nn.Module, name: str, scale: Tensor) -> Tensor:
    """One level's networks. scale: of the inherited features; returns that of those for the next level."""
    network = f"level{level.level}"
    inherited: list[Given | LookUps | Flags] = [Given(scale)]
    parent = [LookUps(9, 9)] if level.level < LEVELS else []
    flags: list[Flags] = []
    if level.flags is not None:
        flags = [Flags(2 * 9)]
        for k, head in enumerate(level.flags.heads):
            inputs = [*inherited, LookUps(3, 36), *parent, Flags(2 * len(known_places(k, level.flags.SIZE)))]
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
    up = Source.of(f"{name}.up", level.up, [Given(scale)])
    shared = torch.maximum(out.top(up.name, len(up.bias)) / TOP, up.finest()).view(4, -1).amax(0)
    out.fill(f"{network}.up.{ENTER}", up, shared.repeat(4), False)
    return shared
