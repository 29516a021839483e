"""From what the networks predict for a group to the tables of its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bitstream.tables import MEAN_LIMIT, MEAN_UNIT, MEANS, NEAR, SCALE_UNIT, SCALES, SHAPES
from ..subbands import LEVELS, Subbands
from .groups import FlagGroup, Group, block_flags, level_grid
from .maps import COEFFICIENT_LIMIT
from .tables import flag_class

NO_OFFSETS = np.zeros((LEVELS + 1, 9), np.int32)


# by scale index: means are rounded to 1 << COARSE eighths, since a finer one tells little of values that spread widely,
# and the fewer tables there are in a group, the faster it is coded
COARSE = np.searchsorted((16, 21, 25), np.arange(SCALES), side="right").astype(np.int32)
_HALF, _MASK = (1 << COARSE) >> 1, -(1 << COARSE)


@dataclass(frozen=True)
class Prediction:
    """How values are coded, all (M, N): M values of each of N sites."""

    classes: np.ndarray  # shape and mean: the table of scale index 0
    index: np.ndarray  # of the scale, before offsets
    scale: np.ndarray  # quarters of an index, before offsets
    negative: np.ndarray  # bool: values are mirrored where the mean is negative
    shift: np.ndarray  # whole part of the mean that is taken off, after mirroring

    def tables(self, offsets: np.ndarray) -> np.ndarray:
        """The values' tables. offsets: (M, 1), added to the scales."""
        return self.classes + (scale_index(self.scale + offsets.astype(np.int32)) if offsets.any() else self.index)

    def of(self, sites: np.ndarray) -> Prediction:
        """That of some sites, by their indices."""
        return Prediction(*(x[:, sites] for x in (self.classes, self.index, self.scale, self.negative, self.shift)))

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """Integers -> what the tables describe: mirrored and less the whole part of the mean."""
        return np.where(self.negative, -values, values) - self.shift

    def restore(self, residuals: np.ndarray) -> np.ndarray:
        """The inverse, within what a file can hold."""
        values = residuals + self.shift
        np.negative(values, out=values, where=self.negative)
        return np.minimum(np.maximum(values, -COEFFICIENT_LIMIT, out=values), COEFFICIENT_LIMIT, out=values)


def scale_index(scale: np.ndarray) -> np.ndarray:
    """Quarters of an index, int32 -> 0..SCALES - 1."""
    index = (scale + SCALE_UNIT // 2) >> 2
    return np.minimum(np.maximum(index, 0, out=index), SCALES - 1, out=index)


def predict(parameters: np.ndarray, base: np.ndarray) -> Prediction:
    """parameters: (3M, N) int32, as Coder.values; base: (M, 1), where the scales start."""
    count = len(parameters) // 3
    mean, shape = parameters[:count], parameters[2 * count :]
    scale = parameters[count : 2 * count] + base.astype(np.int32)
    index = scale_index(scale)
    a = np.abs(mean)
    np.minimum(a, MEAN_LIMIT, out=a)
    a += _HALF.take(index)
    a &= _MASK.take(index)
    shift = (a >> 3) - 1  # a mean below NEAR has a table of its own
    np.maximum(shift, 0, out=shift)
    whole = shift - (NEAR // MEAN_UNIT - 1)
    np.maximum(whole, 0, out=whole)
    whole <<= 3
    a -= whole  # the class of the mean
    classes = np.minimum(np.maximum(shape + 1, 0), SHAPES - 1)
    classes *= MEANS
    classes += a
    classes *= SCALES
    return Prediction(classes, index, scale, mean < 0, shift)


@dataclass(frozen=True)
class Received:
    """Which tokens are not erased. received: (h, w) bool, on the low band's grid."""

    received: np.ndarray

    def at(self, group: Group) -> np.ndarray:
        """Which of a group's values belong to such tokens: (M, N) bool."""
        mask = self._on(level_grid(group.level, *self.received.shape))[group.places.T]
        return np.repeat(mask, group.channels.stop - group.channels.start, 0)

    def of_blocks(self, group: FlagGroup) -> np.ndarray:
        """Which of a group's blocks do: (N,) bool."""
        h, w = level_grid(group.level, *self.received.shape)
        return self._on((h // 2, w // 2))[group.blocks]

    def _on(self, grid: tuple[int, int]) -> np.ndarray:
        side = grid[0] // self.received.shape[0]
        return self.received.repeat(side, 0).repeat(side, 1).ravel()


@dataclass(frozen=True)
class ValueRecord:
    """A group's values and what was predicted for them; the arrays hold those that are coded alone."""

    group: Group
    prediction: Prediction  # (M, N)
    residuals: np.ndarray  # (M, N) int32
    mask: np.ndarray | None  # (M, N) bool: which are coded; None: all

    def tables(self, offsets: np.ndarray) -> np.ndarray:
        """(K,): those of the values that are coded. offsets: (5, 9)."""
        return self.only(self.prediction.tables(self.group.per_channel(offsets)))

    def only(self, x: np.ndarray) -> np.ndarray:
        """(M, N) -> those that are coded, (K,)."""
        return x.ravel() if self.mask is None else x[self.mask]


@dataclass(frozen=True)
class FlagRecord:
    """Block flags, luma or chroma, of those blocks of a group that are coded, and the classes of their logits: (K,)."""

    level: int
    classes: np.ndarray
    flags: np.ndarray


class Recorder:
    """The coder of known tokens: it notes all that is coded, in order, and what is predicted for it.

    tokens: int32, (1, h, w, c). base_scales: (5, 9).
    """

    def __init__(self, tokens: Subbands, base_scales: np.ndarray, received: Received | None = None):
        self.tokens, self.base_scales, self.received = tokens, base_scales, received
        self.records: list[ValueRecord | FlagRecord] = []
        self._flags: dict[int, np.ndarray] = {}

    def values(self, group: Group, parameters: np.ndarray) -> np.ndarray:
        """Coder.values."""
        prediction = predict(parameters, group.per_channel(self.base_scales))
        mask = None if self.received is None else self.received.at(group)
        values = np.clip(group.gather(self.tokens), -COEFFICIENT_LIMIT, COEFFICIENT_LIMIT)
        residuals = prediction.residuals(group.symbols(values))
        if mask is not None:  # what is not coded comes back as what is most probable
            residuals[~mask] = 0
            values = group.values(prediction.restore(residuals))
        self.records.append(ValueRecord(group, prediction, residuals, mask))
        return values

    def flags(self, group: FlagGroup, logits: np.ndarray) -> np.ndarray:
        """Coder.flags."""
        if group.level not in self._flags:
            self._flags[group.level] = block_flags(self.tokens[group.level])
        flags = self._flags[group.level][group.blocks]
        coded: slice | np.ndarray = slice(None)
        if self.received is not None:
            coded = self.received.of_blocks(group)
            flags &= coded[:, None]
        self.records += [
            FlagRecord(group.level, flag_class(logit[coded]), flags[coded, part])
            for part, logit in enumerate(flag_logits(logits, flags[:, 0]))
        ]
        return flags


def flag_logits(logits: np.ndarray, luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three logits of each block, as FlagGroup, and the luma flags -> the logits of the luma and the chroma flags."""
    return logits[:, 0], np.where(luma, logits[:, 2], logits[:, 1])


class PredictionMaps:
    """The coder of known tokens that keeps what is predicted as whole subbands, int32, zero where nothing is coded.

    mean, scale, shape: in eighths, quarters of an index with the base scales, units of SHAPE_UNIT; of values' symbols.
    symbols: these. logits: of each flagged level, (1, h, w, 3) on the grid of its blocks, in FLAG_UNIT.
    """

    def __init__(self, tokens: Subbands, base_scales: np.ndarray):
        self.tokens, self.base_scales = tokens, base_scales
        self.mean, self.scale, self.shape, self.symbols = (tokens.map(np.zeros_like) for _ in range(4))
        self.logits: dict[int, np.ndarray] = {}
        self._flags: dict[int, np.ndarray] = {}

    def values(self, group: Group, parameters: np.ndarray) -> np.ndarray:
        """Coder.values."""
        mean, scale, shape = np.split(parameters, 3)
        group.scatter(self.mean, mean)
        group.scatter(self.scale, scale + group.per_channel(self.base_scales).astype(np.int32))
        group.scatter(self.shape, shape)
        values = group.gather(self.tokens)
        group.scatter(self.symbols, group.symbols(values))
        return values

    def flags(self, group: FlagGroup, logits: np.ndarray) -> np.ndarray:
        """Coder.flags."""
        if group.level not in self.logits:
            _, H, W, _ = self.tokens[group.level].shape
            self.logits[group.level] = np.zeros((1, H // 2, W // 2, logits.shape[1]), np.int32)
            self._flags[group.level] = block_flags(self.tokens[group.level])
        self.logits[group.level].reshape(-1, logits.shape[1])[group.blocks] = logits
        return self._flags[group.level][group.blocks]
