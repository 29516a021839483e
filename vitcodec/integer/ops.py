"""What a network of small integers is made of: the operations that each engine implements.

A network is a function that takes these operations and its layers: synthesis.py, context.py. T is what an engine calls
a map.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, cast

from .layers import Layer, Layers

T = TypeVar("T")

GATE_FACTOR, GATE_HALF = 4, 128  # of hard_sigmoid
GATE_BITS = 8  # a gate of 256 would be one


class Ops(Protocol[T]):
    """All maps are (1, H, W, C)."""

    def convolve(self, x: T, layer: Layer) -> T:
        """The layer's output, clamped to -128..127 or 0..255."""
        ...

    def sums(self, x: T, layer: Layer) -> T:
        """The layer's output, rounded but not clamped: whole numbers below 2^24."""
        ...

    def add(self, x: T, y: T, signed: bool = True) -> T:
        """clamp(x + y), signed; or unsigned plus signed, clamped to 0..255."""
        ...

    def hard_sigmoid(self, x: T) -> T:
        """Signed -> unsigned: clamp(4 x + 128, 0, 255)."""
        ...

    def multiply(self, x: T, y: T, shift: int, signed: bool) -> T:
        """Signed times signed, or (signed=False) times unsigned: clamp(round(x y 2^-shift)), signed."""
        ...

    def space_to_depth(self, x: T) -> T:
        """Each 2x2 block becomes one site with four times as many channels: layers.space_to_depth."""
        ...

    def depth_to_space(self, x: T) -> T:
        """The inverse of space_to_depth."""
        ...


def gated(ops: Ops[T], x: T, layers: Layers, shift: int) -> T:
    """Depthwise convolution, then a gated product, added to x (models.synthesis.GatedBlock).

    Operations may have a `gated` of their own that does the same, as those of training have.
    """
    if (own := getattr(ops, "gated", None)) is not None:
        return cast(T, own(x, layers, shift))
    return gated_of(ops, x, layers, shift)


def gated_of(ops: Ops[T], x: T, layers: Layers, shift: Any) -> T:
    """`gated` of single operations."""
    y = ops.convolve(x, layers["mix"])
    return ops.add(x, ops.convolve(_gate(ops, y, layers, shift), layers["down"]))


def _gate(ops: Ops[T], y: T, layers: Layers, shift: int) -> T:
    gate, value = ops.convolve(y, layers["gate"]), ops.convolve(y, layers["value"])
    return ops.multiply(hard_gelu(ops, gate), value, shift, signed=True)


def hard_gelu(ops: Ops[T], x: T) -> T:
    """x times its hard sigmoid."""
    return ops.multiply(x, ops.hard_sigmoid(x), GATE_BITS, signed=False)


def dense(ops: Ops[T], x: T, layers: Layers) -> T:
    """A residual block of each site by itself (models.synthesis.DenseBlock)."""
    return ops.add(x, ops.convolve(hard_gelu(ops, ops.convolve(x, layers["up"])), layers["down"]))


def residual(ops: Ops[T], x: T, layers: Layers) -> T:
    """clamp(x + reduce(expand(x))) of unsigned maps (context.heads.Residual)."""
    return ops.add(x, ops.convolve(ops.convolve(x, layers["expand"]), layers["reduce"]), signed=False)
