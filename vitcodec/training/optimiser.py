"""The optimisers of training: Muon for matrices, Adam for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = 3.4445, -4.775, 2.0315  # of x, x^3 and x^5, by K. Jordan
NEWTON_SCHULZ_STEPS = 5
SMALLEST_SIDE = 6  # of the matrices that Muon trains


def orthogonalise(x: Tensor, half: bool = False) -> Tensor:
    """(N, r, c) float32 -> about the nearest matrices with all singular values one, by Newton-Schulz steps.

    half: in bfloat16. In float32 the steps run on the Gram matrix, whose side is the smaller one of x: a third less
    work than on x. In bfloat16 that would lose the small singular values, so there they run on x.
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
    """Momentum, orthogonalised by Newton-Schulz steps, for parameters that are matrices.

    lr is multiplied by 0.2 sqrt(longer side), so that updates are about as large as Adam's. half: orthogonalise in
    bfloat16, as torch.optim.Muon does; on CPUs without instructions for it a step then takes 10 s and not 0.3 s.
    Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
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
    """Muon (half: in bfloat16) for matrices with a gradient, Adam for vectors, small tables and convolutions."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim == 2 and min(p.shape) >= SMALLEST_SIDE]
    ids = {id(p) for p in matrices}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in ids]
    return [Muon(matrices, half=half), torch.optim.Adam(rest, betas=(0.9, 0.98))]
