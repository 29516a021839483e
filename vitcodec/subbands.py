"""Subbands: what the wavelet makes of a picture, and what every stage from analysis to entropy coding passes on.

Level 0 is the low band, levels 1 (finest) to 4 (coarsest) are details. The arrays are tensors in the networks and
NumPy's elsewhere; nothing is imported for either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

A = TypeVar("A", bound=Any)  # torch.Tensor or numpy.ndarray
B = TypeVar("B", bound=Any)

LEVELS = 4
CODING_ORDER = (0, *range(LEVELS, 0, -1))  # the low band, then the details from coarse to fine
CHANNELS = {
    level: 9 if level else 3 for level in CODING_ORDER
}  # three colours; details: three colours of three orientations


@dataclass(frozen=True, eq=False)
class Subbands(Generic[A]):
    """The coefficients, latents or tokens of a batch of images.

    low: (B, H/16, W/16, 3). details: (B, H/2^level, W/2^level, 9) of levels `finest`, `finest` + 1, ..., the finest
    first; channel = 3 * colour + orientation. Levels finer than `finest` are not there, as where a picture is decoded
    at a reduced size.
    """

    low: A
    details: tuple[A, ...]
    finest: int = 1

    def __getitem__(self, level: int) -> A:
        """The low band for level 0, else that level's details. Raises KeyError for a level that is not there."""
        if level == 0:
            return self.low
        if level not in self.levels:
            raise KeyError(level)
        return self.details[level - self.finest]

    def __iter__(self) -> Iterator[A]:
        """The low band, then the details, the finest first."""
        yield self.low
        yield from self.details

    def __len__(self) -> int:
        return 1 + len(self.details)

    @property
    def levels(self) -> range:
        """The levels of details that are there, the finest first."""
        return range(self.finest, self.finest + len(self.details))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the low band."""
        return self.low.shape[1], self.low.shape[2]

    def map(self, function: Callable[[A], B]) -> Subbands[B]:
        return Subbands(function(self.low), tuple(function(d) for d in self.details), self.finest)

    def zip(self, *others: Subbands) -> Iterator[tuple[Any, ...]]:
        """Each band with those of the same level of others, in the order of iteration."""
        return zip(self, *others, strict=True)

    def combine(self, function: Callable[..., B], *others: Subbands) -> Subbands[B]:
        """function of each band and those of the same level of others."""
        low, *details = (function(*bands) for bands in self.zip(*others))
        return Subbands(low, tuple(details), self.finest)

    def split_batch(self) -> list[Subbands[A]]:
        """Each image by itself, as a batch of one."""
        parts = zip(*(band.split(1) for band in self), strict=True)
        return [Subbands(low, tuple(details), self.finest) for low, *details in parts]
