"""What an error at each place of a picture costs in a distortion other than the squared error, for the search.

The search minimises a squared error, weighted by pixel. Where the eye sees errors, as in smooth areas, they weigh
more; where texture hides them, less. The weights come from one gradient of the distortion, at the rounded tokens. On
six pictures at the default effort they save 4 % of the bits at equal SSIMULACRA2 over a search that knows the squared
error alone; the gradient in every round saves nothing.
"""

from __future__ import annotations

import numpy as np
import torch

from .analysis import COLOUR
from .distortion import Distortion
from .quality import LAGRANGIAN, step_of
from .search import pixel_error
from .search.measures import Target, Weights
from .subbands import Subbands
from .tiles import SITE

LEAST, MOST = 0.1, 10.0  # of the weights
_TINY = 1e-9


class Importance:
    """Weights of pixels for a distortion: what search.rounds.Search asks for."""

    def __init__(self, distortion: Distortion):
        self.distortion = distortion

    def __call__(self, target: Target, errors: Subbands, weights: Weights) -> np.ndarray:
        """What the squared error of each pixel costs, as a multiple of Weights.error: (16 h, 16 w) float32.

        errors: of the coefficients, in steps. Were the distortion a squared error with a weight w at each place, its
        gradient g at an error e would be 2 w e: of each site, and its neighbours, w is <g, e> / 2 <e, e>.
        """
        step = step_of(target.quality)
        original, error = (pixel_error.in_pixels(bands).transpose(1, 2, 0) for bands in (target.original, errors))
        image, decoded = (torch.from_numpy((x @ COLOUR) * np.float32(step))[None] for x in (original, original + error))
        with torch.enable_grad():
            decoded.requires_grad_()
            weight = weights.error / LAGRANGIAN
            bits = self.distortion.bits_per_pixel(image + 128, decoded + 128, torch.tensor([step])).sum()
            (gradient,) = torch.autograd.grad(bits * (weight * decoded[..., 0].numel()), decoded)
        away = decoded.detach() - image
        along, squares = (_near(x.sum(-1)[0].numpy()) for x in (gradient * away, away.square()))
        found = along / (2 * squares + _TINY) / (weights.error / step**2)
        return found.clip(LEAST, MOST).astype(np.float32).repeat(SITE, 0).repeat(SITE, 1)


def _near(pixels: np.ndarray) -> np.ndarray:
    """(16 h, 16 w) -> sums over each site and its neighbours, which count half, and a quarter at corners: (h, w)."""
    H, W = pixels.shape
    sums = pixels.reshape(H // SITE, SITE, W // SITE, SITE).sum((1, 3), dtype=np.float64)
    padded = np.pad(sums, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    result: np.ndarray = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    return result
