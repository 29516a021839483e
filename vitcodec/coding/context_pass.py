"""The context model's pass over one tile: which networks run on which rows, in which order values are coded.

The order and the contexts are those of the float model, context/model.py, whose docstrings say why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..context.config import ContextConfig
from ..engines import Engine
from ..integer.context import condition
from ..subbands import LEVELS, Subbands
from .groups import Group, level_grid
from .maps import FLAG_INPUT, LookUp, Rows, as_rows

Channels = Sequence[int]  # of each group of channels that are coded together
ValueCoder = Callable[[Group, np.ndarray], np.ndarray]  # Coder.values


def luma_channels(config: ContextConfig) -> Channels:
    """The orientations of luma one after another, where channels are conditioned on those before them."""
    return (1, 1, 1) if config.conditional else (3,)


def chroma_channels(config: ContextConfig) -> Channels:
    """The two colours one after the other."""
    return (3, 3) if config.conditional else (6,)


@dataclass(frozen=True)
class Networks:
    """A context model's networks, and how decoded integers enter them."""

    engine: Engine
    config: ContextConfig
    look_up: LookUp

    def run(self, network: str, rows: Rows) -> list[np.ndarray]:
        """n rows, at least 1 -> outputs (n, c)."""
        return self.engine.run_rows(network, len(rows), rows)

    def code(
        self,
        head: str,
        rows: Rows,
        coder: ValueCoder,
        level: int,
        first: int,
        channels: Channels,
        places: np.ndarray,
        empty: np.ndarray | None = None,
    ) -> np.ndarray:
        """Run a head, and code its groups of channels one after another.

        rows: its inputs at n sites. first: the level's channel that it begins with; places: (n, P), as Group.
        empty: (n,) bool, as ChannelConditionalHead.code in context/heads.py.
        Returns the values, (P, sum of the channels, n).
        """
        count, each = len(rows), places.shape[1]
        values = np.empty((each, sum(channels), count), np.int32)
        if not count:
            return values
        sums, *inputs = self.run(head, rows)
        start, coded = 0, values[:0]
        for k, c in enumerate(channels):
            overdue = None
            parameters = sums[:, 3 * each * start : 3 * each * (start + c)]
            if k:
                decoded = self.look_up.values(coded)
                inputs = [np.concatenate((*inputs, as_rows(decoded)), 1)]
                known = inputs[0]
                if empty is not None:
                    overdue = empty = empty & ~coded.any(0)
                    known = np.concatenate((known, overdue[:, None] * np.uint8(FLAG_INPUT)), 1)
                parameters = parameters + self.run(condition(head, k), Rows(known))[0]
            group = Group(level, slice(first + start, first + start + c), places, overdue)
            coded = coder(group, parameters.T.astype(np.int32, order="C"))
            values[:, start : start + c] = coded.reshape(each, c, count)
            start += c
        return values


def empty_bands(rows: int, columns: int, finest: int) -> Subbands:
    """Zeros for a tile's values; rows and columns are the low band's."""
    details = tuple(
        np.zeros((1, *level_grid(level, rows, columns), 9), np.int32) for level in range(finest, LEVELS + 1)
    )
    return Subbands(np.zeros((1, rows, columns, 3), np.int32), details, finest)
