"""The autoencoder that every family shares: colour transform, wavelet, correction, gains; and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .. import wavelet
from ..quality import QUALITIES, step_of, step_position
from ..wavelet import Subbands
from .erasure import fill

KNOTS = 5  # rate positions between which the gains are interpolated


class Autoencoder(nn.Module):
    """Image batch <-> latents in units of the quantisation step.

    analysis, synthesis: a family's corrections, (Subbands, rate (B,)) -> Subbands, or None for the plain wavelet.
    """

    steps: Tensor  # (100,), 8-bit levels
    family: str = ""  # and the settings of its config, where `build_autoencoder` made it
    settings: dict[str, Any]

    # large pictures are transformed in parts; all in pixels; what holds without corrections
    tile = 1024  # side of what is transformed at once, a multiple of the grid
    grid = (
        32  # where a part may begin so that it computes what the whole would: multiples of an attention window's side
    )
    halo = 128  # surroundings that a part has to see, a multiple of the grid

    def __init__(self, analysis: nn.Module | None = None, synthesis: nn.Module | None = None):
        super().__init__()
        self.analysis, self.synthesis = analysis, synthesis
        parts: list[Any] = [part for part in (analysis, synthesis) if part is not None]
        if parts:
            self.grid = math.lcm(*(part.grid for part in parts))
            # at least what the wavelet needs; and without a halo that is enough, some surroundings are better than none
            halos = [Autoencoder.halo, *(self.grid if part.halo is None else part.halo for part in parts)]
            self.halo = max(-(-halo // self.grid) * self.grid for halo in halos)
            self.tile = Autoencoder.tile // self.grid * self.grid
        # the step of each quality; a model file holds its own, so that a later change of the scale leaves old files readable
        self.register_buffer("steps", torch.tensor([step_of(q) for q in QUALITIES]), persistent=False)
        bands = 3 + 9 * wavelet.LEVELS  # the low band's three colours, then nine details a level, finest first
        self.gain = nn.Parameter(torch.zeros(KNOTS, bands))  # log of what the encoder multiplies with
        self.inverse_gain = nn.Parameter(torch.zeros(KNOTS, bands))  # log of the decoder's departure from the inverse

    @staticmethod
    def _scale(bands: Subbands, logs: Tensor, rate: Tensor) -> Subbands:
        """Multiply each band by its factor, log-linear in the rate position."""
        position = rate * (KNOTS - 1)
        i = position.floor().clamp(0, KNOTS - 2).long()
        f = (position - i)[:, None]
        factors = torch.exp(logs[i] * (1 - f) + logs[i + 1] * f)[:, None, None]
        low, *details = factors.split((3, *([9] * wavelet.LEVELS)), -1)
        own = details[bands.finest - 1 :]
        return Subbands(bands.low * low, tuple(d * g for d, g in zip(bands.details, own, strict=True)), bands.finest)

    @property
    def supports_erasure(self) -> bool:
        """Whether the model was made to do without some of the tokens; any other has what is erased interpolated."""
        return bool(getattr(self.synthesis, "supports_erasure", False))

    def encode(self, image: Tensor, step: Tensor, erased: Tensor | None = None) -> Subbands:
        """image (B, H, W, 3) in 0..255, sides multiples of 32; step (B,) in 8-bit levels -> latents before rounding.

        erased: (B, H/16, W/16) bool, tokens that the decoder will not get, for models that can know of that.
        """
        rate = step_position(step)
        s = step.view(-1, 1, 1, 1)
        bands = wavelet.forward(image).map(lambda t: t / s)
        if self.analysis is not None:
            bands = (
                self.analysis(bands, rate, erased)
                if self.supports_erasure and erased is not None
                else self.analysis(bands, rate)
            )
        return self._scale(bands, self.gain, rate)

    def decode(self, latents: Subbands, step: Tensor, erased: Tensor | None = None) -> Tensor:
        """Latents (rounded) -> image (B, H, W, 3), not yet clamped to 0..255.

        erased: (B, H/16, W/16) bool, tokens that are not there and are to be filled in; whatever the latents hold there is not looked at.
        """
        s = step.view(-1, 1, 1, 1)
        return wavelet.inverse(self.restore(latents, step, erased).map(lambda t: t * s))

    def restore(self, latents: Subbands, step: Tensor, erased: Tensor | None = None) -> Subbands:
        """Latents -> wavelet coefficients in units of the step, as `decode` does it."""
        rate = step_position(step)
        bands = self._scale(latents, self.inverse_gain - self.gain, rate)
        if erased is not None:
            bands = fill(bands, erased)
        if self.synthesis is None:
            return bands
        return (
            self.synthesis(bands, rate, erased)
            if self.supports_erasure and erased is not None
            else self.synthesis(bands, rate)
        )

    def error_gains(self, step: Tensor) -> Tensor:
        """(B, 5, 9): what the decoder multiplies each band's latents with, row 0 the low band (three colours, repeated), in units of the step."""
        ones = Subbands(
            torch.ones(len(step), 1, 1, 3), tuple(torch.ones(len(step), 1, 1, 9) for _ in range(wavelet.LEVELS))
        )
        low, *details = self._scale(
            ones.map(lambda t: t.to(step.device)), self.inverse_gain - self.gain, step_position(step)
        )
        return torch.stack([low.repeat(1, 1, 1, 3)[:, 0, 0], *(d[:, 0, 0] for d in details)], 1)

    def decode_reduced(self, latents: Subbands, step: Tensor, reduce: int, erased: Tensor | None = None) -> Tensor:
        """The image at 1/2^reduce of its size, reduce = 1..4, from the coarser levels alone: by the wavelet, without the correction."""
        s = step.view(-1, 1, 1, 1)
        bands = self._scale(latents, self.inverse_gain - self.gain, step_position(step))
        if erased is not None:
            bands = fill(bands, erased)
        return wavelet.inverse(bands.map(lambda t: t * s), reduce)


def parameter_count(module: nn.Module) -> int:
    return sum(math.prod(p.shape) for p in module.parameters())
