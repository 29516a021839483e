"""Weights in bfloat16, made once in a step: autocast makes them anew wherever one is used, 1,900 copies a step."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn


class _Halved(torch.autograd.Function):
    """Tensors in bfloat16; their gradients in float32."""

    @staticmethod
    def forward(_context: Any, *weights: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        halves = [torch.empty_like(w, dtype=torch.bfloat16) for w in weights]
        torch._foreach_copy_(halves, weights)
        return tuple(halves)

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        found = [torch.empty_like(g, dtype=torch.float32) for g in gradients]
        torch._foreach_copy_(found, gradients)
        return tuple(found)


def product_weights(module: nn.Module, without: nn.Module | None = None) -> list[str]:
    """The names of the weights and biases that matrix products and convolutions have, but for those of `without`."""
    left_out = {id(m) for m in without.modules()} if without is not None else set()
    names = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d) and id(part) not in left_out:
            names += [f"{name}.{own}" for own, _ in part.named_parameters(recurse=False)]
    return names


def halved(module: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Parameters in bfloat16, with a gradient that reaches them: for torch.func.functional_call."""
    if not names:
        return {}
    found = cast(tuple[Tensor, ...], _Halved.apply(*(module.get_parameter(name) for name in names)))
    return dict(zip(names, found, strict=True))
