"""How the search weighs distortion against bits, and how densely it makes its moves. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

LAGRANGIAN = 0.8 * 6 / math.log(2)  # bits per squared error of one step: 6 / ln 2 by high-rate theory, times 0.8

# The squared error in the picture that a squared error of one in a coefficient makes: of each level, the low band
# first, and orientation. The wavelet is nearly orthonormal
ENERGY = np.array(
    [
        [1.1204, 1.1204, 1.1204],
        [1.0227, 1.0227, 1.0825],
        [0.9968, 0.9968, 0.9355],
        [1.0938, 1.0938, 1.0808],
        [1.1379, 1.1379, 1.1559],
    ],
    np.float32,
)


@dataclass(frozen=True)
class SearchTuning:
    """How the RDO search weighs a distortion, and how densely it makes its updates."""

    # multiplier on D at a step of 26; less than in training: a finer step with more zeros beats a coarser step
    weight: float
    power: float  # of step / 26, by which the multiplier changes with the step
    # bits a pixel: a last round that started from a higher cost is taken without checking its own cost
    check_threshold: float
    wide_step: float  # 8-bit levels: at coarser steps the best update in 5x5 sites is made, at others in 3x3
    # 8-bit levels: the steps at which the corners of the 3x3 sites count not at all and in full, in between in part;
    # None: always in full
    corner_steps: tuple[float, float] | None
    smallest_side: int = 1  # pixels: areas that are narrower keep their tokens
    crowding: float | None = None  # as moves.update, in every round; None: that of the effort

    MIDDLE: ClassVar[float] = 26.0

    def weight_at(self, step: float) -> float:
        """The multiplier on D at a step in 8-bit levels."""
        return self.weight * (step / self.MIDDLE) ** self.power

    def neighbourhood(self, step: float) -> tuple[int, float]:
        """The square of sites in which one update is made.

        Its side, and the factor, 0 to 1, on the gains of the sites in it that are not next to the middle.
        """
        side = 5 if step > self.wide_step else 3
        if self.corner_steps is None:
            return side, 1.0
        none, full = self.corner_steps
        return side, min(max((step - none) / (full - none), 0.0), 1.0)


SQUARED_ERROR = SearchTuning(weight=0.95, power=-0.2, check_threshold=0.25, wide_step=80.0, corner_steps=(26.0, 42.0))
MS_SSIM = SearchTuning(
    weight=1.15,
    power=0.0,
    check_threshold=math.inf,
    wide_step=math.inf,
    corner_steps=None,
    smallest_side=176,  # five scales
    crowding=0.7,  # 0.8 % fewer bits than with that of the efforts
)
PERCEPTUAL = replace(SQUARED_ERROR, smallest_side=8, crowding=0.7)  # 0.9 % fewer
TUNINGS = {
    "psnr": SQUARED_ERROR,
    "ms-ssim": MS_SSIM,
    "ssimulacra2": PERCEPTUAL,
}  # what a model is trained for -> its own
