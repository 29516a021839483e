"""Training the context model with its rounding in the loop.

The model is built from its integer layers and computes as they do: weights and activations are rounded, with a gradient
that passes the rounding. How far each layer shifts its sums stays as it is. In the end the weights are what is stored.
(R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from .. import fixed_point
from ..bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SHAPE_UNIT
from ..coding.maps import FLAG_INPUT, FRACTION_BITS
from ..coding.tables import FLAG_UNIT
from ..context.density import RateEstimator
from ..context.groups import CodingGroup, FlagGroup
from ..context.heads import Residual
from ..context.model import ContextModel
from ..integer.layers import SUM_LIMIT, WEIGHT_LIMIT, Layer
from ..integer.reference import RANGE
from ..pretrained.integer_model import IntegerModel
from ..search.smooth import ContextFilling, LookedUp, fill_context
from ..subbands import Subbands
from .layer_sources import TOP
from .rounding import straight

BIAS_UNIT = 64.0  # a bias is trained in so many units of a weight, as it meets inputs of about that size


class RoundedLinear(nn.Module):
    """A layer in training. Its weights are those of the integers, before they are rounded.

    rows, columns: which of the integer layer's outputs and inputs are this one's first, second, ...
    """

    def __init__(self, layer: Layer, rows: np.ndarray, columns: np.ndarray, last: bool):
        super().__init__()
        self.layer, self.rows, self.columns, self.last = layer, rows, columns, last
        weight = torch.from_numpy(layer.weight[:, 0, 0][rows][:, columns]).float()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.from_numpy(layer.bias[rows]).float() / BIAS_UNIT)
        self.register_buffer("scale", 2.0 ** -torch.from_numpy(layer.shift[rows]).float())

    def whole(self) -> tuple[Tensor, Tensor]:
        """The integers, with a gradient."""
        weight = straight(self.weight.clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT))
        return weight, straight(self.bias * BIAS_UNIT)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.whole()
        y = straight(nn.functional.linear(x, weight * self.scale[:, None], bias * self.scale))
        return y if self.last else y.clamp(*RANGE[self.layer.signed_output])

    @torch.no_grad()
    def export(self) -> Layer:
        """The layer as it is stored."""
        weight, bias = self.layer.weight.copy(), self.layer.bias.copy()
        found, found_bias = self.whole()
        # sums have to stay within the limit whatever the inputs are
        most = (SUM_LIMIT - 1 - found_bias.abs()) / TOP
        excess = found.abs().sum(1) > most
        if excess.any():
            shrunk = torch.trunc(found * (most / found.abs().sum(1))[:, None])
            found = torch.where(excess[:, None], shrunk, found)
        weight[self.rows[:, None], 0, 0, self.columns] = found.to(torch.int8).numpy()
        bias[self.rows] = found_bias.int().numpy()
        return replace(self.layer, weight=weight, bias=bias)


class _RoundedResidual(nn.Module):
    """context.heads.Residual as the integers have it."""

    def __init__(self, block: Residual):
        super().__init__()
        self.expand, self.reduce = block.expand, block.reduce

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.reduce(self.expand(x))).clamp(*RANGE[False])


class _Filling(ContextFilling):
    """Makes a RoundedLinear in place of each layer."""

    def dense(self, layer: nn.Linear, name: str, looked_up: LookedUp, flags: int = 0) -> None:
        integers = self.layers[name]
        columns = np.arange(integers.inputs)
        end = len(columns) - flags
        for channels, places in reversed(looked_up):
            start = end - 2 * channels * places
            # all positive parts of a place come first, then all negative ones
            columns[start:end] = columns[start:end].reshape(places, channels, 2).transpose(0, 2, 1).ravel()
            end = start
        self.made[layer] = name, RoundedLinear(integers, np.arange(len(integers.weight)), columns, last=False)

    def leave(self, layer: nn.Linear, name: str, order: np.ndarray, units: Tensor) -> None:
        integers = self.layers[name]
        self.made[layer] = name, RoundedLinear(integers, np.argsort(order), np.arange(integers.inputs), last=True)

    def __init__(self, layers: dict[str, Layer]):
        super().__init__(layers)
        self.made: dict[nn.Module, tuple[str, RoundedLinear]] = {}


class RoundedContext(nn.Module):
    """The context model of an integer model, in training."""

    def __init__(self, model: IntegerModel):
        super().__init__()
        self.context, filling = ContextModel(model.context_config), _Filling(dict(model.context))
        fill_context(self.context, filling)
        self.names = {made: name for name, made in filling.made.values()}
        for module in list(self.context.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, Residual):
                    for part in ("expand", "reduce"):
                        setattr(child, part, filling.made[getattr(child, part)][1])
                    setattr(module, name, _RoundedResidual(child))
                elif child in filling.made:
                    setattr(module, name, filling.made[child][1])
        del self.context.step_embedding, self.context.base
        self.register_buffer("features", torch.from_numpy(model.coding.features).float())
        self.register_buffer("thresholds", torch.from_numpy(model.coding.thresholds))

    def measured(self, tokens: Subbands, qualities: Tensor, base: Tensor, step: Tensor) -> RateEstimator:
        """What coding tokens costs.

        tokens: int32 (B, h, w, C). qualities: (B,). base, step: as RateEstimator.
        """
        meter = _Meter(tokens, tokens, base, step)
        arithmetic = _Arithmetic(cast(Tensor, self.thresholds))
        features = cast(Tensor, self.features)[qualities - 1]
        self.context.autoregressive_pass(arithmetic, features, *tokens.grid, meter)
        return meter

    def export(self) -> dict[str, Layer]:
        """All layers as they are stored."""
        layers = {name: made.export() for made, name in self.names.items()}
        for name, layer in layers.items():
            layer.check(name)
        return layers


class _Arithmetic:
    """As Arithmetic: how decoded integers, int32, enter the integer networks.

    Numbers enter as the logarithms of their positive and of their negative part. thresholds: as coding.maps has them.
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
        magnitude = self.table[x.clamp(-self.limit, self.limit).abs()]
        return torch.cat((magnitude * (x > 0), magnitude * (x < 0)), -1)

    def embed(self, q: Tensor) -> Tensor:
        return self.look_up(q << FRACTION_BITS)

    def embed_flags(self, flags: Tensor) -> Tensor:
        return flags.float() * FLAG_INPUT

    def lowpass(self, q: Tensor) -> Tensor:
        return q << FRACTION_BITS

    def merge(self, low: Tensor, details: Tensor) -> Tensor:
        def planes(x: Tensor) -> np.ndarray:
            return np.ascontiguousarray(x.permute(0, 3, 1, 2).flatten(0, 1).cpu().numpy())

        merged = torch.from_numpy(fixed_point.merge(planes(low), planes(details << FRACTION_BITS)))
        return merged.unflatten(0, (len(low), -1)).permute(0, 2, 3, 1).to(self.device)

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


class _Meter(RateEstimator):
    """Takes parameters in the units of the integers."""

    def __call__(self, group: CodingGroup | FlagGroup, parameters: Tensor) -> Tensor:
        if isinstance(group, FlagGroup):
            return super().__call__(group, parameters * FLAG_UNIT)
        units = parameters.new_tensor([1 / MEAN_UNIT, LOG_SCALE_UNIT, SHAPE_UNIT])
        parameters = parameters.unflatten(-1, (3, -1)) * units[:, None]
        return super().__call__(group, parameters.flatten(-2))
