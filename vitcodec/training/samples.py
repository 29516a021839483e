"""What a step trains on: crops, steps and, in the phase of refined tokens, the tokens that the search chose.

The search (batched_search.py) chooses other tokens than rounding does. Decoder and context model that are trained on
its choice know what they get, and the next search starts from there. The encoder stays as it is: trained to propose
what was chosen, it would lead each next search further towards zero, and the cost that the search lowers hides that,
as points slide along the curve (dev/LOG.md, run 15). (Kin to expert iteration: T. Anthony, Z. Tian, D. Barber,
"Thinking fast and slow with deep learning and tree search", NeurIPS 2017.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..quality import COARSEST, FINEST, round_tokens
from ..subbands import Subbands
from .batched_search import BatchedSearch
from .data import Crops
from .model import TrainingModel

# images (B, H, W, 3) in 0..255, steps (B,) in 8-bit levels -> their tokens, whole numbers in float32
Choose = Callable[[Tensor, Tensor], Subbands]


class Samples(NamedTuple):
    """A batch."""

    image: Tensor  # (B, S, S, 3), float32 in 0..255
    step: Tensor  # (B,), 8-bit levels
    tokens: Subbands | None = None  # whole numbers in float32; None: those that the analysis makes

    def chosen(self, places: Tensor) -> Samples:
        """Some of them."""
        tokens = None if self.tokens is None else self.tokens.map(lambda t: t[places])
        return Samples(self.image[places], self.step[places], tokens)

    def on(self, device: torch.device | str) -> Samples:
        """On a device, as floats."""
        tokens = None if self.tokens is None else self.tokens.map(lambda t: t.to(device).float())
        return Samples(self.image.to(device).float(), self.step.to(device), tokens)


class Fresh:
    """New crops in every batch.

    A stratum of the logarithmic range of quantisation steps for each sample, so that every batch has fine and coarse
    ones: the first sample has the finest.
    """

    def __init__(self, crops: Crops, count: int, size: int):
        self.crops, self.count, self.size = crops, count, size

    def __call__(self) -> Samples:
        strata = (torch.arange(self.count, device=self.crops.device) + self.crops.random(self.count)) / self.count
        return Samples(self.crops.batch(self.count, self.size), FINEST * (COARSEST / FINEST) ** strata)


class Searched:
    """Crops with searched tokens, which stay on the device to be drawn again; new ones take the place of the oldest.

    fresh: the crops. choose: their tokens. size: how many are kept, about. `search` adds a batch; a call draws one,
    without waiting for the device.
    """

    def __init__(self, fresh: Fresh, choose: Choose, size: int):
        self.fresh, self.choose = fresh, choose
        self.batches = max(1, size // fresh.count)
        self.searched, self.seconds = 0, 0.0  # batches, and the time they took
        self.kept: list[Tensor] = []  # images, steps and bands, (batches, B, ...)
        self.filled = torch.zeros((), device=fresh.crops.device)

    def search(self) -> None:
        """Add a batch of new crops."""
        start = time.monotonic()
        image, step, _ = self.fresh()
        tokens = self.choose(image, step)
        new = [image.byte(), step, *tokens.map(Tensor.short)]
        if not self.kept:
            self.kept = [torch.empty((self.batches, *t.shape), dtype=t.dtype, device=t.device) for t in new]
        for kept, own in zip(self.kept, new, strict=True):
            kept[self.searched % self.batches] = own
        self.searched += 1
        self.filled.fill_(min(self.searched, self.batches))
        if image.device.type == "cuda":
            torch.cuda.synchronize(image.device)
        self.seconds += time.monotonic() - start

    def __call__(self) -> Samples:
        """Each sample from any of the batches, at its own place: the places of a batch are strata of the steps."""
        place = torch.arange(self.fresh.count, device=self.filled.device)
        batch = torch.minimum((self.fresh.crops.random(len(place)) * self.filled).long(), self.filled.long() - 1)
        image, step, low, *details = (t[batch, place] for t in self.kept)
        return Samples(image.float(), step, Subbands(low.float(), tuple(d.float() for d in details)))


def searched_tokens(model: TrainingModel, dead_zone: float) -> Choose:
    """The search with a model as it is at each call; it starts from rounding with a dead zone."""

    def choose(image: Tensor, step: Tensor) -> Subbands:
        trained = [p for p in model.parameters() if p.requires_grad]
        for p in trained:  # or the search would keep what their gradients need
            p.requires_grad_(False)
        try:
            with torch.no_grad():
                tokens = round_tokens(model.autoencoder.encode(image, step), dead_zone).map(Tensor.float)
            return BatchedSearch(model)(image, step, tokens)
        finally:
            for p in trained:
                p.requires_grad_(True)

    return choose
