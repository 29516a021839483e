"""The decoder's network of integers, described once for every engine: a U-Net of convolutions and gates.

Three parts, so that a large picture can be decoded in parts that come out as the whole would: `down` and `up` see a few
sites around each; `middle`, at stride 16, sees many and is run on blocks that the format fixes. Its floating-point
original is models/synthesis.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from .layers import Layers, under
from .ops import Ops, T, dense, gated

BANDS = 45, 9, 12  # coefficients a site at strides 4, 8 and 16 (models.unet)
FEATURES = tuple(2 * n + 1 for n in BANDS)  # each coefficient twice, and the quality


@dataclass(frozen=True)
class SynthesisShape:
    """How many blocks there are, and by how much the gates' products are shifted, in the order of computation."""

    blocks: tuple[int, int]  # at strides 4 and 8, each way
    wide: int  # pairs of a wide and a dense block at stride 16
    middle: int  # gated blocks at stride 16
    shifts: tuple[int, ...]  # of every gated block: down at 4 and 8, stride 16, up at 8 and 4

    def of(self, part: str) -> tuple[int, ...]:
        """The shifts of a part: "down4", "down8", "middle", "up8", "up4"."""
        four, eight = self.blocks
        ends = {"down4": four, "down8": eight, "middle": self.wide + self.middle, "up8": eight, "up4": four}
        start = 0
        for name, count in ends.items():
            if name == part:
                return self.shifts[start : start + count]
            start += count
        raise KeyError(part)


def _row(ops: Ops[T], x: T, layers: Layers, part: str, shape: SynthesisShape) -> T:
    for k, shift in enumerate(shape.of(part)):
        x = gated(ops, x, under(layers, f"{part}.{k}"), shift)
    return x


def down(ops: Ops[T], x4: T, x8: T, x16: T, layers: Layers, shape: SynthesisShape) -> tuple[T, T, T]:
    """The inputs at strides 4, 8 and 16 (FEATURES channels, signed) -> features there, before the middle."""
    h4 = _row(ops, ops.convolve(x4, layers["input4"]), layers, "down4", shape)
    h8 = ops.add(ops.convolve(x8, layers["input8"]), ops.convolve(ops.space_to_depth(h4), layers["to8"]))
    h8 = _row(ops, h8, layers, "down8", shape)
    h16 = ops.add(ops.convolve(x16, layers["input16"]), ops.convolve(ops.space_to_depth(h8), layers["to16"]))
    return h4, h8, h16


def middle(ops: Ops[T], h16: T, layers: Layers, shape: SynthesisShape) -> T:
    """Features at stride 16 -> the same."""
    for k, shift in enumerate(shape.of("middle")):
        h16 = gated(ops, h16, under(layers, f"middle.{k}"), shift)
        if k < shape.wide:
            h16 = dense(ops, h16, under(layers, f"dense.{k}"))
    return h16


def middle_reach(layers: Layers) -> int:
    """How many sites around each `middle` sees at most."""
    own = (layer for name, layer in layers.items() if name.split(".")[0] in ("middle", "dense"))
    return sum(layer.weight.shape[1] // 2 for layer in own)


def up(ops: Ops[T], h4: T, h8: T, h16: T, layers: Layers, shape: SynthesisShape) -> tuple[T, T, T]:
    """Features at strides 4, 8 and 16 -> corrections of the coefficients there (BANDS channels), sums."""
    h8 = ops.add(h8, ops.depth_to_space(ops.convolve(h16, layers["from16"])))
    h8 = _row(ops, h8, layers, "up8", shape)
    h4 = ops.add(h4, ops.depth_to_space(ops.convolve(h8, layers["from8"])))
    h4 = _row(ops, h4, layers, "up4", shape)
    return ops.sums(h4, layers["output4"]), ops.sums(h8, layers["output8"]), ops.sums(h16, layers["output16"])
