"""The low band's part of the pass: interlaced, from a sparse grid to the whole (context.model.InterlacedLowBand)."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..context.phases import PHASES
from .context_pass import Networks, ValueCoder
from .groups import Coder, Group
from .maps import FRACTION_BITS, Rows, as_rows

SIZE = 5  # sites along a side of the neighbourhoods
_NEAREST = np.pad(np.ones((3, 3), np.int32), 1).ravel()[:, None]  # 1 for the middle 3x3 of them


def _moved(coder: Coder, centre: np.ndarray) -> ValueCoder:
    """A coder for which predicted means are relative to those of the known neighbours, (c, n) in sixteenths."""

    def code(group: Group, parameters: np.ndarray) -> np.ndarray:
        parameters[: len(centre)] += centre >> 1  # means come in eighths
        return coder.values(group, parameters)

    return code


def code_low_band(nets: Networks, features: np.ndarray, rows: int, columns: int, coder: Coder) -> np.ndarray:
    """features: (16,) uint8, of the quality -> all values, (1, rows, columns, 3) int32."""
    values = np.zeros((rows, columns, 3), np.int32)
    known = np.zeros((rows, columns, 1), np.int32)
    place = np.arange(rows * columns).reshape(rows, columns)
    for scale in reversed(range(nets.config.low_scales)):
        first = scale < nets.config.low_scales - 1
        for k, (i, j) in enumerate(PHASES[first:]):
            here = slice(i << scale, None, 2 << scale), slice(j << scale, None, 2 << scale)
            places = place[here].reshape(-1, 1)
            if not places.size:
                continue
            grid = slice(None, None, 1 << scale), slice(None, None, 1 << scale)
            q, mask = (_neighbours(x[grid], i, j) for x in (values, known))  # (n, 25, 3) and (n, 25, 1)
            near = mask * _NEAREST
            count = np.maximum(near.sum(1), 1)
            centre = ((q * near).sum(1, dtype=np.int32) << FRACTION_BITS) // count.astype(np.int32)  # (n, 3)
            context = nets.look_up.sixteenths((q << FRACTION_BITS) - centre[:, None]) * mask.astype(np.uint16)
            inputs = np.concatenate((np.tile(features, (len(q), 1)), context.reshape(len(q), -1).view(np.uint8)), 1)
            centre = centre.T
            luma, chroma = (f"low.{part}.{scale}.{k}" for part in ("luma", "chroma"))
            y = nets.code(luma, Rows(inputs), _moved(coder, centre[:1]), 0, 0, (1,), places)[0]
            relative = nets.look_up.sixteenths((y << FRACTION_BITS) - centre[:1])
            inputs = np.concatenate((inputs, as_rows(relative)), 1)
            c = nets.code(chroma, Rows(inputs), _moved(coder, centre[1:]), 0, 1, (2,), places)[0]
            values[here] = np.concatenate((y, c)).T.reshape(*values[here].shape)
            known[here] = 1
    return values[None]


def _neighbours(grid: np.ndarray, i: int, j: int) -> np.ndarray:
    """Neighbourhoods of the sites (i::2, j::2) of a grid (h, w, C) of any size: (n, SIZE * SIZE, C), zero outside."""
    border = SIZE // 2
    padded = np.pad(grid, ((border, border), (border, border), (0, 0)))
    windows = sliding_window_view(padded, (SIZE, SIZE), (0, 1))[i::2, j::2]  # (h', w', C, 5, 5)
    return windows.transpose(0, 1, 3, 4, 2).reshape(-1, SIZE**2, grid.shape[2])
