"""What the pipeline asks of a model's transforms: of integers (pipeline/integers.py), or of floating-point networks on
torch (pipeline/floats.py). No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from .adaptive_filter import AdaptiveFilter
from .enhancement import Enhancement
from .subbands import Subbands
from .tiles import Area

Tokens = Callable[[Area], Subbands]  # an area of sites -> its tokens, int32 (1, h, w, C)


class Parts(Protocol):
    """A picture that is decoded part by part."""

    def strips(self) -> list[list[Area]]:
        """What is shown, in blocks of sites, row by row: to be asked for in this order, with `prepare` before it."""
        ...

    def next_tokens(self, area: Area) -> Sequence[Area]:
        """The areas whose tokens the pixels of an area will ask for."""
        ...

    def prepare(self, area: Area) -> None:
        """Compute all that the pixels of an area share: then threads may ask for blocks of it."""
        ...

    def pixels(self, block: Area, gray: bool) -> np.ndarray:
        """A block's pixels at the picture's reduction, (h, w, 3) uint8."""
        ...

    def forget(self, above: int) -> None:
        """Drop what was kept of blocks above a row of sites."""
        ...


class Transform(Protocol):
    """A model's decoder from tokens on. Qualities are 1 to 100."""

    @property
    def threads(self) -> int:
        """How many threads ask for blocks of a picture at a time."""
        ...

    def step(self, quality: int) -> float:
        """The quantisation step in 8-bit levels."""
        ...

    def gains(self, quality: int) -> np.ndarray:
        """The factor on each band, (5, 9) float32."""
        ...

    def filter(self, quality: int) -> AdaptiveFilter | None:
        """That of a quality, which a file may change; None where pixels are not filtered."""
        ...

    def enhancement(self, number: int) -> Enhancement | None:
        """That of a number, as files name it; None for 0. Raises UnsupportedError where the model has none of it."""
        ...

    def corrected(self, tokens: Subbands, quality: int) -> Subbands:
        """Tokens of an area, int32 -> the coefficients that the decoder makes of them, in steps: float32."""
        ...

    def needed(self, shown: Area, whole: Area, reduce: int) -> Area:
        """The sites whose tokens the pixels of an area depend on. whole: all sites of the picture."""
        ...

    def picture(
        self,
        tokens: Tokens,
        whole: Area,
        shown: Area,
        qualities: np.ndarray,
        erased: np.ndarray | None,
        reduce: int,
        filter: AdaptiveFilter | None,
        enhancement: Enhancement | None,
    ) -> Parts:
        """A picture whose tokens can be asked for.

        shown: all sites whose pixels will be asked for. qualities: (h, w), of every site of the picture, or (1, 1), one
        for all. erased: (h, w) bool, the picture's tokens to fill in; None: none. reduce: how often it is halved.
        filter, enhancement: of the whole picture.
        """
        ...
