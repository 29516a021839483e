"""Network inputs from decoded integers: look-ups, 8-bit maps with borders, and their neighbourhoods as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..context.phases import PHASES, known_rectangles

LOG_UNIT = 32  # look-ups give 32 log(1 + |x|)
FRACTION_BITS = 4  # the low band is held in sixteenths of a step
FLAG_INPUT = 64  # what a flag that is set enters as
TOP = 255
COEFFICIENT_LIMIT = 1 << 15  # of decoded integers' magnitude


def log_thresholds() -> np.ndarray:
    """(255,) int32: 32 log(1 + x / 16) rounds to the number of thresholds that are at most x.

    Computed once, at export, and stored with the weights.
    """
    level = np.arange(1, TOP + 1)
    return np.ceil((np.exp((level - 0.5) / LOG_UNIT) - 1) * (1 << FRACTION_BITS)).astype(np.int32)


class LookUp:
    """The logarithms of the positive and of the negative part of whole numbers, 0..255, as a pair of bytes.

    thresholds: as log_thresholds.
    """

    def __init__(self, thresholds: np.ndarray):
        self._sixteenths = self._table(thresholds, 1)
        self._whole = self._table(thresholds, 1 << FRACTION_BITS)

    @staticmethod
    def _table(thresholds: np.ndarray, unit: int) -> tuple[np.int32, np.ndarray]:
        """Where zero is in the table of numbers in such a unit, and the pairs."""
        limit = -(-int(thresholds[-1]) // unit)
        magnitude = np.searchsorted(thresholds, np.arange(limit + 1) * unit, side="right").astype(np.uint8)
        positive = np.concatenate((np.zeros(limit, np.uint8), magnitude))
        pairs = np.stack((positive, positive[::-1]), 1)
        return np.int32(limit), np.ascontiguousarray(pairs).view(np.uint16)[:, 0]

    def values(self, q: np.ndarray) -> np.ndarray:
        """Decoded integers, int32 of any shape -> pairs, uint16."""
        zero, pairs = self._whole
        return pairs.take(q + zero, mode="clip")

    def sixteenths(self, x: np.ndarray) -> np.ndarray:
        """The same for numbers in sixteenths."""
        zero, pairs = self._sixteenths
        return pairs.take(x + zero, mode="clip")


def as_rows(pairs: np.ndarray) -> np.ndarray:
    """Pairs of bytes (c, n) -> rows (n, 2c) uint8."""
    return np.ascontiguousarray(pairs.T).view(np.uint8)


class PaddedMap:
    """Network inputs on a grid, uint8, with zeros around it."""

    def __init__(self, height: int, width: int, channels: int, border: int):
        self.data = np.zeros((height + 2 * border, width + 2 * border, channels), np.uint8)
        self.border = border
        self.inner = self.data[border : border + height, border : border + width]

    @property
    def pairs(self) -> np.ndarray:
        """The grid without its border as pairs of bytes, (height, width, channels / 2) uint16. A view."""
        return self.inner.view(np.uint16)

    def put(self, y: np.ndarray, x: np.ndarray, pairs: np.ndarray) -> None:
        """Write pairs (channels / 2, n) at the places (y, x)."""
        put_rows(
            self.data.reshape(-1, self.data.shape[2]), (y + self.border) * self.data.shape[1] + x + self.border, pairs
        )

    def around(self, size: int, y: np.ndarray, x: np.ndarray) -> Source:
        """The size x size neighbourhoods of the places (y, x), both (n,)."""
        return Source(self, y, x, -(size // 2), -(size // 2), size, size)


class PhasedMap(PaddedMap):
    """A map that is filled in phases. known_alone: whether each sees what those before it hold, or zeros as well.

    height, width: even; y, x below: of blocks.
    """

    def __init__(self, height: int, width: int, channels: int, border: int, known_alone: bool):
        super().__init__(height, width, channels, border)
        self.known_alone, self.phases = known_alone, list[PaddedMap]()

    def finish_phase(self) -> None:
        """Call it when the places of the next phase are filled."""
        i, j = PHASES[len(self.phases)]
        held = self.inner[i::2, j::2]
        self.phases.append(PaddedMap(held.shape[0], held.shape[1], held.shape[2], 1))
        if self.known_alone and len(self.phases) < len(PHASES):  # nobody looks at the others
            self.phases[-1].inner[...] = held

    def known(self, size: int, y: np.ndarray, x: np.ndarray) -> list[Source]:
        """What the next phase sees of size x size neighbours, in the blocks (y, x), both (n,)."""
        k = len(self.phases)
        if self.known_alone:
            return [
                Source(self.phases[r.phase], y, x, r.top, r.left, r.height, r.width) for r in known_rectangles(k, size)
            ]
        return [self.around(size, 2 * y + PHASES[k][0], 2 * x + PHASES[k][1])] if k else []


@dataclass(frozen=True)
class Source:
    """Some of a network's inputs: of a map, the same rectangle around each of the places (y, x), both (n,).

    top, left: where it begins, counted from the place.
    """

    map: PaddedMap
    y: np.ndarray
    x: np.ndarray
    top: int
    left: int
    height: int
    width: int

    @property
    def count(self) -> int:
        return self.height * self.width * self.map.data.shape[2]

    def copy_to(self, out: np.ndarray, part: slice) -> None:
        """out: (n, count), columns of an array in C order: what some of the places have."""
        data = self.map.data
        _, width, channels = data.shape
        line = self.width * channels  # bytes; a line of a rectangle is copied as one item
        windows = np.ndarray(
            (data.size // channels - self.width + 1,),
            f"V{line}",
            data,
            strides=(channels,),  # type: ignore[call-overload]
        )
        y, x = self.y[part], self.x[part]
        first = (y + (self.map.border + self.top)) * width + (x + (self.map.border + self.left))
        items = out.view(f"V{line}")
        for k in range(self.height):
            items[:, k] = windows[first + k * width]


@dataclass(frozen=True)
class Rows:
    """A network's inputs at n sites: features (n, c), and what the sources hold after them.

    chosen: (n,), which of the features' rows; None: all.
    """

    features: np.ndarray
    sources: Sequence[Source] = ()
    chosen: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features if self.chosen is None else self.chosen)

    def __call__(self, part: slice) -> np.ndarray:
        """Some of the rows, uint8."""
        features = self.features[part if self.chosen is None else self.chosen[part]]
        if not self.sources:
            return features
        start = features.shape[1]
        rows = np.empty((len(features), start + sum(source.count for source in self.sources)), np.uint8)
        rows[:, :start] = features
        for source in self.sources:
            source.copy_to(rows[:, start : start + source.count], part)
            start += source.count
        return rows


def put_rows(rows: np.ndarray, places: np.ndarray, columns: np.ndarray) -> None:
    """Write columns (c, n) of any type as rows of an array, or of some of its columns, at the places (n,)."""
    values = np.ascontiguousarray(columns.T)
    size = values.shape[1] * values.itemsize  # bytes; a row is copied as one item
    rows.view(f"V{size}")[places, 0] = values.view(f"V{size}")[:, 0]


def space_to_depth(x: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (H/2, W/2, 2, 2, C): each 2x2 block becomes one site. A view."""
    H, W, C = x.shape
    return x.reshape(H // 2, 2, W // 2, 2, C).transpose(0, 2, 1, 3, 4)


def difference(low: np.ndarray) -> np.ndarray:
    """Planes (C, H, W) int32 less their means over 5x5 sites, borders replicated, floored."""
    padded = np.pad(low, ((0, 0), (2, 2), (0, 0)), mode="edge")
    n = low.shape[1]
    total = padded[:, :n] + padded[:, 1 : n + 1]
    for k in range(2, 5):
        total += padded[:, k : k + n]
    padded = np.pad(total, ((0, 0), (0, 0), (2, 2)), mode="edge")
    n = low.shape[2]
    total = padded[:, :, :n] + padded[:, :, 1 : n + 1]
    for k in range(2, 5):
        total += padded[:, :, k : k + n]
    return (25 * low - total) // np.int32(25)
