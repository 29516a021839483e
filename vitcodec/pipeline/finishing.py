"""What the encoder decides about the last steps of decoding: changes of the filter, and whether to enhance.

The enhancement was trained on photographs and makes most of them better, but not every pattern. So it is tried on a few
squares of the picture, as the search left them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ..adaptive_filter import REACH, AdaptiveFilter, Weights
from ..enhancement import Enhancement
from ..fixed_point import FRACTION_BITS, to_rgb
from ..reconstruction import MARGIN
from ..search.filter_fit import FilterFit
from ..search.measures import Target
from ..search.pixel_error import Shown, crop_pixels, in_pixels
from ..search.rounds import Found
from ..search.state import Evaluator
from ..subbands import Subbands
from ..tiles import SITE, Area, crop

SIDE = 8  # sites along a side of a square
SEARCHED, ROUNDED = 8, 2  # squares that are tried after a search; without one they have to be decoded for it
# the share of its error by which a picture may seem worse all the same: two squares tell little, and patterns that the
# enhancement is not for lose much more
ROUNDED_TOLERANCE = 0.01
EDGE = 1  # sites at a square's border that are not looked at: there the network does not see what it will see


@dataclass
class EnhancementChoice:
    """Tries an enhancement on squares of a picture.

    whole: all sites of the picture. count: squares to try, evenly spaced. tolerance: by which share the error may rise.
    """

    enhancement: Enhancement
    whole: Area
    count: int
    tolerance: float = 0.0
    squares: list[tuple[Shown, int]] = field(default_factory=list)  # and their qualities
    seen: int = 0  # places for squares so far

    def areas(self, part: Area) -> Iterator[Area]:
        """The squares of the next part of the picture that are to be tried, counted from its corner."""
        places = -(-self.whole.h // SIDE) * -(-self.whole.w // SIDE)
        for y in range(0, part.h, SIDE):
            for x in range(0, part.w, SIDE):
                before, self.seen = self.seen, self.seen + 1
                if self.seen * self.count // places > before * self.count // places:
                    yield Area(y, x, min(SIDE, part.h - y), min(SIDE, part.w - x))

    def add(self, square: Shown, quality: int) -> None:
        """One of them."""
        self.squares.append((square, quality))

    def helps(self, filter: AdaptiveFilter | None) -> bool:
        """Whether the squared error falls, after the picture's filter, or rises within the tolerance."""
        before = after = 0
        for square, quality in self.squares:
            original, planes = (_fixed(levels) for levels in (square.decoded + square.wanted, square.decoded))
            if filter is not None:
                planes = filter(_padded(planes, REACH))
            enhanced = self.enhancement(_padded(planes, self.enhancement.reach), np.array([[quality]]))
            before += _error(planes, original)
            after += _error(enhanced, original)
        return after < before * (1 + self.tolerance)


def _fixed(levels: np.ndarray) -> np.ndarray:
    return np.rint(levels * (1 << FRACTION_BITS)).astype(np.int32)


def _error(planes: np.ndarray, original: np.ndarray) -> int:
    """The squared error of pixels as they will be shown: 8 bits, clipped."""
    decoded, wanted = (to_rgb(p).astype(np.int64) for p in (planes, original))
    height, width, _ = wanted.shape
    top, left = (SITE * EDGE * (side > 2 * SITE * EDGE) for side in (height, width))
    return int(np.square(decoded - wanted)[top : height - top, left : width - left].sum())


def _padded(planes: np.ndarray, border: int) -> np.ndarray:
    return np.pad(planes, ((0, 0), (border,) * 2, (border,) * 2), mode="edge")


@dataclass(frozen=True)
class Finishing:
    """What is known of a picture's last steps while it is encoded.

    fit: None where the filter stays that of the quality, `base`. number: of the enhancement that is tried.
    """

    base: AdaptiveFilter | None
    fit: FilterFit | None
    choice: EnhancementChoice | None
    number: int

    def add(
        self, evaluate: Evaluator, target: Target, found: Found, area: Area, weights: np.ndarray | None = None
    ) -> None:
        """An area of a part of the picture, counted from the part's corner, as the search found it.

        weights: (H, W), on the distortion of the area's pixels; None: 1 everywhere.
        """
        step, error = evaluate.step(target.quality), found.pixels
        if self.fit and error is None:
            error = in_pixels(evaluate.errors(target, found.tokens))
        if error is None:
            self._decode_squares(evaluate, target, found.tokens, area)
        elif self.fit:
            shown = Shown.of(crop(target.original, area), crop_pixels(error, area), step)
            self.fit.add(shown, weights)
            if self.choice:
                for square in self.choice.areas(area):
                    self.choice.add(shown.part(square), target.quality)

    def _decode_squares(self, evaluate: Evaluator, target: Target, tokens: Subbands, area: Area) -> None:
        """Those of an area, with as much around them as the wavelet sees most of."""
        if self.choice is None:
            return
        for square in self.choice.areas(area):
            own = Area(area.y + square.y, area.x + square.x, square.h, square.w)
            around = own.grown(MARGIN, Area(0, 0, *tokens.grid))
            part = replace(target, original=crop(target.original, around), latents=crop(target.latents, around))
            error = in_pixels(evaluate.errors(part, crop(tokens, around).map(np.ascontiguousarray)))
            shown = Shown.of(part.original, error, evaluate.step(target.quality))
            self.choice.add(shown.part(own.within(around)), target.quality)

    def result(self) -> tuple[Weights | None, int]:
        """The changes of the filter, and the number of the enhancement."""
        changes, filter = self.fit.solve() if self.fit else None, self.base
        if changes and filter is not None:
            first, second, third = (w + c for w, c in zip(filter.weights, changes, strict=True))
            filter = AdaptiveFilter(filter.threshold, (first, second, third))
        return changes, self.number if self.choice and self.choice.helps(filter) else 0
