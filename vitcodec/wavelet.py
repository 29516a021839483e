"""Colour axes and the CDF 9/7 wavelet: the linear transform that every model starts from.

All tensors are channels-last, (B, H, W, C). The colour transform and the wavelet are orthonormal (the wavelet nearly
so), so that one quantisation step gives about the same error in RGB wherever it is used.

Sources: A. Cohen, I. Daubechies, J.-C. Feauveau, "Biorthogonal bases of compactly supported wavelets", 1992; the
lifting factorisation is that of I. Daubechies and W. Sweldens, "Factoring wavelet transforms into lifting steps", 1998,
as JPEG 2000 (ISO/IEC 15444-1, annex F) uses it.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from .subbands import LEVELS, Subbands

LIFTING = (-1.586134342, -0.05298011854, 0.8829110762, 0.4435068522)
GAIN = 1.149604398
ORIENTATIONS = 3  # horizontal, vertical and diagonal details

# rows: gray, red-blue, green-magenta; each of length one
COLOUR = torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]]) / torch.tensor([[3.0], [2], [6]]).sqrt()


def _next(x: Tensor, dim: int) -> Tensor:
    n = x.shape[dim]
    return torch.cat((x.narrow(dim, 1, n - 1), x.narrow(dim, n - 1, 1)), dim)


def _previous(x: Tensor, dim: int) -> Tensor:
    n = x.shape[dim]
    return torch.cat((x.narrow(dim, 0, 1), x.narrow(dim, 0, n - 1)), dim)


def _lift(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """One level along one axis of even length: (low, high) halves, borders extended symmetrically."""
    low, high = (x[:, 0::2], x[:, 1::2]) if dim == 1 else (x[:, :, 0::2], x[:, :, 1::2])
    high = high + LIFTING[0] * (low + _next(low, dim))
    low = low + LIFTING[1] * (high + _previous(high, dim))
    high = high + LIFTING[2] * (low + _next(low, dim))
    low = low + LIFTING[3] * (high + _previous(high, dim))
    return low * GAIN, high / GAIN


def _unlift(low: Tensor, high: Tensor, dim: int) -> Tensor:
    low, high = low / GAIN, high * GAIN
    low = low - LIFTING[3] * (high + _previous(high, dim))
    high = high - LIFTING[2] * (low + _next(low, dim))
    low = low - LIFTING[1] * (high + _previous(high, dim))
    high = high - LIFTING[0] * (low + _next(low, dim))
    return torch.stack((low, high), dim + 1).flatten(dim, dim + 1)


def split(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, H, W, 3) -> the low band (B, H/2, W/2, 3) and the details (B, H/2, W/2, 9). H and W are even."""
    left, right = _lift(x, 2)
    low, vertical = _lift(left, 1)
    horizontal, diagonal = _lift(right, 1)
    return low, torch.stack((horizontal, vertical, diagonal), -1).flatten(-2)


def merge(low: Tensor, details: Tensor) -> Tensor:
    """The inverse of split."""
    horizontal, vertical, diagonal = details.unflatten(-1, (3, ORIENTATIONS)).unbind(-1)
    return _unlift(_unlift(low, vertical, 1), _unlift(horizontal, diagonal, 1), 2)


@cache
def _axes(inverse: bool, device: torch.device, kind: torch.dtype) -> Tensor:
    """COLOUR, or its transpose, on a device: copied once, as a CUDA graph cannot hold a copy from the CPU."""
    with torch.inference_mode(False):
        return (COLOUR if inverse else COLOUR.T).to(device, kind)


def _rotate(x: Tensor, inverse: bool = False) -> Tensor:
    """x (..., 3) to other colour axes.

    In full precision, where the networks around it train in half: 8 bits of 128 are half a level.
    """
    axes = _axes(inverse, x.device, x.dtype)
    if x.device.type in ("cpu", "cuda") and torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return x @ axes
    return x @ axes


def to_axes(image: Tensor) -> Tensor:
    """Colours (..., 3) -> gray, red-blue, green-magenta: a rotation."""
    return _rotate(image)


def forward(image: Tensor) -> Subbands:
    """(B, H, W, 3) in 0..255, sides multiples of 16 -> subbands in 8-bit levels."""
    x = _rotate(image - 128)
    details = []
    for _ in range(LEVELS):
        x, d = split(x)
        details.append(d)
    return Subbands(x, tuple(details))


def inverse(bands: Subbands, reduce: int = 0) -> Tensor:
    """Subbands in 8-bit levels -> (B, H, W, 3) in about 0..255.

    reduce = N leaves the N finest levels out and halves the size N times.
    """
    x = bands.low
    for level in reversed(range(reduce + 1, bands.levels.stop)):
        x = merge(x, bands[level])
    return _rotate(x / 2**reduce, inverse=True) + 128
