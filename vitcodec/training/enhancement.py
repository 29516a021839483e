"""Training the enhancement of pixels (vitcodec/enhancement.py): in floating point, then with its rounding in the loop.

All numbers of the network's input are in units of 1/32, and one scale for each channel holds from the first layer to
the last block: scales are measured when training in floating point ends, and then stay. They and the weights give the
integers of every layer, in each step anew, with a gradient that passes the rounding; in the end they are what is
stored. Matrices are two-dimensional, so that the optimiser takes them as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import fixed_point
from ..dequantiser import STEP_BITS
from ..enhancement import BOX, MOST_REACH
from ..integer.enhancement import ENTER, FEATURES, LEAVE, PIXELS, block_name, enhance
from ..integer.layers import LARGEST, SUM_LIMIT, Layer
from ..integer.torch_ops import TorchOps, TrainedLayer
from ..layers import zero_init
from ..wavelet import to_axes
from .rounding import layer_shift, straight

UNIT = 1 / 32  # of what enters
TOP = 127  # of an input, and of what a block adds
STEP_SHARE = 1 / 16  # what leaves the network is in such parts of a step
KERNEL = 3
SCALE_QUANTILE = 0.997  # of a channel's magnitudes, what is not clipped
LARGEST_RATIO = 64.0  # between the scales of two channels


class Convolution(nn.Linear):
    """A convolution of maps (B, C, H, W), zeros around, whose weight is a matrix (outputs, inputs * size * size)."""

    def __init__(self, inputs: int, outputs: int, size: int):
        super().__init__(inputs * size * size, outputs)
        nn.init.zeros_(self.bias)
        self.inputs, self.size = inputs, size

    def kernel(self) -> Tensor:
        """(outputs, inputs, size, size)."""
        return self.weight.unflatten(1, (self.inputs, self.size, self.size))

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel().contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, kernel, self.bias, padding=self.size // 2)


class EnhancementNet(nn.Module):
    """The network in floating point. Pictures are planes of the colour axes less mid-grey, (B, 3, H, W), H and W even,
    in 8-bit levels; step: (B,); place: (B,), the dequantiser's position of the quality without its zero point.
    """

    def __init__(self, width: int, blocks: int):
        super().__init__()
        if blocks + 1 > MOST_REACH:
            raise ValueError(f"{blocks} blocks see more than {MOST_REACH} sites around")
        self.enter = Convolution(FEATURES, width, KERNEL)
        self.blocks = nn.ModuleList(Convolution(width, width, KERNEL) for _ in range(blocks))
        self.leave = Convolution(width, PIXELS, 1)
        zero_init(self.leave)

    def forward(self, planes: Tensor, step: Tensor, place: Tensor) -> Tensor:
        """What is added to the planes, in levels."""
        x = F.relu(self.enter(features(planes, step, place) * UNIT))
        for block in self.blocks:
            x = F.relu(x + block(x))
        return from_sites(self.leave(x).float()) * (step * STEP_SHARE).view(-1, 1, 1, 1)


def features(planes: Tensor, step: Tensor, place: Tensor) -> Tensor:
    """As Enhancement.features, (B, FEATURES, H/2, W/2), without rounding or zero point."""
    edge = BOX // 2
    mean = F.avg_pool2d(F.pad(planes, (edge,) * 4, mode="replicate"), BOX, 1)
    contrast = (planes - mean) * (1 / UNIT / step).view(-1, 1, 1, 1)
    sites = [to_sites(t.clamp(-TOP - 1, TOP)) for t in (planes / 2, contrast)]
    return torch.cat((*sites, place.view(-1, 1, 1, 1).expand(-1, 1, *sites[0].shape[2:])), 1)


def to_sites(planes: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, PIXELS, H/2, W/2): row, column, plane."""
    x = planes.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (B, 3, h, 2, w, 2)
    return x.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


def from_sites(x: Tensor) -> Tensor:
    """The inverse."""
    x = x.unflatten(1, (2, 2, 3))
    return x.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)


def planes_of(images: Tensor) -> Tensor:
    """(B, H, W, 3) in 0..255 -> such planes."""
    return to_axes(images.float() - 128).permute(0, 3, 1, 2)


@torch.no_grad()
def measure_scales(net: EnhancementNet, samples: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """What 1 stands for in each channel, (width,). samples: arguments of the network."""
    top: Tensor | None = None
    for planes, step, place in samples:
        x = F.relu(net.enter(features(planes, step, place) * UNIT))
        found = [x / LARGEST[False]]
        for block in net.blocks:
            added = block(x)
            x = F.relu(x + added)
            found += [x / LARGEST[False], added.abs() / TOP]
        rows = torch.stack([t.transpose(0, 1).flatten(1) for t in found], 1).flatten(1)
        count = max(1, round(rows.shape[1] * (1 - SCALE_QUANTILE)))
        own = rows.topk(count, 1).values[:, -1]
        top = own if top is None else torch.maximum(top, own)
    assert top is not None
    return top.clamp_min(top.max() / LARGEST_RATIO)


class RoundedEnhancement(nn.Module):
    """The network as its integers compute it, with a gradient: the same interface, the same weights."""

    def __init__(self, net: EnhancementNet, scales: Tensor):
        super().__init__()
        self.net, self.ops = net, TorchOps()
        self.register_buffer("scales", scales)

    def layers(self) -> dict[str, TrainedLayer]:
        """The layers of integer.enhancement.enhance, as whole numbers."""
        net, scales = self.net, cast(Tensor, self.scales)
        first, last = (
            scales.new_full((FEATURES,), UNIT),
            scales.new_full((PIXELS,), 1 / (STEP_SHARE * (1 << STEP_BITS))),
        )
        found = {ENTER: _whole(net.enter, first, scales, signed=False)}
        found |= {block_name(k): _whole(block, scales, scales, signed=True) for k, block in enumerate(net.blocks)}
        return found | {LEAVE: _whole(net.leave, scales, last, signed=True)}

    def forward(self, planes: Tensor, step: Tensor, place: Tensor) -> Tensor:
        x = straight(features(planes, step, place)).permute(0, 2, 3, 1)
        sums = enhance(self.ops, x, self.layers())  # type: ignore[arg-type]
        added = from_sites(sums.permute(0, 3, 1, 2)) * (step / (1 << STEP_BITS)).view(-1, 1, 1, 1)
        fraction = 1 << fixed_point.FRACTION_BITS
        return straight(added * fraction) / fraction

    @torch.no_grad()
    def export(self) -> dict[str, Layer]:
        """The layers as they are stored."""
        out = {}
        for name, layer in self.layers().items():
            weight, bias = layer.weight.permute(0, 2, 3, 1).contiguous().cpu(), layer.bias.cpu()
            shift = torch.round(-layer.scale.log2()).cpu()
            out[name] = Layer(
                weight.to(torch.int8).numpy(),
                bias.int().numpy(),
                shift.to(torch.uint8).numpy(),
                signed_input=name == ENTER,
                signed_output=layer.signed_output,
            )
            out[name].check(name)
        return out


def _whole(layer: nn.Module, inputs: Tensor, outputs: Tensor, signed: bool) -> TrainedLayer:
    """inputs, outputs: the scales around the layer."""
    assert isinstance(layer, Convolution)
    weight, bias = layer.kernel() * inputs[:, None, None], layer.bias
    with torch.no_grad():
        shift = layer_shift(weight, outputs)
        # sums have to stay within the limit whatever the inputs are
        sums = 256 * weight.abs().sum((1, 2, 3)) + bias.abs()
        shift = torch.minimum(shift, torch.floor(torch.log2(0.97 * SUM_LIMIT * outputs / sums.clamp_min(1e-12))))
        unit = outputs * 2.0**-shift
    whole = straight(weight / unit.view(-1, 1, 1, 1))
    return TrainedLayer(whole, straight(bias / unit), 2.0**-shift, 1, signed)


def sizes(weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Width and number of blocks of a network's weights."""
    return len(weights["enter.bias"]), sum(name.startswith("blocks.") and name.endswith(".bias") for name in weights)
