"""What the training scripts of this folder share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import torch
from torch import Tensor, nn


def until(text: str) -> datetime:
    """The next '18:05', or '90m' from now."""
    if text.endswith("m"):
        return datetime.now() + timedelta(minutes=float(text[:-1]))
    hour, minute = map(int, text.split(":"))
    moment = datetime.now().replace(hour=hour, minute=minute, second=0)
    return moment if moment > datetime.now() else moment + timedelta(days=1)


def descend(loss: Tensor, optimisers: Iterable[torch.optim.Optimizer], trained: list[nn.Parameter]) -> None:
    """One step down, with gradients clipped to a norm of 1."""
    optimisers = list(optimisers)
    for optimiser in optimisers:
        optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(trained, 1.0)
    for optimiser in optimisers:
        optimiser.step()
