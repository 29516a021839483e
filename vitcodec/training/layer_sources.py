"""A float layer on its way to integers: what its inputs stand for, its weights in their units, and their rounding.

The `scale` of a number is what 1 stands for in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..coding.maps import FLAG_INPUT, LOG_UNIT
from ..integer.layers import LARGEST, SUM_LIMIT, WEIGHT_LIMIT

TOP = LARGEST[False]  # of an unsigned map


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

    def whole(self, x: Tensor) -> Tensor:
        """Inputs (..., c) in such units."""
        return x / self.scale


@dataclass(frozen=True)
class LookUps:
    """Inputs that are decoded integers: at each place the positive and the negative part of each channel.

    In the float model all signed logarithms of a place come first, then all magnitudes.
    """

    channels: int
    places: int = 1

    @property
    def count(self) -> int:
        return 2 * self.channels * self.places

    def units(self, weight: Tensor) -> Tensor:
        signed, magnitude = weight.view(len(weight), self.places, 2, self.channels).unbind(2)
        return torch.stack((magnitude + signed, magnitude - signed), -1).flatten(1) / LOG_UNIT

    def whole(self, x: Tensor) -> Tensor:
        signed, magnitude = x.view(len(x), self.places, 2, self.channels).unbind(2)
        return torch.stack((magnitude + signed, magnitude - signed), -1).flatten(1) * (LOG_UNIT / 2)


@dataclass(frozen=True)
class Flags:
    """Inputs that are block flags."""

    count: int

    def units(self, weight: Tensor) -> Tensor:
        return weight / FLAG_INPUT

    def whole(self, x: Tensor) -> Tensor:
        return x * FLAG_INPUT


Inputs = Sequence[Given | LookUps | Flags]


def _in_units(weight: Tensor, inputs: Inputs) -> Tensor:
    parts = weight.double().split([part.count for part in inputs], 1)
    return torch.cat([part.units(columns) for part, columns in zip(inputs, parts, strict=True)], 1)


def whole_moments(moments: Tensor, inputs: Inputs) -> Tensor:
    """Sums of products of two inputs or 1, (i + 1, i + 1): the same in units of the inputs' scales."""
    return _whole(_whole(moments, inputs).T, inputs)


def _whole(x: Tensor, inputs: Inputs) -> Tensor:
    """Inputs and 1, (n, i + 1), in such units."""
    parts = x.double().split([*(part.count for part in inputs), 1], 1)
    return torch.cat([*(part.whole(columns) for part, columns in zip(inputs, parts, strict=False)), parts[-1]], 1)


@dataclass(frozen=True)
class Source:
    """A layer of the float model, in units of its inputs."""

    name: str
    weight: Tensor  # (o, i)
    bias: Tensor
    inputs: Inputs

    @classmethod
    def of(cls, name: str, layer: nn.Linear, inputs: Inputs, rows: np.ndarray | slice = slice(None)) -> Source:
        """rows: which outputs come first, second, ..."""
        return cls(name, _in_units(layer.weight, inputs)[rows], layer.bias.double()[rows], inputs)

    def finest(self) -> Tensor:
        """The finest unit of each output that keeps weights and sums within their limits."""
        sums = (TOP * self.weight.abs().sum(1) + self.bias.abs()) / (SUM_LIMIT * 0.97)
        return torch.maximum(self.weight.abs().amax(1) / WEIGHT_LIMIT, sums).clamp_min(1e-12)


def round_rows(weight: Tensor, bias: Tensor, moments: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weights (o, i) and biases (o,) to whole numbers such that the sums change little on inputs with such moments.

    The error of each weight is made up for by those that are rounded after it (E. Frantar et al., "GPTQ", ICLR 2023).
    moments: (i + 1, i + 1), of the inputs and 1; None: to the nearest.
    """
    if moments is None:
        return torch.round(weight).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT), torch.round(bias)
    diagonal = moments.diagonal().clone()
    order = torch.cat((diagonal[:-1].argsort(descending=True), torch.tensor([len(diagonal) - 1])))
    damped = moments + torch.diag(torch.full_like(diagonal, 0.01) * diagonal.mean() + moments[-1, -1] / 12)
    damped = damped[order][:, order]
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    rest = torch.cat((weight, bias[:, None]), 1)[:, order]
    whole = torch.empty_like(rest)
    for k in range(rest.shape[1]):
        limit = WEIGHT_LIMIT if k < rest.shape[1] - 1 else SUM_LIMIT
        whole[:, k] = torch.round(rest[:, k]).clamp(-limit, limit)
        error = (rest[:, k] - whole[:, k]) / inverse[k, k]
        rest[:, k + 1 :] -= error[:, None] * inverse[k, k + 1 :]
    out = torch.empty_like(whole)
    out[:, order] = whole
    return out[:, :-1], out[:, -1]
