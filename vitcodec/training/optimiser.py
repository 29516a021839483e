"""The optimiser of training: Muon for matrices, Adam for everything else."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = 3.4445, -4.775, 2.0315  # of x, x^3 and x^5, by K. Jordan
NEWTON_SCHULZ_STEPS = 5
SMALLEST_SIDE = 6  # of the matrices that Muon trains
MOMENTUM = 0.95  # how much stays of Muon's mean of gradients at each step
BETAS, EPSILON = (0.9, 0.98), 1e-8  # Adam's
LARGEST_GRADIENT = 1.0  # norm over all parameters, to which gradients are clipped


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


class Optimiser:
    """Muon for matrices, Adam for vectors, small tables and convolutions, with everything on the device.

    A step reads no number from the device, so that a CUDA graph can hold it. Muon is momentum, orthogonalised by
    Newton-Schulz steps; its learning rate is multiplied by 0.2 sqrt(longer side), so that updates are about as large as
    Adam's.

    parameters: by their names; those without `requires_grad` are left alone. rate: the learning rate, a tensor of one
    number, which may change between steps. factors: of the rate, by beginnings of names. half: orthogonalise in
    bfloat16; on CPUs without instructions for it a step then takes 10 s and not 0.3 s.
    Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        rate: Tensor,
        half: bool = False,
        factors: Mapping[str, float] | None = None,
    ):
        self.rate, self.half = rate, half
        self.names = {name: p for name, p in parameters if p.requires_grad}
        self.parameters = list(self.names.values())
        self.matrices: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        self.rest: list[nn.Parameter] = []
        for p in self.parameters:
            (self.matrices[p.shape] if p.ndim == 2 and min(p.shape) >= SMALLEST_SIDE else self.rest).append(p)
        self.momentum = {shape: torch.zeros(len(ps), *shape, device=rate.device) for shape, ps in self.matrices.items()}
        # of all in one row: a few operators, however many parameters there are
        self.sizes = [p.numel() for p in self.rest]
        self.first, self.second = (torch.zeros(sum(self.sizes), device=rate.device) for _ in range(2))
        self.count = torch.zeros((), device=rate.device)
        # for every number of the row, and for every matrix of a shape
        own = {id(p): _factor(name, factors or {}) for name, p in self.names.items()}
        each = [torch.full((size,), own[id(p)]) for size, p in zip(self.sizes, self.rest, strict=True)]
        self.rest_factors = torch.cat(each or [torch.zeros(0)]).to(rate.device)
        self.matrix_factors = {
            shape: torch.tensor([own[id(p)] for p in ps], device=rate.device)[:, None, None]
            for shape, ps in self.matrices.items()
        }

    def zero(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    def gradients(self) -> list[Tensor]:
        """Of every parameter; zeros where a loss did not reach one."""
        found = []
        for p in self.parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            found.append(p.grad)
        return found

    @torch.no_grad()
    def step(self) -> None:
        """One step down, with gradients clipped to a norm of LARGEST_GRADIENT; none where they are not finite."""
        gradients = self.gradients()
        if not gradients:
            return
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        finite = norm.isfinite()
        torch._foreach_mul_(gradients, (LARGEST_GRADIENT / (norm + 1e-6)).clamp_max(1))
        rate = torch.where(finite, self.rate, 0)
        for shape, parameters in self.matrices.items():
            gradient = _finite(torch.stack([p.grad for p in parameters if p.grad is not None]), finite)
            momentum = self.momentum[shape]
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonalise(torch.lerp(gradient, momentum, MOMENTUM), self.half)
            torch._foreach_add_(
                parameters, list((update * (rate * (-0.2 * max(shape) ** 0.5) * self.matrix_factors[shape])).unbind())
            )
        if not self.rest:
            return
        gradient = _finite(torch.cat([p.grad.flatten() for p in self.rest if p.grad is not None]), finite)
        self.count += 1
        self.first.lerp_(gradient, 1 - BETAS[0])
        self.second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        scale = (self.second / (1 - BETAS[1] ** self.count)).sqrt() + EPSILON
        update = self.first / scale * (-rate / (1 - BETAS[0] ** self.count)) * self.rest_factors
        torch._foreach_add_(self.rest, self._parts(update))

    def _parts(self, row: Tensor) -> list[Tensor]:
        """One row of numbers -> those of each parameter that Adam trains."""
        return [part.view(p.shape) for part, p in zip(row.split(self.sizes), self.rest, strict=True)]

    def state(self) -> dict[str, Tensor]:
        """What the optimiser keeps: NAME/momentum, or NAME/first and NAME/second; and `count`, of steps."""
        of = {id(p): name for name, p in self.names.items()}
        found = {"count": self.count}
        for shape, parameters in self.matrices.items():
            found |= {f"{of[id(p)]}/momentum": m for p, m in zip(parameters, self.momentum[shape], strict=True)}
        for p, first, second in zip(self.rest, self._parts(self.first), self._parts(self.second), strict=True):
            found |= {f"{of[id(p)]}/first": first, f"{of[id(p)]}/second": second}
        return found

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what an optimiser kept; parameters that it did not have start anew."""
        for name, own in self.state().items():
            if name in state:
                own.copy_(state[name])


def _factor(name: str, factors: Mapping[str, float]) -> float:
    """The product of the factors of all beginnings of a name."""
    return math.prod(factor for start, factor in factors.items() if name.startswith(start))


def _finite(gradient: Tensor, finite: Tensor) -> Tensor:
    """A gradient; zeros where that of the whole step is not finite."""
    return torch.where(finite, gradient, 0)
