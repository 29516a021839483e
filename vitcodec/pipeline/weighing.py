"""Regions of interest in the encoder's search: how much each pixel's error counts, and what that means for tokens."""

from __future__ import annotations

import numpy as np

from ..regions import Part, Plan
from ..search import pixel_error
from ..search.measures import Target
from ..search.rounds import Search
from ..subbands import Subbands
from ..tiles import SITE


def bits_per_error(search: Search, quality: int) -> float:
    """Bits that a squared error of one 8-bit level costs at a quality."""
    return search.evaluate.weights(quality).error / search.evaluate.step(quality) ** 2


def pixel_weights(search: Search, plan: Plan, part: Part) -> np.ndarray | None:
    """As Target has them: pixels outside regions count as they do at the background's quality. None: all alike."""
    if not plan.roi:
        return None
    outside = bits_per_error(search, plan.background) / bits_per_error(search, part.quality)
    weights = plan.pixel_weights(part.area, min(outside, 1))
    return weights if weights.min() < 1 else None


def weights_of_all(search: Search, plan: Plan, part: Part, weights: np.ndarray | None) -> np.ndarray | None:
    """The weights of a part's pixels among those of the whole picture, of which those of the best quality have 1."""
    best = int(plan.qualities.max())
    if part.quality == best:
        return weights
    own = np.float32(bits_per_error(search, part.quality) / bits_per_error(search, best))
    return np.full((SITE * part.area.h, SITE * part.area.w), own) if weights is None else own * weights


def coarsened(tokens: Subbands, target: Target, dead_zone: float) -> Subbands:
    """Rounded tokens without the details that would be 0 at the coarser step that the pixels' weights stand for.

    The search changes a token by one in each round, and so would not come that far.
    """
    if target.pixel_weights is None:
        return tokens
    limits = pixel_error.means(target.pixel_weights).map(lambda weight: (0.5 + dead_zone) / np.sqrt(weight))

    def coarse(q: np.ndarray, latents: np.ndarray, limit: np.ndarray) -> np.ndarray:
        return np.where(np.abs(latents) < limit, 0, q).astype(np.int32)

    details = map(coarse, tokens.details, target.latents.details, limits.details)
    return Subbands(tokens.low, tuple(details), tokens.finest)
