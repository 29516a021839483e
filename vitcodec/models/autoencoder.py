"""The autoencoder that every family shares: colour transform, wavelet, correction, gains; and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .. import wavelet
from ..options import QUALITIES
from ..quality import step_of, step_position
from ..subbands import CHANNELS, LEVELS, Subbands
from .erasure import fill

KNOTS = 5  # step positions between which the gains are interpolated


class Autoencoder(nn.Module):
    """Image batch <-> latents in quantisation steps.

    analysis, synthesis: a family's corrections, (Subbands, step position (B,)) -> Subbands (see models.Family), or None
    for the plain wavelet.
    """

    steps: Tensor  # (100,), 8-bit levels
    family: str = ""  # and the settings of its config, where `build_autoencoder` made it
    settings: dict[str, Any]

    # Large pictures are transformed in parts. All in pixels; these are the values of the plain wavelet
    tile = 1024  # side of a part, a multiple of the grid
    grid = 32  # where a part may begin so that it comes out as in the whole: multiples of an attention window's side
    halo = 128  # surroundings that a part is transformed with, a multiple of the grid

    def __init__(self, analysis: nn.Module | None = None, synthesis: nn.Module | None = None):
        super().__init__()
        self.analysis, self.synthesis = analysis, synthesis
        parts: list[Any] = [part for part in (analysis, synthesis) if part is not None]
        if parts:
            self.grid = math.lcm(*(part.grid for part in parts))
            # the wavelet needs some at least; and where no halo is enough, some surroundings are better than none
            halos = [Autoencoder.halo, *(self.grid if part.halo is None else part.halo for part in parts)]
            self.halo = max(-(-halo // self.grid) * self.grid for halo in halos)
            self.tile = Autoencoder.tile // self.grid * self.grid
        # the step of each quality; a model file holds its own, so that a later change of the scale leaves old files
        # readable
        self.register_buffer("steps", torch.tensor([step_of(q) for q in QUALITIES]), persistent=False)
        bands = 3 + 9 * LEVELS  # the low band's three colours, then nine details a level, finest first
        self.gain = nn.Parameter(torch.zeros(KNOTS, bands))  # log of the encoder's factor
        self.inverse_gain = nn.Parameter(torch.zeros(KNOTS, bands))  # log of the decoder's factor over exp(-gain)

    @staticmethod
    def _scale(bands: Subbands, logs: Tensor, position: Tensor) -> Subbands:
        """Multiply each band by its factor, log-linear in the step position. logs: (KNOTS, 39)."""
        knot = position * (KNOTS - 1)
        i = knot.floor().clamp(0, KNOTS - 2).long()
        f = (knot - i)[:, None]
        factors = torch.exp(logs[i] * (1 - f) + logs[i + 1] * f)[:, None, None]
        low, *details = factors.split((3, *([9] * LEVELS)), -1)
        own = Subbands(low, tuple(details[bands.finest - 1 :]), bands.finest)
        return bands.combine(torch.mul, own)

    @property
    def supports_erasure(self) -> bool:
        """Whether the networks were made for erased tokens; in any other model these are interpolated."""
        return bool(getattr(self.synthesis, "supports_erasure", False))

    def encode(self, image: Tensor, step: Tensor, erased: Tensor | None = None) -> Subbands:
        """image (B, H, W, 3) in 0..255, sides multiples of 32; step (B,) in 8-bit levels -> latents, not yet rounded.

        erased: (B, H/16, W/16) bool, tokens that will not be coded; models without `supports_erasure` ignore it.
        """
        position = step_position(step)
        s = step.view(-1, 1, 1, 1)
        bands = wavelet.forward(image).map(lambda t: t / s)
        if self.analysis is not None:
            bands = (
                self.analysis(bands, position, erased)
                if self.supports_erasure and erased is not None
                else self.analysis(bands, position)
            )
        return self._scale(bands, self.gain, position)

    def decode(self, latents: Subbands, step: Tensor, erased: Tensor | None = None) -> Tensor:
        """Latents (rounded), step (B,) in 8-bit levels -> image (B, H, W, 3), not yet clamped to 0..255.

        erased: (B, H/16, W/16) bool, tokens to fill in; the values that the latents hold there do not matter.
        """
        s = step.view(-1, 1, 1, 1)
        return wavelet.inverse(self.restore(latents, step, erased).map(lambda t: t * s))

    def restore(self, latents: Subbands, step: Tensor, erased: Tensor | None = None) -> Subbands:
        """Latents -> corrected wavelet coefficients in steps: `decode` before the inverse wavelet."""
        return self.correct(self.dequantise(latents, step), step, erased)

    def dequantise(self, latents: Subbands, step: Tensor) -> Subbands:
        """Latents -> wavelet coefficients in steps, not yet corrected. Fine levels may be absent."""
        return self._scale(latents, self.inverse_gain - self.gain, step_position(step))

    def correct(self, bands: Subbands, step: Tensor, erased: Tensor | None = None) -> Subbands:
        """Coefficients in steps -> corrected ones."""
        if erased is not None:
            bands = fill(bands, erased)
        if self.synthesis is None:
            return bands
        position = step_position(step)
        return (
            self.synthesis(bands, position, erased)
            if self.supports_erasure and erased is not None
            else self.synthesis(bands, position)
        )

    def encoder_gains(self, step: Tensor) -> Tensor:
        """The encoder's factor of each band, (B, 5, 9), at steps (B,) in 8-bit levels.

        Row 0 is the low band, whose three factors are repeated three times.
        """
        return self._factors(self.gain, step)

    def error_gains(self, step: Tensor) -> Tensor:
        """The decoder's factor of each band, as encoder_gains."""
        return self._factors(self.inverse_gain - self.gain, step)

    def _factors(self, logs: Tensor, step: Tensor) -> Tensor:
        ones = (torch.ones(len(step), 1, 1, CHANNELS[level], device=step.device) for level in range(LEVELS + 1))
        low, *details = self._scale(Subbands(next(ones), tuple(ones)), logs, step_position(step))
        return torch.stack([low.repeat(1, 1, 1, 3)[:, 0, 0], *(d[:, 0, 0] for d in details)], 1)


def parameter_count(module: nn.Module) -> int:
    return sum(math.prod(p.shape) for p in module.parameters())
