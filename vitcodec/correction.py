"""Closed-loop correction: tokens that the decoder would make the wrong picture of are mended by what it makes of them.

The networks learned from photographs. On patterns as dense as no photograph has, above all in saturated colours, the
synthesis is off by many times what quantisation explains. There the coefficients of the error itself, rounded, are
added to the tokens; one round leaves about what quantisation explains. Photographs are left as they are, as none is so
dense, and take no time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import wavelet
from .models.autoencoder import Autoencoder
from .subbands import Subbands
from .tiles import SITE

# Of a site, in 8-bit levels: the mean magnitude of its finest details. Kodak reaches 14 at any quality, and every
# pattern that came back wrong had 15
DENSE = 14.5
# Of a site: the squared error over that of rounding alone, step^2 / 12
WRONG = 1.0


@torch.no_grad()
def correct(autoencoder: Autoencoder, image: Tensor, tokens: Subbands, step: Tensor) -> Subbands:
    """image (1, 16 h, 16 w, 3) in 0..255, float, and its tokens, int32, of h x w sites -> tokens, int32.

    step: (1,), in 8-bit levels.
    """
    dense = _per_site(tokens[1].float().abs(), SITE // 2) * step >= DENSE
    if not dense.any():
        return tokens
    error = image - autoencoder.decode(tokens.map(Tensor.float), step)
    wrong = dense & (_per_site(error.square(), SITE) > WRONG * step**2 / 12)
    if not wrong.any():
        return tokens
    mended = F.max_pool2d(wrong.float(), 3, 1, 1)  # what a site shows depends on its neighbours
    gains = autoencoder.error_gains(step)[0]
    missing = wavelet.forward(error + 128)
    corrected = [
        band + (torch.round(own / (step * gains[level, : own.shape[-1]])) * _expanded(mended, band)).int()
        for level, (band, own) in enumerate(tokens.zip(missing))
    ]
    return Subbands(corrected[0], tuple(corrected[1:]))


def _per_site(values: Tensor, side: int) -> Tensor:
    """(1, side h, side w, C) -> the mean of all values of each site, (1, 1, h, w)."""
    return F.avg_pool2d(values.mean(-1)[:, None], side)


def _expanded(sites: Tensor, band: Tensor) -> Tensor:
    """A map of sites (1, 1, h, w) at the size of a band, (1, H, W, 1)."""
    return F.interpolate(sites, band.shape[1:3], mode="nearest")[:, 0, ..., None]
