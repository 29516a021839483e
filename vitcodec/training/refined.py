"""Refined tokens: samples with the tokens that the encoder's RDO search chooses, for decoder and context model.

The search chooses other tokens than rounding does. Decoder and context model that are trained on its choice
know what they get, and the next search starts from there. The encoder's networks stay fixed: trained to propose what
was chosen, they would lead each next search further towards zero, and the cost that the search lowers hides that, as
points slide along the curve (docs/training.md). (Kin to expert iteration: T. Anthony, Z. Tian, D. Barber, "Thinking
fast and slow with deep learning and tree search", NeurIPS 2017.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..codec import Codec
from ..images import Picture
from ..quality import step_of
from ..subbands import Subbands
from .data import Crops

DEAD_ZONE = 0.0  # of the rounding before the search: networks that learned from the search need none (docs/training.md)
POOL = 400  # samples that are kept to be drawn again, 0.6 MB each with crops of 256 pixels
SEARCHED = 2  # crops that are searched at once, at one quality: a third cheaper than one by one
INTERVAL = 2  # batches: one of so many has new samples, as a search takes as long as training on three crops


class Sample(NamedTuple):
    """A crop with the tokens that the search chose for it."""

    image: Tensor  # (H, W, 3) uint8
    quality: int
    tokens: Subbands  # int16, a batch of one


class Search(Protocol):
    """Chooses tokens."""

    def __call__(self, images: Tensor, quality: int) -> Subbands:
        """Images (B, H, W, 3) in 0..255 -> their tokens at the default effort, int32."""
        ...

    def update(self, autoencoder: Mapping[str, Tensor]) -> None:
        """Go on with other weights of the transforms."""
        ...


class EncodedTokens:
    """What a codec writes. Its model stays the one that a run starts from."""

    def __init__(self, codec: Codec):
        self.codec = codec

    def __call__(self, images: Tensor, quality: int) -> Subbands:
        """As Search."""
        pictures = (Picture(image) for image in images.round().byte().cpu().numpy())
        found = [self.codec.encoded_tokens(picture, quality=quality, coding="tokens") for picture in pictures]
        first, *rest = (tokens.map(lambda t: torch.from_numpy(t).to(images.device)) for tokens in found)
        return first.combine(lambda *parts: torch.cat(parts), *rest)

    def update(self, autoencoder: Mapping[str, Tensor]) -> None:
        """As Search."""


class RefinedTokens:
    """Searches the tokens of crops at the default effort and keeps them to be drawn again."""

    def __init__(self, search: Search):
        self.search = search
        self.pools: list[deque[Sample]] = []  # one for each stratum
        self.batches = 0

    @classmethod
    def of(cls, init: str, device: torch.device) -> RefinedTokens:
        """Tokens that a model chooses, as Codec.load takes it. Raises WeightsError."""
        return cls(EncodedTokens(Codec.load(init, "cpu" if device.type == "cpu" else str(device))))

    def batch(self, crops: Crops, size: int, strata: Tensor) -> tuple[Tensor, Subbands, Tensor]:
        """Images (B, size, size, 3), their tokens in float32 and their steps (B,).

        strata (B,): the quality of each image, 0 the finest to 1 the coarsest step. In every other batch one image is
        new, of each stratum in turn; all others are drawn from those that were searched for their stratum before.
        """
        count = len(strata)
        if len(self.pools) != count:
            self.pools = [deque(maxlen=max(1, POOL // count)) for _ in range(count)]
        samples = []
        for k, (pool, position) in enumerate(zip(self.pools, strata.tolist(), strict=True)):
            new = not pool or (self.batches % INTERVAL == 0 and k == self.batches // INTERVAL % count)
            if new:
                images = crops.batch(SEARCHED, size)
                quality = min(max(1, round(100 - 99 * position)), 100)
                tokens = self.search(images, quality).map(Tensor.short)
                pool.extend(Sample(x, quality, own) for x, own in zip(images.byte(), tokens.split_batch(), strict=True))
            samples.append(pool[-1] if new else pool[int(torch.randint(len(pool), ()))])
        self.batches += 1
        images = torch.stack([s.image for s in samples]).float()
        first, *rest = (s.tokens for s in samples)
        tokens = first.combine(lambda *parts: torch.cat(parts).float(), *rest)
        return images, tokens, torch.tensor([step_of(s.quality) for s in samples], device=images.device)

    def update(self, autoencoder: Mapping[str, Tensor]) -> None:
        """Go on with other weights of the transforms."""
        self.search.update(autoencoder)
