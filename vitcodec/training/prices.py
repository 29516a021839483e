"""What the distortion of a crop costs in its own bits, by the rate-distortion curve of the model that a run starts
from.

At one quantisation step, a unit of distortion costs few bits in a smooth crop and many in a textured one. With one
price for all, a model moves bits to where they buy most: to other crops, not to what BD-rates of single pictures
measure. With the slope of the crop's own curve as its price, (R + price * D) / R0 changes by what the crop's BD-rate
changes by, and is the same, to the first order, along the curve of the start.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from ..distortion import Distortion
from ..quality import COARSEST, FINEST
from .engine import Engine
from .model import TrainingModel

RATIO = 1.3  # the steps between which a slope is taken, as ratios to a crop's own: 1 / RATIO and RATIO
LIMITS = 0.1, 10.0  # of a price, relative to that of the tuning: a flat crop has no slope
LEAST = 0.01  # bits per pixel, added to a crop's rate, or those of flat ones would be nearly all of the gradient


class Prices:
    """What the distortion of crops costs by a model as it is now: later changes of it change nothing.

    engine: says how precisely its networks compute; distortions are computed in float32.
    """

    def __init__(self, model: TrainingModel, distortion: Distortion, dead_zone: float, engine: Engine):
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.distortion, self.dead_zone, self.engine = distortion, dead_zone, engine

    @torch.no_grad()
    def __call__(self, image: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The prices of crops (B, H, W, 3) in 0..255 at their steps (B,): bits that a bit of Distortion.bits_per_pixel
        stands for, (B,); and the rates of their bits per pixel, (B,)."""
        steps = torch.cat(((step / RATIO).clamp_min(FINEST), (step * RATIO).clamp_max(COARSEST)))
        both = image.repeat(2, 1, 1, 1)
        with self.engine.autocast():
            decoded, bits = self.model(both, steps, self.dead_zone)
        # weighed as at the crop's own step, however it was quantised
        felt = self.distortion.bits_per_pixel(both, decoded.float(), step.repeat(2))
        (fine, coarse), (less, more) = (bits / image[0, ..., 0].numel()).chunk(2), felt.chunk(2)
        # NaN for 0 / 0, which nan_to_num makes 1
        price = ((fine - coarse) / (more - less)).nan_to_num(1.0).clamp(*LIMITS)
        return price, (fine * coarse).sqrt() + LEAST
