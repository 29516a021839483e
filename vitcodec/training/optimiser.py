"""Muon for matrices, Adam for the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = 3.4445, -4.775, 2.0315
NEWTON_SCHULZ_STEPS = 5


def orthogonalise(x: Tensor, half: bool = False) -> Tensor:
    """(N, r, c): about the nearest matrices with all singular values one, by Newton-Schulz steps. half: in bfloat16.

    In float32 the steps run on the Gram matrix, of the smaller side squared, which costs a third less than running them on x; in bfloat16 that would
    lose the small singular values.
    """
    a, b, c = NEWTON_SCHULZ
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-8)
    if half:
        x = x.bfloat16()
        for _ in range(NEWTON_SCHULZ_STEPS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return (x.mT if tall else x).float()
    gram, product = x @ x.mT, None
    for k in range(NEWTON_SCHULZ_STEPS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else factor @ product
        if k + 1 < NEWTON_SCHULZ_STEPS:
            gram = factor @ gram @ factor
    assert product is not None
    x = product @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton-Schulz steps (K. Jordan et al., 2024).

    half: in bfloat16, as torch.optim.Muon does; for CPUs without instructions for it that is 10 s a step against 0.3 s.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float = 1e-3, momentum: float = 0.95, half: bool = False
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self.half = half

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta, same_shape = group["momentum"], defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    m.lerp_(p.grad, 1 - beta)
                    same_shape[p.shape].append((p, torch.lerp(p.grad, m, beta)))
            for (rows, columns), pairs in same_shape.items():
                updates = orthogonalise(torch.stack([u for _, u in pairs]), self.half)
                for (p, _), u in zip(pairs, updates, strict=True):
                    p.add_(u, alpha=-group["lr"] * 0.2 * max(rows, columns) ** 0.5)


def optimisers(module: nn.Module, half: bool = False) -> list[torch.optim.Optimizer]:
    """Muon (half: in bfloat16) for the matrices, Adam for vectors, small tables and convolutions."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim == 2 and min(p.shape) > 5]
    ids = {id(p) for p in matrices}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in ids]
    return [Muon(matrices, half=half), torch.optim.Adam(rest, betas=(0.9, 0.98))]
