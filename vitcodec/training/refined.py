"""The integers that the encoder writes at its default effort, as a source of training samples for what comes after it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..codec import Codec
from ..effort import DEFAULT_EFFORT, ROUNDS, Refiner, rounded
from ..quantisation import step_of
from ..wavelet import Subbands


class Refined:
    """Codes crops with a fixed model, at qualities of its own choice."""

    def __init__(self, codec: Codec, dead_zone: float, tune: str):
        self.autoencoder, self.entropy = codec.autoencoder.requires_grad_(False), codec.entropy
        self.dead_zone, self.tune = dead_zone, tune

    def __call__(self, image: Tensor, position: Tensor) -> tuple[Subbands, Tensor]:
        """image (B, H, W, 3) in 0..255; position (B,) in 0..1, fine to coarse -> integers as float32, and the steps (B,)."""
        qualities = (100 - position * 100).ceil().clamp(1, 100).int().tolist()
        step = torch.tensor([step_of(quality) for quality in qualities])
        parts = [self._chosen(x[None], quality) for x, quality in zip(image, qualities, strict=True)]
        return Subbands(torch.cat([p.low for p in parts]), tuple(torch.cat(d) for d in zip(*(p.details for p in parts), strict=True))), step

    def _chosen(self, image: Tensor, quality: int) -> Subbands:
        with torch.no_grad():
            plain = rounded(self.autoencoder.encode(image, self.autoencoder.steps[quality - 1 : quality]), self.dead_zone)
        return Refiner(self.autoencoder, self.entropy, quality, tune=self.tune)(image, plain, ROUNDS[DEFAULT_EFFORT]).map(Tensor.float)
