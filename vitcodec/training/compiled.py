"""Compilation of what is made of many small operators, each kind of block once.

The whole network is 15,000 operators a step, which takes minutes to trace; the blocks of analysis and synthesis and the
probabilities are 11 graphs, and 11 seconds on a GPU. A CPU takes minutes for them too.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import Tensor

from ..context import density
from ..integer.layers import Layers
from ..integer.ops import gated_of
from ..integer.torch_ops import TorchOps, TrainedLayer
from ..models.blocks import ConvBlock, WindowBlock
from .model import TrainingModel
from .rounding import RoundedSynthesis

SHAPES = 64  # of arguments, for each of which a block may be compiled
GATED = "mix", "gate", "value", "down"  # layers of integer.ops.gated


def compile_parts(model: TrainingModel) -> None:
    """Compile a model's parts for training, if they are not yet; elsewhere call it within `eagerly`."""
    if model.bits is not density.bits:
        return
    torch._dynamo.config.recompile_limit = SHAPES
    for module in model.modules():
        if isinstance(module, ConvBlock | WindowBlock):
            module.compile(dynamic=False)
    model.bits = torch.compile(density.bits, dynamic=False)
    if isinstance(model.autoencoder.synthesis, RoundedSynthesis):
        model.autoencoder.synthesis.ops = CompiledOps


def eagerly() -> AbstractContextManager[object]:
    """In this context compiled parts run as they are written: for validation and search, whose shapes are others."""
    return torch.compiler.set_stance("force_eager")


class CompiledOps(TorchOps):
    """The operations of the rounded synthesis, with its gated blocks compiled."""

    def gated(self, x: Tensor, layers: Layers, shift: int) -> Tensor:
        """As integer.ops.gated."""
        numbers: list[Tensor] = []
        for name in GATED:
            layer = layers[name]
            assert isinstance(layer, TrainedLayer)
            numbers += [layer.weight, layer.bias, layer.scale]
        return _compiled()(x, _shifts(x.device)[shift], *numbers)


@cache
def _shifts(device: torch.device) -> list[Tensor]:
    """Numbers as tensors: others would be compiled in, each a graph of its own."""
    return [torch.tensor(float(k), device=device) for k in range(16)]


def _gated(x: Tensor, shift: Tensor, *numbers: Tensor) -> Tensor:
    """integer.ops.gated of weights, biases and scales of its four layers."""
    layers = {}
    for k, name in enumerate(GATED):
        weight, bias, scale = numbers[3 * k : 3 * k + 3]
        layers[name] = TrainedLayer(weight, bias, scale, x.shape[-1] if name == "mix" else 1)
    return gated_of(TorchOps(x.device), x, layers, shift)  # type: ignore[arg-type]


@cache
def _compiled():  # type: ignore[no-untyped-def]
    return torch.compile(_gated, dynamic=False)
