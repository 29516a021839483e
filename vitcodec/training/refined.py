"""The integers that the encoder writes at its default effort, as samples for the decoder and the entropy model.

The encoder's search (effort.py) chooses others than rounding would. Trained on what was chosen, the decoder and the entropy model know what they
get, and the next search starts from there. The encoder's networks stay: trained to propose what was chosen, they lead the next search further
towards zero, and the cost that the search lowers hides it, as points slide along the curve (docs/training.md). (Kin to expert iteration: T. Anthony,
Z. Tian, D. Barber, "Thinking fast and slow with deep learning and tree search", NeurIPS 2017.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from ..context.coding import EntropyModel
from ..models.autoencoder import Autoencoder
from ..quality import step_of
from ..rdo import DEFAULT_EFFORT, ROUNDS, RDOSearch, rounded
from ..wavelet import Subbands
from .data import Crops

DEAD_ZONE = 0.0  # of the proposals: networks that learned from the search need none (docs/training.md)
KEPT = 400  # samples that are drawn again, 0.6 MB each with crops of 256 pixels
TOGETHER = 2  # crops that are coded at once, at one quality: a third cheaper than one by one
EVERY = 2  # batches: in the others all is drawn again, as coding a crop takes as long as training on three


class Sample(NamedTuple):
    """A crop (H, W, 3) uint8, its quality and its integers, int16, a batch of one."""

    image: Tensor
    quality: int
    integers: Subbands


class Refined:
    """Codes crops with a model's transforms and its integer entropy model, and draws those that were coded before again.

    half: matrix products in bfloat16, where the processor has them; integers up to 256 are exact in it.
    """

    def __init__(
        self, autoencoder: Autoencoder, entropy: EntropyModel, dead_zone: float, tune: str, half: bool = False
    ):
        self.autoencoder, self.entropy = autoencoder.requires_grad_(False), entropy
        self.dead_zone, self.tune, self.half = dead_zone, tune, half
        self.pools: list[deque[Sample]] = []
        self.turn = 0

    def batch(self, crops: Crops, size: int, strata: Tensor) -> tuple[Tensor, Subbands, Tensor]:
        """Images (B, size, size, 3), their integers as float32 and their steps (B,). strata (B,): where each lies, 0..1 from fine to coarse.

        In every other batch two crops are coded, for each stratum of qualities in turn; the others are drawn from those that were coded for their
        strata before.
        """
        count = len(strata)
        if len(self.pools) != count:
            self.pools = [deque(maxlen=max(1, KEPT // count)) for _ in range(count)]
        samples = []
        for k, (pool, position) in enumerate(zip(self.pools, strata.tolist(), strict=True)):
            coded = not pool or (self.turn % EVERY == 0 and k == self.turn // EVERY % count)
            if coded:
                image = crops.batch(TOGETHER, size)
                quality = min(max(1, round(100 - 99 * position)), 100)
                chosen = self.choose(image, quality).map(Tensor.short)
                single = zip(*(t.split(1) for t in (chosen.low, *chosen.details)), strict=True)
                pool.extend(
                    Sample(x, quality, Subbands(low, tuple(details)))
                    for x, (low, *details) in zip(image.byte(), single, strict=True)
                )
            samples.append(pool[-1] if coded else pool[int(torch.randint(len(pool), ()))])
        self.turn += 1
        images = torch.stack([s.image for s in samples]).float()
        low, *details = (
            torch.cat(t).float() for t in zip(*((s.integers.low, *s.integers.details) for s in samples), strict=True)
        )
        return (
            images,
            Subbands(low, tuple(details)),
            torch.tensor([step_of(s.quality) for s in samples], device=images.device),
        )

    def choose(self, image: Tensor, quality: int) -> Subbands:
        """Images (B, H, W, 3) in 0..255 -> their integers of the default effort, int32."""
        with _half_products(self.half):
            with torch.no_grad():
                plain = rounded(
                    self.autoencoder.encode(image, self.autoencoder.steps[quality - 1 : quality]), self.dead_zone
                )
            return RDOSearch(self.autoencoder, self.entropy, quality, tune=self.tune)(
                image, plain, ROUNDS[DEFAULT_EFFORT]
            )

    def follow(self, autoencoder: dict[str, Tensor]) -> None:
        """Take over the weights of transforms as trained so far."""
        self.autoencoder.load_state_dict(autoencoder)


@contextmanager
def _half_products(half: bool) -> Iterator[None]:
    backend = getattr(torch.backends.mkldnn, "matmul", None)  # torch 2.9 and later
    if not half or backend is None:
        yield
        return
    before, backend.fp32_precision = backend.fp32_precision, "bf16"
    try:
        yield
    finally:
        backend.fp32_precision = before
