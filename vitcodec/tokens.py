"""Tokens and latents as data: one grid of 768 channels a site, as networks take it, and what a file says around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .bitstream.header import Header
from .errors import InputError
from .subbands import CHANNELS, CODING_ORDER, LEVELS, Subbands

# channels of a site of 16x16 pixels, and those of each level: the low band's 3, then details from coarse to fine
CHANNELS_OF_LEVEL = {level: CHANNELS[level] << (2 * (LEVELS - level) if level else 0) for level in CODING_ORDER}
GRID_CHANNELS = sum(CHANNELS_OF_LEVEL.values())


def to_grid(bands: Subbands) -> Any:
    """Subbands (B, H/2^level, W/2^level, C) -> (B, 768, H/16, W/16), of NumPy or torch, a copy of the same type.

    Channels: the low band's three colours; then the details, from level 4 (coarse) to level 1 (fine). Within a level of
    k x k values a site they are ordered by row, column, colour and orientation. Levels that are not there are left out:
    they would be the last channels.
    """
    rows = bands.grid[0]
    return _joined([_in_sites(bands[level], rows) for level in CODING_ORDER if level == 0 or level in bands.levels])


def from_grid(grid: Any) -> Subbands:
    """The inverse of to_grid, for 3, 12, 48, 192 or 768 channels. Raises InputError for other shapes."""
    sizes = np.cumsum([CHANNELS_OF_LEVEL[level] for level in CODING_ORDER]).tolist()
    if grid.ndim != 4 or grid.shape[1] not in sizes:
        raise InputError(f"a grid is (batch, {' or '.join(map(str, sizes))}, rows, columns), not {tuple(grid.shape)}")
    count = sizes.index(grid.shape[1]) + 1
    starts = [0, *sizes]
    parts = [grid[:, starts[k] : starts[k + 1]] for k in range(count)]
    low, *details = (_out_of_sites(part, CHANNELS[level]) for part, level in zip(parts, CODING_ORDER, strict=False))
    return Subbands(low, tuple(reversed(details)), LEVELS + 2 - count)


@dataclass(frozen=True, eq=False)
class Tokens:
    """The integers of one picture, and what its file says beside them.

    bands: int32 (1, H/2^level, W/2^level, C), sides padded to multiples of 32 pixels. header: size, quality, model.
    metadata: alpha, profile and the like, as bitstream Contents has them.
    """

    bands: Subbands
    header: Header
    metadata: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture in pixels."""
        return self.header.width, self.header.height

    @property
    def quality(self) -> int:
        """1 to 100."""
        return self.header.quality

    @property
    def model(self) -> str:
        """The name of the model that made them; header.weights says which weights exactly."""
        return self.header.model

    def to_grid(self) -> np.ndarray:
        """int32 (1, 768, rows, columns), one column of channels for each 16x16 pixels: see to_grid."""
        return np.asarray(to_grid(self.bands))

    def with_grid(self, grid: np.ndarray) -> Tokens:
        """The same picture with other integers: an array or tensor of the shape and order of to_grid().

        Raises InputError for other shapes and for values that are not whole.
        """
        found = np.asarray(grid)
        if found.shape != self.to_grid().shape:
            raise InputError(f"the picture's grid is {self.to_grid().shape}, not {found.shape}")
        whole = found.astype(np.int32)
        if not np.array_equal(whole, found):
            raise InputError("tokens are whole numbers; round the grid first")
        return Tokens(from_grid(whole).map(np.ascontiguousarray), self.header, self.metadata)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return (self.header, self.metadata) == (other.header, other.metadata) and (
            self.bands.levels == other.bands.levels
            and all(np.array_equal(a, b) for a, b in self.bands.zip(other.bands))
        )

    def __repr__(self) -> str:
        width, height = self.size
        return f"Tokens({width}x{height}, quality={self.quality}, model={self.model!r})"


def check_bands(bands: Subbands, header: Header, finest: int = 1) -> None:
    """Raises InputError where tokens are not those of a picture of that size, down to a level, or no int32."""
    whole = header.grid.whole
    sides = {level: 1 << (LEVELS - level) if level else 1 for level in (0, *range(finest, LEVELS + 1))}
    wanted = {level: (1, k * whole.h, k * whole.w, CHANNELS[level]) for level, k in sides.items()}
    found = {level: bands[level].shape for level in (0, *bands.levels)}
    if found != wanted:
        raise InputError(
            f"tokens of {header.width}x{header.height} pixels have the shapes {list(wanted.values())}, "
            f"not {list(found.values())}"
        )
    if kinds := {str(band.dtype) for band in bands if band.dtype != np.int32}:
        raise InputError(f"tokens are int32, not {', '.join(sorted(kinds))}")


def _in_sites(band: Any, rows: int) -> Any:
    """(B, k h, k w, C) -> (B, k k C, h, w)."""
    batch, height, width, channels = band.shape
    k = height // rows
    apart = _transposed(band.reshape(batch, rows, k, width // k, k, channels), (0, 2, 4, 5, 1, 3))
    return apart.reshape(batch, k * k * channels, rows, width // k)


def _out_of_sites(part: Any, channels: int) -> Any:
    """(B, k k C, h, w) -> (B, k h, k w, C)."""
    batch, count, rows, columns = part.shape
    k = round((count // channels) ** 0.5)
    apart = _transposed(part.reshape(batch, k, k, channels, rows, columns), (0, 4, 1, 5, 2, 3))
    return apart.reshape(batch, rows * k, columns * k, channels)


def _transposed(x: Any, order: tuple[int, ...]) -> Any:
    return x.transpose(order) if isinstance(x, np.ndarray) else x.permute(order)


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, 1)
    import torch

    return torch.cat(parts, 1)
