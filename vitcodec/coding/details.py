"""A level's part of the pass: block flags, features, luma, chroma (context.model.DetailLevel)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .context_pass import Networks, chroma_channels, luma_channels
from .groups import CHROMA, FLAGGED_LEVELS, LUMA, PHASES, Coder, FlagGroup
from .maps import FLAG_INPUT, PaddedMap, difference, put_rows, space_to_depth

DENSE_LEVELS = 3, 4  # where chroma has four phases of its own

Places = tuple[np.ndarray, np.ndarray]  # rows and columns, (n,) each
Source = tuple[PaddedMap, int, np.ndarray, np.ndarray]  # a map, the size of its neighbourhoods, and where they are


def gathered(features: np.ndarray, sources: Sequence[Source]) -> np.ndarray:
    """A network's inputs: rows of features (n, c), and after them neighbourhoods."""
    counts = [size * size * source.data.shape[2] for source, size, _, _ in sources]
    start = features.shape[1]
    rows = np.empty((len(features), start + sum(counts)), np.uint8)
    rows[:, :start] = features
    for (source, size, y, x), count in zip(sources, counts, strict=True):
        source.neighbourhoods(y, x, size, rows[:, start : start + count])
        start += count
    return rows


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
        self.flags = PaddedMap(h, w, 2, 2) if nets.config.flags and level in FLAGGED_LEVELS else None
        self.luma = PaddedMap(2 * h, 2 * w, 6, 2)

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
        for k, (i, j) in enumerate(PHASES):
            blocks = place[i::2, j::2].ravel()
            at = self._at(blocks)
            known = [(self.flags, 5, *at)] if k else []
            rows = gathered(self.inherited[blocks], [*self._parent_at(at), *known])
            logits = self.nets.run(f"level{self.level}.flags.{k}", rows)[0].astype(np.int32)
            flags = self.coder.flags(FlagGroup(self.level, blocks), logits)
            self.flags.inner[i::2, j::2] = (flags * np.uint8(FLAG_INPUT)).reshape(h // 2, w // 2, 2)

    def _parent_at(self, at: Places) -> list[Source]:
        return [] if self.parent is None else [(self.parent, 3, *at)]

    def _flags_at(self, at: Places) -> list[Source]:
        return [] if self.flags is None else [(self.flags, 3, *at)]

    def _features(self, blocks: np.ndarray) -> np.ndarray:
        at = self._at(blocks)
        inherited = self.inherited if len(blocks) == len(self.inherited) else self.inherited[blocks]
        rows = gathered(inherited, [(self.contrast, 3, *at), *self._parent_at(at), *self._flags_at(at)])
        return self.nets.run(f"level{self.level}.features", rows)[0]

    def _code_luma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        self._code_phases("luma", LUMA, blocks, features, self.luma, 5)

    def _code_dense_chroma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        decoded = PaddedMap(2 * self.size[0], 2 * self.size[1], 12, 1)
        self._code_phases("chroma", CHROMA, blocks, features, decoded, 3, self.luma)

    def _code_phases(
        self,
        part: str,
        channels: slice,
        blocks: np.ndarray,
        features: np.ndarray,
        decoded: PaddedMap,
        size: int,
        other: PaddedMap | None = None,
    ) -> None:
        """Four phases of one part's values. decoded: their map, to be filled; other: what is decoded already."""
        groups = luma_channels(self.nets.config) if part == "luma" else chroma_channels(self.nets.config)
        block_y, block_x = self._at(blocks)
        for k, (i, j) in enumerate(PHASES):
            y, x = 2 * block_y + i, 2 * block_x + j
            known = [
                (source, size, y, x) for source in ([decoded] if k else []) + ([other] if other is not None else [])
            ]
            rows = gathered(features, [*known, *self._flags_at((block_y, block_x))])
            places = y * (2 * self.size[1]) + x
            head, code = f"level{self.level}.{part}.{k}", self.coder.values
            values = self.nets.code(head, rows, code, self.level, channels.start, groups, places[:, None])[0]
            put_rows(self.out[:, channels], places, values)
            decoded.put(y, x, self.nets.look_up.values(values))

    def _code_chroma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        """All four positions of each block at once."""
        h, w = self.size
        luma = PaddedMap(h, w, 24, 1)
        luma.inner[...] = space_to_depth(self.luma.inner).reshape(h, w, 24)
        at = self._at(blocks)
        rows = gathered(features, [(luma, 3, *at), *self._flags_at(at)])
        corner = (2 * at[0]) * (2 * w) + 2 * at[1]
        places = corner[:, None] + np.array([0, 1, 2 * w, 2 * w + 1])
        groups, head = chroma_channels(self.nets.config), f"level{self.level}.chroma"
        values = self.nets.code(head, rows, self.coder.values, self.level, CHROMA.start, groups, places)
        self.out[places.T, CHROMA] = values.transpose(0, 2, 1)

    def _inherit(self, features: np.ndarray) -> np.ndarray:
        h, w = self.size
        up = self.nets.run(f"level{self.level}.up", features)[0].reshape(h, w, 2, 2, -1)
        return np.ascontiguousarray(up.transpose(0, 2, 1, 3, 4)).reshape(4 * h * w, -1)
