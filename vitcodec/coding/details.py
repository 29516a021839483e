"""A level's part of the pass: block flags, features, luma, chroma (context.model.DetailLevel)."""

from __future__ import annotations

import numpy as np

from .context_pass import Networks, chroma_channels, luma_channels
from .groups import CHROMA, FLAGGED_LEVELS, LUMA, PHASES, Coder, FlagGroup
from .maps import FLAG_INPUT, PaddedMap, difference, space_to_depth

DENSE_LEVELS = 3, 4  # where chroma has four phases of its own
_FLAGS = 9 * 2  # inputs that the flags around a block make


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
        contrast = np.empty((2 * h, 2 * w, 6), np.uint8)
        nets.look_up.sixteenths(difference(low).transpose(1, 2, 0), contrast)
        self.contrast.inner[...] = space_to_depth(contrast).reshape(h, w, 24)
        self.parent = None
        if parent is not None:
            self.parent = PaddedMap(h, w, 18, 1)
            nets.look_up.values(parent[0], self.parent.inner)
        self.flags = PaddedMap(h, w, 2, 2) if nets.config.flags and level in FLAGGED_LEVELS else None
        self.luma = PaddedMap(2 * h, 2 * w, 6, 2)

    def run(self, inherited: bool) -> np.ndarray | None:
        """Code all values. Returns what the next level inherits, (2h * 2w, c), if that is asked for."""
        everywhere = np.arange(self.size[0] * self.size[1])
        chosen, luma, chroma = everywhere, slice(None), slice(None)
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

    def _at(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.divmod(blocks, self.size[1])

    def _places(self, blocks: np.ndarray, phase: tuple[int, int]) -> np.ndarray:
        """Where a phase's values are, in the flattened rows and columns of the level: (n,)."""
        y, x = self._at(blocks)
        return (2 * y + phase[0]) * (2 * self.size[1]) + 2 * x + phase[1]

    def _code_flags(self) -> None:
        assert self.flags is not None
        h, w = self.size
        place = np.arange(h * w).reshape(h, w)
        inherited, parent = self.inherited.shape[1], 0 if self.parent is None else 9 * 18
        for k, (i, j) in enumerate(PHASES):
            blocks = place[i::2, j::2].ravel()
            y, x = self._at(blocks)
            rows = np.empty((len(blocks), inherited + parent + (25 * 2 if k else 0)), np.uint8)
            rows[:, :inherited] = self.inherited[blocks]
            if self.parent is not None:
                self.parent.neighbourhoods(y, x, 3, rows[:, inherited : inherited + parent])
            if k:
                self.flags.neighbourhoods(y, x, 5, rows[:, inherited + parent :])
            logits = self.nets.run(f"level{self.level}.flags.{k}", rows)[0].astype(np.int32)
            flags = self.coder.flags(FlagGroup(self.level, blocks), logits)
            self.flags.inner[i::2, j::2] = (flags * np.uint8(FLAG_INPUT)).reshape(h // 2, w // 2, 2)

    def _features(self, blocks: np.ndarray) -> np.ndarray:
        y, x = self._at(blocks)
        parts = [(self.contrast, 3)]
        if self.parent is not None:
            parts.append((self.parent, 3))
        if self.flags is not None:
            parts.append((self.flags, 3))
        return self.nets.run(f"level{self.level}.features", self._rows(self.inherited[blocks], parts, y, x))[0]

    @staticmethod
    def _rows(features: np.ndarray, maps: list[tuple[PaddedMap, int]], y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Features and neighbourhoods, of some sizes, of maps on the same grid."""
        sizes = [size * size * source.data.shape[2] for source, size in maps]
        start = features.shape[1]
        rows = np.empty((len(features), start + sum(sizes)), np.uint8)
        rows[:, :start] = features
        for (source, size), count in zip(maps, sizes, strict=True):
            source.neighbourhoods(y, x, size, rows[:, start : start + count])
            start += count
        return rows

    def _flag_rows(self, blocks: np.ndarray) -> np.ndarray:
        rows = np.empty((len(blocks), _FLAGS if self.flags is not None else 0), np.uint8)
        if self.flags is not None:
            self.flags.neighbourhoods(*self._at(blocks), 3, rows)
        return rows

    def _code_luma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        self._phases("luma", LUMA, blocks, features, self.luma, 5, [])

    def _code_dense_chroma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        decoded = PaddedMap(2 * self.size[0], 2 * self.size[1], 12, 1)
        self._phases("chroma", CHROMA, blocks, features, decoded, 3, [(self.luma, 3)])

    def _phases(
        self,
        part: str,
        channels: slice,
        blocks: np.ndarray,
        features: np.ndarray,
        decoded: PaddedMap,
        size: int,
        others: list[tuple[PaddedMap, int]],
    ) -> None:
        """Four phases of one part's values. decoded: their map, to be filled; others: what is decoded already."""
        flags, (by, bx) = self._flag_rows(blocks), self._at(blocks)
        groups = luma_channels(self.nets.config) if part == "luma" else chroma_channels(self.nets.config)
        for k, phase in enumerate(PHASES):
            y, x = 2 * by + phase[0], 2 * bx + phase[1]
            maps = [*([(decoded, size)] if k else []), *others]
            rows = np.concatenate((self._rows(features, maps, y, x), flags), 1)
            places = self._places(blocks, phase)
            values = self.nets.code(
                f"level{self.level}.{part}.{k}",
                rows,
                self.coder.values,
                self.level,
                channels.start,
                groups,
                places[:, None],
            )[:, 0]
            self.out[places, channels] = values
            inputs = np.empty((len(values), decoded.data.shape[2]), np.uint8)
            self.nets.look_up.values(values, inputs)
            decoded.inner[y, x] = inputs

    def _code_chroma(self, blocks: np.ndarray, features: np.ndarray) -> None:
        h, w = self.size
        luma = PaddedMap(h, w, 24, 1)
        luma.inner[...] = space_to_depth(self.luma.inner).reshape(h, w, 24)
        rows = np.concatenate((self._rows(features, [(luma, 3)], *self._at(blocks)), self._flag_rows(blocks)), 1)
        places = np.stack([self._places(blocks, phase) for phase in ((0, 0), (0, 1), (1, 0), (1, 1))], 1)
        groups = chroma_channels(self.nets.config)
        values = self.nets.code(
            f"level{self.level}.chroma", rows, self.coder.values, self.level, CHROMA.start, groups, places
        )
        self.out[places, CHROMA] = values

    def _inherit(self, features: np.ndarray) -> np.ndarray:
        h, w = self.size
        up = self.nets.run(f"level{self.level}.up", features)[0].reshape(h, w, 2, 2, -1)
        return np.ascontiguousarray(up.transpose(0, 2, 1, 3, 4)).reshape(4 * h * w, -1)
