"""The adaptive filter: the last step of decoding. A model has one for each quality; a file can change its weights,
which the encoder then fitted to the picture.

Each of the three colour planes is corrected by differences between a pixel and its neighbours. A pair of neighbours
that lie opposite each other shares two weights: one on their differences as they are, one on the same differences
clipped to a threshold. Together they take off the grain of smooth areas and leave edges alone, or sharpen them. All of
it is integers, so that pixels stay the same on every machine.

Sources: the adaptive loop filter of VVC (M. Karczewicz et al., "VVC in-loop filters", 2021); its clipped differences
(J. Taquet et al., "Non-linear adaptive loop filter", 2019); N. Wiener, "Extrapolation, interpolation and smoothing of
stationary time series", 1949.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import FormatError
from .parallel import each

WEIGHT_BITS = 8  # a weight is in 256ths
WEIGHT_LIMIT = 127
LONGEST = 9  # bits of a changed weight behind its first one
VALUE_LIMIT = 8191  # of a pixel in fixed point (fixed_point.FRACTION_BITS), for the differences
THRESHOLD_LIMIT = 8191
RADII = 3, 2, 2  # pixels that the filter of each plane sees, as a diamond
REACH = max(RADII)
PART = 1 << 15  # pixels that are filtered at a time: what lies between the steps stays in the cache
_ZERO = 7  # stands for the order of a group without weights
_DAMAGED = "the adaptive filter is damaged; get a complete and undamaged copy"


def _pairs(radius: int) -> list[tuple[int, int]]:
    """(down, right) of one of each pair of opposite neighbours within a diamond; the other is at (-down, -right)."""
    return [
        (y, x)
        for y in range(radius + 1)
        for x in range(-radius, radius + 1)
        if 0 < y + abs(x) <= radius and (y or x > 0)
    ]


Weights = tuple[np.ndarray, np.ndarray, np.ndarray]  # of each plane
PAIRS = tuple(_pairs(radius) for radius in RADII)
SIZES = tuple(2 * len(p) for p in PAIRS)  # weights of each plane


@dataclass(frozen=True)
class AdaptiveFilter:
    """threshold: 1 to THRESHOLD_LIMIT, in the planes' fixed point. weights: of each plane, (2, pairs) int: of the
    differences as they are, and of the clipped ones, within +-WEIGHT_LIMIT.
    """

    threshold: int
    weights: Weights

    def __call__(self, planes: np.ndarray, threads: int = 1) -> np.ndarray:
        """Planes of the colour axes with REACH pixels around them, (3, H, W) int32 -> (3, H - 6, W - 6)."""
        _, H, W = planes.shape
        height, width = H - 2 * REACH, W - 2 * REACH
        out = planes[:, REACH : REACH + height, REACH : REACH + width].copy()
        rows = max(1, PART // width)
        parts = [(k, a) for k in range(len(PAIRS)) if self.weights[k].any() for a in range(0, height, rows)]

        def make(part: tuple[int, int]) -> None:
            plane, a = part
            around = np.clip(planes[plane, a : a + rows + 2 * REACH], -VALUE_LIMIT, VALUE_LIMIT)
            out[plane, a : a + rows] += self._correction(around, PAIRS[plane], self.weights[plane].tolist())

        each(make, parts, threads)
        return out

    def _correction(self, around: np.ndarray, offsets: list[tuple[int, int]], weights: list[list[int]]) -> np.ndarray:
        """What is added to the inner pixels of a part."""
        h, w = around.shape[0] - 2 * REACH, around.shape[1] - 2 * REACH

        def at(y: int, x: int) -> np.ndarray:
            return around[REACH + y : REACH + y + h, REACH + x : REACH + x + w]

        middle = at(0, 0)
        # a difference that is clipped is its neighbour, clipped to these, less the middle
        lowest, highest = middle - self.threshold, middle + self.threshold
        # every difference takes the middle off once: that of all of them comes first
        total = middle * np.int32(-2 * sum(map(sum, weights)))
        total += 1 << (WEIGHT_BITS - 1)
        pair, other = np.empty_like(middle), np.empty_like(middle)
        for (y, x), plain, clipped in zip(offsets, *weights, strict=True):
            first, second = at(y, x), at(-y, -x)
            if plain:
                np.add(first, second, out=pair)
                pair *= plain
                total += pair
            if clipped:
                for neighbour, found in ((first, pair), (second, other)):
                    np.maximum(neighbour, lowest, out=found)
                    np.minimum(found, highest, out=found)
                pair += other
                pair *= clipped
                total += pair
        total >>= WEIGHT_BITS
        return total


@dataclass(frozen=True)
class FilterNumbers:
    """The filters of a model; row q - 1 is quality q."""

    thresholds: np.ndarray  # (100,) int32
    weights: np.ndarray  # (100, 48) int8: plane by plane, those of differences as they are before the clipped ones

    def at(self, quality: int) -> AdaptiveFilter:
        """Of a quality."""
        return AdaptiveFilter(int(self.thresholds[quality - 1]), _by_plane(self.weights[quality - 1].astype(np.int32)))


def no_filters() -> FilterNumbers:
    """Filters that change nothing."""
    return FilterNumbers(np.ones(100, np.int32), np.zeros((100, sum(SIZES)), np.int8))


def _by_plane(weights: np.ndarray) -> Weights:
    first, second, third = (part.reshape(2, -1) for part in np.split(weights, np.cumsum(SIZES)[:-1]))
    return first, second, third


def pack(changes: Weights) -> bytes:
    """What a file adds to the weights of its quality's filter: group by group, in Exp-Golomb codes."""
    bits = "".join(_group_bits(group.tolist()) for weights in changes for group in weights)
    bits += "0" * (-len(bits) % 8)
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]


def unpack(payload: bytes, base: AdaptiveFilter) -> AdaptiveFilter:
    """The filter of a file. base: that of its quality. Raises FormatError."""
    reader = _bits("".join(f"{byte:08b}" for byte in payload))
    try:
        groups = [weight for size in SIZES for _ in range(2) for weight in _read_group(reader, size // 2)]
    except StopIteration as error:
        raise FormatError(_DAMAGED) from error
    rest = list(reader)
    weights = _by_plane(np.concatenate([w.ravel() for w in base.weights]) + np.array(groups, np.int32))
    if len(rest) > 7 or any(rest) or any(np.abs(w).max() > WEIGHT_LIMIT for w in weights):
        raise FormatError(_DAMAGED)
    return AdaptiveFilter(base.threshold, weights)


def group_cost(weights: Sequence[int]) -> int:
    """The bits of a group: 3 for the order of its codes, then the codes; 3 alone where all weights are zero."""
    return _cheapest(weights)[0]


def _cheapest(weights: Sequence[int]) -> tuple[int, int]:
    """A group's bits, and the order that makes them fewest."""
    if not any(weights):
        return 3, _ZERO
    numbers = [_unsigned(w) for w in weights]
    return min((3 + sum(_length(number, order) for number in numbers), order) for order in range(_ZERO))


def _group_bits(weights: Sequence[int]) -> str:
    order = _cheapest(weights)[1]
    coded = "" if order == _ZERO else "".join(_code(_unsigned(w), order) for w in weights)
    return f"{order:03b}{coded}"


def _read_group(bits: Iterator[int], count: int) -> list[int]:
    """Raises StopIteration where bits end early, FormatError."""
    order = _number(bits, 3)
    if order == _ZERO:
        return [0] * count
    return [_read_weight(bits, order) for _ in range(count)]


def _read_weight(bits: Iterator[int], order: int) -> int:
    length = order
    while not next(bits):
        length += 1
        if length > LONGEST:
            raise FormatError(_DAMAGED)
    value = (1 << length | _number(bits, length)) - (1 << order)
    return (value + 1) >> 1 if value & 1 else -(value >> 1)


def _unsigned(weight: int) -> int:
    """0, 1, -1, 2, -2, ... -> 0, 1, 2, 3, 4, ..."""
    return 2 * weight - 1 if weight > 0 else -2 * weight


def _code(value: int, order: int) -> str:
    """Exp-Golomb code of an order: as many zeros as the number has bits beyond order + 1, then the number."""
    number = value + (1 << order)
    return "0" * (number.bit_length() - order - 1) + f"{number:b}"


def _length(value: int, order: int) -> int:
    return 2 * (value + (1 << order)).bit_length() - order - 1


def _bits(text: str) -> Iterator[int]:
    return (int(bit) for bit in text)


def _number(bits: Iterator[int], count: int) -> int:
    value = 0
    for _ in range(count):
        value = value << 1 | next(bits)
    return value
