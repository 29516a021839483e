"""The network of search/proposals.py in torch: its layers, its loss, its graph."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import zero_init
from ..search.proposals import INPUTS, OUTPUTS, SEEN
from ..subbands import LEVELS

DETAILS, LOW = 9 * SEEN, 3 * SEEN  # inputs of a place
FLAGS = 2
TARGETS = 45, 9, 12  # slopes of a site at strides 4, 8 and 16
OPSET = 17


class Block(nn.Module):
    """x + W2 relu(W1 depthwise3x3(x)). Maps are (B, width, h, w)."""

    def __init__(self, width: int):
        super().__init__()
        self.mix = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.expand, self.reduce = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.reduce.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.reduce(F.relu(self.expand(self.mix(x))))


def _row(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


class ProposalNetwork(nn.Module):
    """A U-Net at strides 4, 8 and 16. widths: channels there. blocks: how many, on the way down and again on the way
    up."""

    def __init__(self, widths: Sequence[int] = (64, 96, 192), blocks: Sequence[int] = (1, 2, 2)):
        super().__init__()
        w4, w8, w16 = widths
        # inputs and outputs at each stride, in the order of INPUTS
        sizes = (4 * DETAILS, w4), (DETAILS, w4), (DETAILS, w8), (DETAILS, w16), (LOW, w16), (FLAGS, w4), (FLAGS, w8)
        self.inputs = nn.ModuleList(nn.Linear(n, w, bias=False) for n, w in sizes)
        self.position = nn.ModuleList(nn.Linear(1, w) for w in widths)
        self.first, self.last = (nn.ModuleList(map(_row, widths, blocks)) for _ in range(2))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in ((w4, w8), (w8, w16)))
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in ((w4, w8), (w8, w16)))
        self.outputs = nn.ModuleList(zero_init(nn.Linear(w, n)) for w, n in zip(widths, TARGETS, strict=True))
        self.factors = zero_init(nn.Linear(1, (LEVELS + 1) * 9))

    def forward(
        self, d1: Tensor, d2: Tensor, d3: Tensor, d4: Tensor, low: Tensor, f1: Tensor, f2: Tensor, position: Tensor
    ) -> tuple[Tensor, ...]:
        """As search.proposals.inputs, of a batch; position (B, 1) -> (B, h, w, n) of TARGETS, and factors (B, 45)."""
        maps = [layer(x) for layer, x in zip(self.inputs, (d1, d2, d3, d4, low, f1, f2), strict=True)]
        sums = maps[0] + maps[1] + maps[5], maps[2] + maps[6], maps[3] + maps[4]
        places = [layer(position)[:, None, None] for layer in self.position]
        x4, x8, x16 = ((a + b).permute(0, 3, 1, 2) for a, b in zip(sums, places, strict=True))
        h4 = self.first[0](F.relu(x4))
        h8 = self.first[1](F.relu(x8 + self.down[0](h4)))
        h16 = self.last[2](self.first[2](F.relu(x16 + self.down[1](h8))))
        h8 = self.last[1](h8 + F.pixel_shuffle(self.up[1](h16), 2))
        h4 = self.last[0](h4 + F.pixel_shuffle(self.up[0](h8), 2))
        rest = [layer(h.permute(0, 2, 3, 1)) for layer, h in zip(self.outputs, (h4, h8, h16), strict=True)]
        return *rest, 1 + self.factors(position)

    @property
    def kmac_per_pixel(self) -> float:
        """Thousands of multiplications a pixel."""
        strides = {4: (0, 1, 5), 8: (2, 6), 16: (3, 4)}  # of the inputs
        total = 0.0
        for k, (stride, own) in enumerate(strides.items()):
            layers = [self.inputs[i] for i in own] + [self.first[k], self.last[k], self.outputs[k]]
            layers += [self.down[k - 1], self.up[k - 1]] if k else []
            weights = sum(p.numel() for layer in layers for p in layer.parameters() if p.ndim > 1)
            total += weights / stride**2
        return total / 1000


def slopes(outputs: Sequence[Tensor], known: Sequence[Tensor]) -> list[Tensor]:
    """The network's outputs and the known parts, as by_stride lays them out -> the slopes, laid out alike."""
    *rest, factors = outputs
    return [f[:, None, None] * k + r for f, k, r in zip(factors_by_stride(factors), known, rest, strict=True)]


def factors_by_stride(factors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 45), of the low band and levels 1 to 4 -> for the values of a site at strides 4, 8 and 16."""
    low, d1, d2, d3, d4 = factors.unflatten(1, (LEVELS + 1, 9)).unbind(1)
    return torch.cat((d1.repeat(1, 4), d2), 1), d3, torch.cat((d4, low[:, :3]), 1)


def loss(found: Sequence[Tensor], true: Sequence[Tensor], weight: Sequence[Tensor]) -> Tensor:
    """Bits: the deviation, squared where it is small, of the values that matter.

    The mean of the means at each stride: of the coarse levels, where low qualities are decided, there are few values.
    """
    means = [
        (F.smooth_l1_loss(a, b, reduction="none") * w).sum() / w.sum().clamp_min(1)
        for a, b, w in zip(found, true, weight, strict=True)
    ]
    return torch.stack(means).mean()


def graph(net: ProposalNetwork) -> bytes:
    """The network as an ONNX graph in float32, for pictures of any size."""
    sides = {"d1": 4, "d2": 4, "d3": 2, "d4": 1, "low": 1, "f1": 4, "f2": 2}  # places along a side of a site
    channels = dict(zip(INPUTS, (4 * DETAILS, DETAILS, DETAILS, DETAILS, LOW, FLAGS, FLAGS), strict=False))
    samples = [torch.zeros(1, 4 * k, 6 * k, channels[name]) for name, k in sides.items()]
    out = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (*samples, torch.zeros(1, 1)),
            out,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {1: f"h_{name}", 2: f"w_{name}"} for name in sides},
            opset_version=OPSET,
            dynamo=False,
        )
    return out.getvalue()
