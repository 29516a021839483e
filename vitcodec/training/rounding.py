"""The synthesis from floating point to small integers, and training with the rounding in the loop.

A map's scale, one number for each channel, is what 1 stands for in it; scales are measured on samples and then fixed.
They and the weights give the integers of every layer. In training these are computed anew in each step, with a gradient
that passes the rounding; in the end they are what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..dequantiser import STEP_BITS
from ..integer import synthesis
from ..integer.layers import SHIFT_LIMIT, WEIGHT_LIMIT, Layer
from ..integer.torch_ops import Round, TorchOps, TrainedLayer
from ..layers import depth_to_space, signed_log
from ..models.synthesis import GATE_SLOPE, ConvSynthesis, DenseBlock, GatedBlock
from ..models.unet import by_stride
from ..subbands import Subbands

FRACTION = 1 << STEP_BITS  # corrections come in such parts of a quantisation step
LINEAR, LOGARITHM, POSITION = 1 / 32, 1 / 16, 1 / 150  # scales of the inputs: models.blocks.coefficient_features
MIDDLE_POSITION = 0.475  # the quality's input is zero there
GATE_SCALE = 4 / (256 * GATE_SLOPE)  # so that the integers' hard sigmoid has the slope of hard_gelu
PRODUCT_SHIFTS = range(2, 8)


def straight(x: Tensor) -> Tensor:
    """Rounded half to even; the gradient passes."""
    return cast(Tensor, Round.apply(x))


class Gauge:
    """Measures the magnitudes of maps, channel by channel, while a network runs in floating point."""

    def __init__(self, quantile: float, largest: dict[str, Tensor] | None = None):
        self.quantile = quantile
        self.largest = {} if largest is None else largest

    def __call__(self, name: str, x: Tensor) -> None:
        rows = x.detach().abs().flatten(0, -2)
        k = max(1, round(len(rows) * (1 - self.quantile)))
        own = rows.topk(k, 0).values[-1]
        self.largest[name] = torch.maximum(self.largest.get(name, own), own)


@torch.no_grad()
def measure(net: ConvSynthesis, samples: Iterator[tuple[Subbands, Tensor]], quantile: float = 0.9999) -> Gauge:
    """The magnitudes of all maps. samples: coefficients as the synthesis gets them, and their step positions."""
    gauge = Gauge(quantile)
    hooks = []
    for name, stride, block in named_blocks(net):

        def look(
            module: nn.Module, inputs: tuple[Tensor], output: Tensor, name: str = name, stride: int = stride
        ) -> None:
            gauge(f"stream{stride}", inputs[0])
            gauge(f"stream{stride}", output)
            block = cast(GatedBlock | DenseBlock, module)
            y = inputs[0] * block.scale
            if isinstance(block, GatedBlock):
                y = block.mix(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
                gauge(f"{name}.mixed", y)
                gate, value = block.up(y).chunk(2, -1)
                gauge(f"{name}.value", value)
                gauge(f"{name}.product", F.hardtanh(gate * (GATE_SLOPE * gate + 0.5).clamp(0, 1), -6.4, 6.4) * value)

        hooks.append(block.register_forward_hook(look))
    for bands, position in samples:
        net(bands, position)
    for hook in hooks:
        hook.remove()
    return gauge


def map_names(net: ConvSynthesis) -> set[str]:
    """What `measure` finds magnitudes of."""
    gated = [name for name, _, block in named_blocks(net) if isinstance(block, GatedBlock)]
    streams = {f"stream{stride}" for _, stride, _ in named_blocks(net)}
    return streams | {f"{name}.{kind}" for name in gated for kind in ("mixed", "value", "product")}


def named_blocks(net: ConvSynthesis) -> Iterator[tuple[str, int, nn.Module]]:
    """The blocks with their names in integer.synthesis and their strides."""
    for l, stride in enumerate((4, 8)):
        for way, modules in (("down", net.encoder), ("up", net.decoder)):
            for k, block in enumerate(cast(nn.Sequential, modules[l])):
                yield f"{way}{stride}.{k}", stride, block
    counts = {GatedBlock: 0, DenseBlock: 0}
    for block in cast(nn.Sequential, net.encoder[2]):
        kind = GatedBlock if isinstance(block, GatedBlock) else DenseBlock
        yield f"{'middle' if kind is GatedBlock else 'dense'}.{counts[kind]}", 16, block
        counts[kind] += 1


@dataclass(frozen=True)
class _Source:
    """A layer of the network in floating point, with the scales around it."""

    weight: Tensor  # (o, i / groups, k, k)
    bias: Tensor
    inputs: Tensor  # (i,), scales
    outputs: Tensor  # (o,), scales
    groups: int = 1

    @property
    def weight_inputs(self) -> Tensor:
        """The scales of the inputs as factors of the weight."""
        return self.inputs[:, None, None, None] if self.groups > 1 else self.inputs[None, :, None, None]


def layer_shift(weight: Tensor, outputs: Tensor) -> Tensor:
    """The largest shift, for each output, that leaves weights (o, ...) in units of `outputs` within the limit."""
    most = (weight.flatten(1).abs().amax(1) / outputs).clamp_min(1e-9)
    return torch.floor(torch.log2(WEIGHT_LIMIT / most)).clamp(0, SHIFT_LIMIT)


class RoundedSynthesis(nn.Module):
    """A ConvSynthesis that computes as its integers do: the same interface, with a gradient.

    It shares the network's layers, by the same names, so that weights of one are those of the other. How far layers
    shift their sums follows from the weights, when it is made and at each `follow`.
    """

    grid, halo = 32, 128
    ops: Callable[[torch.device], TorchOps] = TorchOps  # what computes the layers

    def __init__(self, net: ConvSynthesis, gauge: Gauge):
        super().__init__()
        self._modules.update(net._modules)
        self._original = (net,)  # in a tuple, as it is no part of this module
        self._blocks = list(named_blocks(net))
        self.shape_of: dict[str, int] = {}
        scales = {}
        for name, largest in gauge.largest.items():
            if not name.endswith("product"):
                scales[name] = largest.clamp_min(largest.max() / 64) / 127
        for name, _, block in self._blocks:
            if isinstance(block, GatedBlock):
                product = gauge.largest[f"{name}.product"] / (GATE_SCALE * scales[f"{name}.value"])
                needed = product.max().log2() - np.log2(127)
                whole = min(max(int(torch.ceil(needed)), PRODUCT_SHIFTS[0]), PRODUCT_SHIFTS[-1])
                self.shape_of[name] = whole
        for name, scale in scales.items():
            self._keep("scale", name, scale)
        self.follow()

    @property
    def net(self) -> ConvSynthesis:
        """The network in floating point."""
        return self._original[0]

    def _keep(self, kind: str, name: str, value: Tensor) -> None:
        """Keep a number of a map or layer, where it was kept before if it was."""
        key = f"{kind}_{name}".replace(".", "_")
        if key in self._buffers:
            cast(Tensor, self._buffers[key]).copy_(value)
        else:
            self.register_buffer(key, value, persistent=False)

    def _kept(self, kind: str, name: str) -> Tensor:
        return cast(Tensor, self._buffers[f"{kind}_{name}".replace(".", "_")])

    def _scale(self, name: str) -> Tensor:
        return self._kept("scale", name)

    @torch.no_grad()
    def follow(self) -> None:
        """Let every layer's shift, and with it the units of its integers, follow its weights."""
        for name, source in self._sources():
            weight = source.weight * source.weight_inputs
            shift = layer_shift(weight, source.outputs)
            unit = source.outputs * 2.0**-shift
            self._keep("shift", name, shift)
            self._keep("factor", name, (2.0**-shift).bfloat16())  # exact, and maps stay in the precision of products
            self._keep("weights", name, source.weight_inputs / unit[:, None, None, None])
            self._keep("biases", name, 1 / unit)

    @property
    def shape(self) -> synthesis.SynthesisShape:
        net = self.net
        names = [name for name, _, _ in self._blocks]
        order = [n for part in ("down4", "down8", "middle", "up8", "up4") for n in names if n.startswith(f"{part}.")]
        blocks = len(cast(nn.Sequential, net.encoder[0])), len(cast(nn.Sequential, net.encoder[1]))
        wide, middle = (sum(n.startswith(f"{kind}.") for n in names) for kind in ("dense", "middle"))
        return synthesis.SynthesisShape(blocks, wide, middle - wide, tuple(self.shape_of[n] for n in order))

    def _sources(self) -> Iterator[tuple[str, _Source]]:
        net, one = self.net, self.net.inputs[0].weight

        def linear(layer: nn.Linear, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
            return layer.weight[rows, :, None, None], layer.bias[rows]

        for l, stride in enumerate((4, 8, 16)):
            n, stream = synthesis.BANDS[l], self._scale(f"stream{stride}")
            entry = cast(nn.Linear, net.inputs[l])
            units = torch.cat([one.new_full((k,), u) for k, u in ((n, LINEAR), (n, LOGARITHM), (1, POSITION))])
            weight, bias = linear(entry)
            yield f"input{stride}", _Source(weight, bias + MIDDLE_POSITION * weight[:, -1, 0, 0], units, stream)
            outputs = one.new_full((n,), 1 / FRACTION)
            yield f"output{stride}", _Source(*linear(cast(nn.Linear, net.outputs[l])), stream, outputs)
        for l, (fine, coarse) in enumerate(((4, 8), (8, 16))):
            inner, outer = self._scale(f"stream{fine}"), self._scale(f"stream{coarse}")
            yield f"to{coarse}", _Source(*linear(cast(nn.Linear, net.down[l])), inner.repeat(4), outer)
            yield f"from{coarse}", _Source(*linear(cast(nn.Linear, net.up[l])), outer, inner.repeat(4))
        for name, stride, block in self._blocks:
            stream = self._scale(f"stream{stride}")
            if isinstance(block, GatedBlock):
                width, half = len(stream), len(block.up.bias) // 2
                mixed, value = self._scale(f"{name}.mixed"), self._scale(f"{name}.value")
                mix = block.mix
                weight = mix.weight * block.scale[:, None, None, None]
                yield f"{name}.mix", _Source(weight, cast(Tensor, mix.bias), stream, mixed, width)
                gates = one.new_full((half,), GATE_SCALE)
                yield f"{name}.gate", _Source(*linear(block.up, slice(half)), mixed, gates)
                yield f"{name}.value", _Source(*linear(block.up, slice(half, None)), mixed, value)
                products = GATE_SCALE * value * 2.0 ** self.shape_of[name]
                yield f"{name}.down", _Source(*linear(block.down), products, stream)
            else:
                block = cast(DenseBlock, block)
                gates = one.new_full((len(block.up.bias),), GATE_SCALE)
                weight = block.up.weight * block.scale
                yield f"{name}.up", _Source(weight[..., None, None], block.up.bias, stream, gates)
                yield f"{name}.down", _Source(*linear(block.down), gates, stream)

    def layers(self, rounding: Callable[[Tensor], Tensor] = straight) -> dict[str, TrainedLayer]:
        """The integers of every layer."""
        out = {}
        for name, source in self._sources():
            weight = (source.weight * self._kept("weights", name)).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
            bias = source.bias * self._kept("biases", name)
            out[name] = TrainedLayer(rounding(weight), rounding(bias), self._kept("factor", name), source.groups)
        return out

    @torch.no_grad()
    def export(self) -> dict[str, Layer]:
        """The layers as they are stored. Raises WeightsError."""
        out = {}
        for name, layer in self.layers(torch.round).items():
            weight = layer.weight.permute(0, 2, 3, 1).to(torch.int8).numpy()
            shift = (-torch.log2(layer.scale.float())).to(torch.uint8).numpy()
            out[name] = Layer(np.ascontiguousarray(weight), layer.bias.int().numpy(), shift, True, True)
            out[name].check(name)
        return out

    def forward(self, bands: Subbands, position: Tensor) -> Subbands:
        """As ConvSynthesis: coefficients in quantisation steps -> corrected ones."""
        ops, layers, shape = self.ops(bands.low.device), self.layers(), self.shape
        x4, x8, x16 = (input_features(c, position) for c in by_stride(bands))
        h4, h8, h16 = synthesis.down(ops, x4, x8, x16, layers, shape)
        h16 = synthesis.middle(ops, h16, layers, shape)
        o4, o8, o16 = (y / FRACTION for y in synthesis.up(ops, h4, h8, h16, layers, shape))
        low, d1, d2, d3, d4 = bands
        details = d1 + depth_to_space(o4[..., :36].contiguous()), d2 + o4[..., 36:], d3 + o8, d4 + o16[..., :9]
        return Subbands(low + o16[..., 9:], details)


def input_features(c: Tensor, position: Tensor) -> Tensor:
    """Coefficients (B, h, w, n) -> the network's signed inputs, whole numbers (B, h, w, 2n + 1).

    The gradient passes the rounding.
    """
    place = ((position - MIDDLE_POSITION) / POSITION).view(-1, 1, 1, 1).expand(*c.shape[:3], 1)
    linear, logarithm = c * (0.5 / LINEAR), signed_log(c) / LOGARITHM
    return straight(torch.cat((linear, logarithm, place), -1)).clamp(-128, 127)
