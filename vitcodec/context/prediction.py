"""From what the networks predict for a group to the tables of its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..bitstream.tables import TableIndex, Tables, table_index
from ..quality import QualityPoint
from ..subbands import LEVELS
from .groups import CodingGroup

NO_OFFSETS = np.zeros((LEVELS + 1, 9), np.int32)


@dataclass(frozen=True)
class Predictor:
    """The tables of a model at a quality."""

    tables: Tables
    point: QualityPoint

    def predicted(self, group: CodingGroup, parameters: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the networks predict for a group: mean, scale and shape of its values, int32, (h * w, n) each.

        parameters: (1, h, w, 3n). Values are in raster order.
        """
        integers = parameters.clamp(-(2**22), 2**22).int().cpu().chunk(3, -1)
        mean, scale, shape = (p.numpy().reshape(-1, p.shape[-1]) for p in integers)
        return mean, scale + group.per_channel(self.point.base_scales), shape

    def index(self, group: CodingGroup, parameters: Tensor, offsets: np.ndarray = NO_OFFSETS) -> TableIndex:
        """The tables of a group's values in raster order, (h * w * n,).

        offsets: (5, 9), added to the scales of each level and channel.
        """
        mean, scale, shape = self.predicted(group, parameters)
        return table_index(mean.ravel(), (scale + group.per_channel(offsets)).ravel(), shape.ravel())
