"""Layers of small integers, as numbers.

Maps are channels-last, (1, H, W, C), 8 bits: signed ones hold -128..127, unsigned ones 0..255. A layer computes
clamp(round((W x + b) 2^-shift)), rounding half to even, for weights of at most 64 in magnitude. Two products of 255
and 64 fit into 16 bits, so that every instruction set's 8-bit products are exact (some add pairs in 16 bits,
saturating), and all sums are below 2^24, so that float32 holds them exactly in any order of summation.

Idea: J. Balle, N. Johnston, D. Minnen, "Integer networks for data compression with latent-variable models", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import WeightsError

WEIGHT_LIMIT = 64
SUM_LIMIT = 1 << 24
SHIFT_LIMIT = 24
ZERO_POINT = 128  # what is added to a signed map where it is held as uint8
LARGEST = {False: 255, True: 128}  # magnitude of an unsigned and of a signed value


@dataclass(frozen=True)
class Layer:
    """A convolution with stride 1 that keeps the size; a matrix product where the kernel is 1x1.

    Zeros surround the map.
    """

    weight: np.ndarray  # (outputs, k, k, inputs / groups) int8
    bias: np.ndarray  # (outputs,) int32
    shift: np.ndarray  # (outputs,) uint8
    signed_input: bool
    signed_output: bool

    @property
    def depthwise(self) -> bool:
        """Whether every channel is convolved by itself."""
        return self.weight.shape[3] == 1 and self.weight.shape[1] > 1

    @property
    def groups(self) -> int:
        return len(self.weight) if self.depthwise else 1

    @property
    def inputs(self) -> int:
        return self.weight.shape[3] * self.groups

    def largest_sum(self) -> int:
        """The bound on every partial sum of every output."""
        magnitudes = self._magnitudes().reshape(len(self.weight), -1).sum(1, dtype=np.int64)
        return int((LARGEST[self.signed_input] * magnitudes + np.abs(self.bias.astype(np.int64))).max())

    def _magnitudes(self) -> np.ndarray:
        return np.abs(self.weight).view(np.uint8)  # of -128 too

    def check(self, name: str) -> None:
        """Raise WeightsError unless the layer is within all limits."""
        outputs = len(self.weight)
        fine = (
            self.weight.dtype == np.int8
            and self.weight.ndim == 4
            and self.weight.shape[1] == self.weight.shape[2]
            and self.weight.shape[1] % 2 == 1
            and self.bias.shape == (outputs,)
            and self.shift.shape == (outputs,)
            and self._magnitudes().max(initial=0) <= WEIGHT_LIMIT
            and self.shift.max(initial=0) <= SHIFT_LIMIT
            and self.largest_sum() < SUM_LIMIT
        )
        if not fine:
            raise WeightsError(
                f"layer {name}: not an exact integer layer; the weights are damaged or were exported wrongly"
            )


Layers = Mapping[str, Layer]  # of a network, by name

_SIGNS = "signs"  # (2,) uint8: signed_input, signed_output


def to_tensors(layers: Layers) -> dict[str, np.ndarray]:
    """Layers as the tensors of a safetensors file."""
    tensors: dict[str, np.ndarray] = {}
    for name, layer in layers.items():
        for part in ("weight", "bias", "shift"):
            tensors[f"{name}.{part}"] = getattr(layer, part)
        tensors[f"{name}.{_SIGNS}"] = np.array([layer.signed_input, layer.signed_output], np.uint8)
    return tensors


def from_tensors(tensors: Mapping[str, np.ndarray]) -> dict[str, Layer]:
    """The inverse of to_tensors, every layer checked. Raises WeightsError."""
    layers = {}
    for name in sorted(key.removesuffix(f".{_SIGNS}") for key in tensors if key.endswith(f".{_SIGNS}")):
        try:
            weight, bias, shift, signs = (tensors[f"{name}.{p}"] for p in ("weight", "bias", "shift", _SIGNS))
            layer = Layer(weight, bias, shift, bool(signs[0]), bool(signs[1]))
        except (KeyError, IndexError) as error:
            raise WeightsError(f"layer {name}: a part is missing; the weights are damaged") from error
        layer.check(name)
        layers[name] = layer
    return layers


def under(layers: Layers, prefix: str) -> dict[str, Layer]:
    """The layers of a part of a network, named from there on."""
    return {name.removeprefix(f"{prefix}."): layer for name, layer in layers.items() if name.startswith(f"{prefix}.")}
