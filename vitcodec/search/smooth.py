"""The integer networks in floating point, with gradients: what the search differentiates.

The context model is built from its integer layers, in the units of their integers: the same numbers, but for the
rounding between layers and the clamp at 255. The inverse of training/round_context.py.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SHAPE_UNIT
from ..coding.maps import FLAG_INPUT, LOG_UNIT
from ..coding.tables import FLAG_UNIT
from ..context.arithmetic import FloatArithmetic
from ..context.config import ContextConfig
from ..context.heads import ChannelConditionalHead, FourPhaseContext, Head, Residual
from ..context.model import ContextModel, DetailLevel
from ..context.phases import known_places
from ..integer.context import ENTER, LEAVE, condition
from ..integer.layers import Layer, Layers
from ..layers import local_contrast


class _Logarithms(torch.autograd.Function):
    """sign(x) log(1 + |x|), then log(1 + |x|), of whole numbers or of what lies between; as slopes, what a step of one
    towards zero changes."""

    @staticmethod
    def forward(ctx, x: Tensor, reach: float) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.save_for_backward(x)
        ctx.reach = reach
        magnitude = torch.log1p(x.abs())
        return torch.cat((magnitude * x.sign(), magnitude), -1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def, override]
        (x,) = ctx.saved_tensors
        size = x.abs().clamp_min(ctx.reach)
        slope = (torch.log1p(size) - torch.log1p(size - ctx.reach)) / ctx.reach
        signed, magnitude = gradient.chunk(2, -1)
        return slope * (signed + magnitude * x.sign()), None


class SlopedArithmetic(FloatArithmetic):
    """FloatArithmetic with a slope at zero, where the logarithms' magnitude has a kink."""

    def embed(self, q: Tensor) -> Tensor:
        return cast(Tensor, _Logarithms.apply(q, 1.0)).to(self.input_type)

    def contrast(self, low: Tensor) -> Tensor:
        return cast(Tensor, _Logarithms.apply(local_contrast(low), 1 / 16)).to(self.input_type)

    def relative(self, q: Tensor, centre: Tensor) -> Tensor:
        return cast(Tensor, _Logarithms.apply(q - centre, 1 / 16)).to(self.input_type)


def smooth_context(layers: Layers, config: ContextConfig) -> ContextModel:
    """The context model in floating point. Its features of the quality are those of the integer model, 0..255.

    layers: NETWORK.LAYER, as integer.context.context_networks takes them.
    """
    model = ContextModel(config)
    with torch.no_grad():
        fill_context(model, ContextFilling(layers))
    return model.requires_grad_(False).eval()


def fill_context(model: ContextModel, fill: ContextFilling) -> None:
    """Fill every layer of a context model."""
    for part in ("luma", "chroma"):
        for s, heads in enumerate(getattr(model.low, part)):
            for k, head in enumerate(heads):
                looked_up = [(3, 25), *([(1, 1)] if part == "chroma" else [])]
                fill.head(f"low.{part}.{s}.{k}", cast(Head, head), looked_up)
    for level in model.levels:
        fill.level(cast(DetailLevel, level))


LookedUp = list[tuple[int, int]]  # of decoded integers among a layer's inputs: channels, places


class ContextFilling:
    """Fills a float model's layers from integer layers."""

    def __init__(self, layers: Layers):
        self.layers = layers

    def dense(self, layer: nn.Linear, name: str, looked_up: LookedUp, flags: int = 0) -> None:
        """Inputs are: a map's channels, then decoded integers, then `flags` block flags or such."""
        weight, bias = _numbers(self.layers[name])
        assert weight.shape == layer.weight.shape, name
        end = weight.shape[1] - flags
        weight[:, end:] *= FLAG_INPUT
        for channels, places in reversed(looked_up):
            start = end - 2 * channels * places
            positive, negative = weight[:, start:end].reshape(-1, places, channels, 2).unbind(3)
            # p and n, logarithms of positive and negative part, are (magnitude +- signed) / 2
            both = torch.stack(((positive - negative) / 2, (positive + negative) / 2), 2)
            weight[:, start:end] = LOG_UNIT * both.reshape(len(weight), -1)
            end = start
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)

    def residual(self, block: Residual, name: str) -> None:
        self.dense(block.expand, f"{name}.expand", [])
        self.dense(block.reduce, f"{name}.reduce", [])

    def stack(self, network: str, enter: nn.Linear, blocks: list[Residual], looked_up: LookedUp, flags: int) -> None:
        self.dense(enter, f"{network}.{ENTER}", looked_up, flags)
        for k, block in enumerate(blocks):
            self.residual(block, f"{network}.{k}")

    def leave(self, layer: nn.Linear, name: str, order: np.ndarray, units: Tensor) -> None:
        """order: which of the layer's outputs the integer layer has first, second, ...; units: of the former."""
        weight, bias = _numbers(self.layers[name])
        rows = torch.from_numpy(order)
        layer.weight[rows] = weight * units[rows, None]
        layer.bias[rows] = bias * units[rows]

    def head(self, network: str, head: Head, looked_up: LookedUp, flags: int = 0, unit: float | None = None) -> None:
        blocks = [head.body, *(cast(Residual, block) for block in head.extra)]
        self.stack(network, head.enter, blocks, looked_up, flags)
        outputs = head.leave.out_features
        units = _parameter_units(outputs) if unit is None else torch.full((outputs,), unit)
        order = np.arange(outputs)
        if isinstance(head, ChannelConditionalHead):
            # a head's outputs are parameters, places, channels; the integers have those of one group after another's
            parts = np.split(order.reshape(3, head.places, -1), np.cumsum(head.channels)[:-1], 2)
            order = np.concatenate([part.ravel() for part in parts])
        self.leave(head.leave, f"{network}.{LEAVE}", order, units)
        if isinstance(head, ChannelConditionalHead):
            decoded: LookedUp = []
            for k, module in enumerate(head.conditionals):
                own, leave = condition(network, k + 1), cast(nn.Linear, module.leave)
                decoded.append((head.places * head.channels[k], 1))
                self.dense(cast(nn.Linear, module.enter), f"{own}.{ENTER}", decoded, int(head.overdue))
                self.leave(leave, f"{own}.{LEAVE}", np.arange(leave.out_features), _parameter_units(leave.out_features))

    def phases(self, network: str, phases: FourPhaseContext, other: LookedUp, flags: int) -> None:
        for k, head in enumerate(phases.heads):
            places = len(phases.places(k))
            own = [(phases.n, places)] if places else []
            self.head(f"{network}.{k}", cast(Head, head), [*own, *other], flags)

    def level(self, level: DetailLevel) -> None:
        network, flags = f"level{level.level}", 0
        parent = [(9, 9)] if level.level < 4 else []
        if level.flags is not None:
            flags = 2 * 9
            for k, head in enumerate(level.flags.heads):
                around = 2 * len(known_places(k, level.flags.SIZE))
                self.head(f"{network}.flags.{k}", cast(Head, head), [(3, 36), *parent], around, FLAG_UNIT)
        blocks = [level.body, *(cast(Residual, block) for block in level.extra)]
        self.stack(f"{network}.features", level.enter, blocks, [(3, 36), *parent], flags)
        self.phases(f"{network}.luma", level.luma, [], flags)
        if isinstance(level.chroma, FourPhaseContext):
            self.phases(f"{network}.chroma", level.chroma, [(3, 9)], flags)
        else:
            self.head(f"{network}.chroma", level.chroma, [(3, 36)], flags)
        if level.up is not None:
            self.dense(level.up, f"{network}.up.{ENTER}", [])


def _numbers(layer: Layer) -> tuple[Tensor, Tensor]:
    """Weight (o, i) and bias (o,) of the function without rounding."""
    scale = 2.0 ** -torch.from_numpy(layer.shift).float()
    weight = torch.from_numpy(layer.weight[:, 0, 0]).float() * scale[:, None]
    return weight, torch.from_numpy(layer.bias).float() * scale


def _parameter_units(outputs: int) -> Tensor:
    """Of all means, all log scales and all mixture logits."""
    return torch.tensor([1 / MEAN_UNIT, LOG_SCALE_UNIT, SHAPE_UNIT]).repeat_interleave(outputs // 3)
