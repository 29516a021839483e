"""How decoded integers enter the context model's networks.

In floating point for training; in integers for coding (integer.py, relaxed.py).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .. import wavelet
from ..layers import local_contrast


class Arithmetic(Protocol):
    """The operations of the pass that are not layers. All maps are (B, h, w, C)."""

    def zeros(self, *shape: int) -> Tensor:
        """A map of network inputs, to be filled."""
        ...

    def integers(self, *shape: int) -> Tensor:
        """A map of values, to be filled."""
        ...

    def embed(self, q: Tensor) -> Tensor:
        """Values -> network inputs, two for each: the signed logarithm and its magnitude."""
        ...

    def embed_flags(self, flags: Tensor) -> Tensor:
        """Block flags, 0 or 1 -> network inputs, one for each."""
        ...

    def lowpass(self, q: Tensor) -> Tensor:
        """The low band's values in the unit of `merge`."""
        ...

    def merge(self, low: Tensor, details: Tensor) -> Tensor:
        """One level of the inverse wavelet: the low band of the next finer level."""
        ...

    def contrast(self, low: Tensor) -> Tensor:
        """Network inputs for a low band less its local mean."""
        ...

    def quotient(self, total: Tensor, count: Tensor) -> Tensor:
        """The mean of known neighbours."""
        ...

    def relative(self, q: Tensor, centre: Tensor) -> Tensor:
        """Network inputs for values less such a mean."""
        ...

    def shifted(self, mean: Tensor, centre: Tensor) -> Tensor:
        """A predicted mean plus such a mean."""
        ...


class FloatArithmetic:
    """Every integer q enters as two numbers, sign(q) log(1 + |q|) and log(1 + |q|)."""

    def __init__(self, device: torch.device | str | None = None):
        self.device = device
        kind = torch.device(device or "cpu").type
        # inputs of matrix products alone are gathered in the precision that those take
        autocast = kind != "mps" and torch.is_autocast_enabled(kind)
        self.input_type = torch.get_autocast_dtype(kind) if autocast else torch.float32

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device, dtype=self.input_type)

    def integers(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device)

    def embed(self, q: Tensor) -> Tensor:
        magnitude = torch.log1p(q.abs()).to(self.input_type)
        return torch.cat((magnitude * q.sign().to(self.input_type), magnitude), -1)

    def embed_flags(self, flags: Tensor) -> Tensor:
        return flags.to(self.input_type)

    def lowpass(self, q: Tensor) -> Tensor:
        return q

    def merge(self, low: Tensor, details: Tensor) -> Tensor:
        return wavelet.merge(low, details)

    def contrast(self, low: Tensor) -> Tensor:
        return self.embed(local_contrast(low))

    def quotient(self, total: Tensor, count: Tensor) -> Tensor:
        return total / count

    def relative(self, q: Tensor, centre: Tensor) -> Tensor:
        return self.embed(q - centre)

    def shifted(self, mean: Tensor, centre: Tensor) -> Tensor:
        return mean + centre
