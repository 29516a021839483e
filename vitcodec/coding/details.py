"""A level's part of the pass: block flags, features, luma, chroma (context.model.DetailLevel)."""

from __future__ import annotations

import numpy as np

from ..context.phases import PHASES
from .context_pass import Networks, chroma_channels, luma_channels
from .groups import CHROMA, FLAGGED_LEVELS, LUMA, Coder, FlagGroup
from .maps import FLAG_INPUT, PaddedMap, PhasedMap, Rows, Source, difference, put_rows, space_to_depth

DENSE_LEVELS = 3, 4  # where chroma has four phases of its own

Places = tuple[np.ndarray, np.ndarray]  # rows and columns, (n,) each


class DetailPass:
    """One level's values.

    inherited: (h * w, c) uint8, the features of the coarser level at the blocks of this one. low: planes (3, 2h, 2w),
    the low band of this level in sixteenths. parent: (1, h, w, 9), the coarser level's values, or None. out:
    (1, 2h, 2w, 9) int32, zeros, to be filled.
    """

    def __init__(
        self,
        nets: Networks,
        level: int,
        inherited: np.ndarray,
        low: np.ndarray,
        parent: np.ndarray | None,
        coder: Coder,
        out: np.ndarray,
    ):
        self.nets, self.level, self.inherited, self.coder = nets, level, inherited, coder
        self.out = out.reshape(-1, out.shape[-1])
        h, w = self.size = low.shape[1] // 2, low.shape[2] // 2
        self.contrast = PaddedMap(h, w, 24, 1)
        contrast = nets.look_up.sixteenths(difference(low)).transpose(1, 2, 0)
        self.contrast.pairs.reshape(h, w, 2, 2, 3, copy=False)[...] = space_to_depth(contrast)
        self.parent = None
        if parent is not None:
            self.parent = PaddedMap(h, w, 18, 1)
            self.parent.pairs[...] = nets.look_up.values(parent[0])
        known_alone = nets.config.flags
        self.flags = PhasedMap(h, w, 2, 1, True) if nets.config.flags and level in FLAGGED_LEVELS else None
        self.luma = PhasedMap(2 * h, 2 * w, 6, 2, known_alone)

    def run(self, inherited: bool) -> np.ndarray | None:
        """Code all values. Returns what the next level inherits, (2h * 2w, c), if that is asked for."""
        everywhere = np.arange(self.size[0] * self.size[1])
        chosen = everywhere
        luma: slice | np.ndarray = slice(None)
        chroma: slice | np.ndarray = slice(None)
        if self.flags is not None:
            self._code_flags()
            known = self.flags.inner.reshape(-1, 2) > 0
            if self.level == 1:  # or the next level would inherit the features of every block
                chosen = np.flatnonzero(known.any(1))
            luma, chroma = (np.flatnonzero(known[chosen, part]) for part in (0, 1))
        if not len(chosen):
            return None
        features = self._features(chosen)
        self._code_luma(chosen[luma], features[luma])
        if self.level in DENSE_LEVELS:
            self._code_dense_chroma(chosen[chroma], features[chroma])
        else:
            self._code_chroma(chosen[chroma], features[chroma])
        return self._inherit(features) if inherited else None

    def _at(self, blocks: np.ndarray) -> Places:
        return np.divmod(blocks, self.size[1])

    def _code_flags(self) -> None:
        assert self.flags is not None
        h, w = self.size
        place = np.arange(h * w).reshape(h, w)
        around = np.divmod(np.arange(h * w // 4), w // 2)  # the 2x2 blocks that a block of a phase belongs to
        for k, (i, j) in enumerate(PHASES):
            blocks = place[i::2, j::2].ravel()
            known = [*self._known_at(self._at(blocks)), *self.flags.known(5, *around)]
            rows = Rows(self.inherited, known, blocks)
            logits = self.nets.run(f"level{self.level}.flags.{k}", rows)[0].astype(np.int32)
            flags = self.coder.flags(FlagGroup(self.level, blocks), logits)
            self.flags.inner[i::2, j::2] = (flags * np.uint8(FLAG_INPUT)).reshape(h // 2, w // 2, 2)
            self.flags.finish_phase()

    def _known_at(self, at: Places) -> list[Source]:
        """What is known of blocks before the level, beside their features."""
        return [source.around(3, *at) for source in (self.contrast, self.parent) if source is not None]

    def _flags_at(self, at: Places) -> list[Source]:
        return [] if self.flags is None else [self.flags.around(3, *at)]

    def _features(self, blocks: np.ndarray) -> np.ndarray:
        at = self._at(blocks)
        rows = Rows(self.inherited, [*self._known_at(at), *self._flags_at(at)], blocks)
        return self.nets.run(f"level{self.level}.features", rows)[0]

    def _code_luma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        self._code_phases("luma", LUMA, blocks, features, self.luma, 5)

    def _code_dense_chroma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        decoded = PhasedMap(2 * self.size[0], 2 * self.size[1], 12, 1, self.luma.known_alone)
        self._code_phases("chroma", CHROMA, blocks, features, decoded, 3, self.luma)

    def _code_phases(
        self,
        part: str,
        channels: slice,
        blocks: np.ndarray,
        features: np.ndarray,
        decoded: PhasedMap,
        size: int,
        other: PaddedMap | None = None,
    ) -> None:
        """Four phases of one part's values. decoded: their map, to be filled; other: what is decoded already."""
        groups = luma_channels(self.nets.config) if part == "luma" else chroma_channels(self.nets.config)
        block_y, block_x = self._at(blocks)
        empty = np.ones(len(blocks), bool)
        for k, (i, j) in enumerate(PHASES):
            y, x = 2 * block_y + i, 2 * block_x + j
            known = decoded.known(size, block_y, block_x)
            if other is not None:
                known.append(other.around(size, y, x))
            rows = Rows(features, [*known, *self._flags_at((block_y, block_x))])
            places = y * (2 * self.size[1]) + x
            may_be = empty if self.flags is not None and k == len(PHASES) - 1 else None  # overdue
            head, code = f"level{self.level}.{part}.{k}", self.coder.values
            values = self.nets.code(head, rows, code, self.level, channels.start, groups, places[:, None], may_be)[0]
            empty &= ~values.any(0)
            put_rows(self.out[:, channels], places, values)
            decoded.put(y, x, self.nets.look_up.values(values))
            decoded.finish_phase()

    def _code_chroma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        """All four positions of each block at once."""
        h, w = self.size
        luma = PaddedMap(h, w, 24, 1)
        luma.inner[...] = space_to_depth(self.luma.inner).reshape(h, w, 24)
        at = self._at(blocks)
        rows = Rows(features, [luma.around(3, *at), *self._flags_at(at)])
        corner = (2 * at[0]) * (2 * w) + 2 * at[1]
        places = corner[:, None] + np.array([0, 1, 2 * w, 2 * w + 1])
        groups, head = chroma_channels(self.nets.config), f"level{self.level}.chroma"
        values = self.nets.code(head, rows, self.coder.values, self.level, CHROMA.start, groups, places)
        self.out[places.T, CHROMA] = values.transpose(0, 2, 1)

    def _inherit(self, features: np.ndarray) -> np.ndarray:
        h, w = self.size
        up = self.nets.run(f"level{self.level}.up", Rows(features))[0].reshape(h, w, 2, 2, -1)
        return np.ascontiguousarray(up.transpose(0, 2, 1, 3, 4)).reshape(4 * h * w, -1)
