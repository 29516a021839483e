"""Data sets of tokens, for torch.utils.data.DataLoader or by themselves: docs/tokens.md."""

from __future__ import annotations

import bisect
import os
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import FormatError, InputError, UsageError
from .shards.finding import find_shards
from .shards.reading import Shard, open_shard
from .shards.samples import Sample

if TYPE_CHECKING:
    from torch.utils.data import Dataset, IterableDataset
else:
    try:
        from torch.utils.data import Dataset, IterableDataset
    except ImportError:  # the light installation
        Dataset = IterableDataset = object


class Item(dict):
    """What a data set gives: a dict of its own kind, by which DataLoader knows how to make batches of it."""


class _Cutting:
    """What both kinds of data sets do with a sample: cut, transform, name its fields."""

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        crop: tuple[int, int] | None,
        random_crop: bool,
        transform: Callable[[np.ndarray], Any] | None,
        strict: bool,
    ):
        if crop is not None and (len(crop) != 2 or min(crop) < 1):
            raise UsageError(f"crop {crop} is out of range; give (rows, columns) in sites of 16x16 pixels, from 1 on")
        self.paths = find_shards(source)
        self.crop, self.random_crop, self.transform, self.strict = crop, random_crop, transform, strict

    def _item(self, sample: Sample, shard: Shard) -> Item:
        tokens = sample.tokens
        if self.crop is not None:
            tokens = _cropped(tokens, self.crop, self.random_crop, f"{shard.path}: sample '{sample.key}'")
        label = {} if sample.label is None else {"label": sample.label}
        return Item(tokens=self.transform(tokens) if self.transform else tokens, key=sample.key, **label, **sample.info)

    def _opened(self, paths: Iterable[Path]) -> Iterator[Shard]:
        """The shards that can be read; a warning for each that cannot, or not wholly. Raises InputError if strict."""
        for path in paths:
            try:
                shard = open_shard(path)
                if self.strict and shard.damage:
                    raise InputError(shard.damage)
            except InputError as error:
                if self.strict:
                    raise
                _warn(str(error))
                continue
            if shard.damage:
                _warn(shard.damage)
            yield shard


class TokenDataset(_Cutting, Dataset):
    """Tokens by number: `len(data)`, `data[3]`, for DataLoader(data, batch_size=32, shuffle=True, num_workers=2).

    source: a folder, a tar or safetensors file of `vitcodec tokens`, a WebDataset tar whose samples have an .npz or
    .npy, a glob, a range such as "shard-{000000..000009}.tar", or a list of these. .vitc files are read too, each
    decoded when it is asked for, which is slow: write shards of them.

    An item is a dict: "tokens", int16 NumPy (768, rows, columns), as Tokens.to_grid has them; "key"; "label", an int,
    where there is one; and what the shard says of the picture: "width", "height", "quality", "model", ...

    crop: (rows, columns) in sites of 16x16 pixels, cut from the middle or with random_crop anywhere, by Python's
    `random`, which DataLoader seeds in its workers. transform: takes the tokens; its result takes their place.

    A shard that is cut off or damaged gives the samples that are whole, and one warning; with `strict` it raises
    InputError. A damaged sample raises FormatError when it is asked for. It may be pickled, and shared by processes.

    Raises InputError where nothing is found, UsageError.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        crop: tuple[int, int] | None = None,
        random_crop: bool = False,
        transform: Callable[[np.ndarray], Any] | None = None,
        strict: bool = False,
    ):
        super().__init__(source, crop, random_crop, transform, strict)
        self._shards = list(self._opened(self.paths))
        self._ends = list(accumulate(len(shard) for shard in self._shards))
        if not len(self):
            raise InputError(f"{self.paths[0]}: no samples could be read of it{_others(self.paths)}")

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Raises IndexError, FormatError for a damaged sample, InputError where a file is gone or too small to crop."""
        shard, within = self._place(index)
        return self._item(shard.sample(within), shard)

    def __repr__(self) -> str:
        return f"TokenDataset({len(self)} samples in {len(self._shards)} shards)"

    @property
    def keys(self) -> list[str]:
        """Of all samples, in order: the paths of the pictures, without suffix."""
        return [key for shard in self._shards for key in shard.keys]

    @property
    def classes(self) -> list[str]:
        """The names of the labels, by number; empty where the shards name none."""
        found = [list(shard.manifest.classes) for shard in self._shards if shard.manifest]
        return max(found, key=len, default=[])

    def _place(self, index: int) -> tuple[Shard, int]:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"sample {index} of {count}")
        index %= count
        number = bisect.bisect_right(self._ends, index)
        return self._shards[number], index - (self._ends[number - 1] if number else 0)

    @staticmethod
    def collate(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Items of one size -> a dict of a batch: tokens (B, 768, rows, columns) and labels as tensors.

        DataLoader does this by itself. Raises InputError for mixed sizes.
        """
        first = batch[0]
        for other in batch[1:]:
            if np.shape(other["tokens"]) != np.shape(first["tokens"]):
                a, b = (f"'{i['key']}' has {_sites(i['tokens'])}" for i in (first, other))
                raise InputError(
                    f"a batch mixes sizes: {a} sites, {b}; give the data set crop=(rows, columns), the loader "
                    "collate_fn=TokenDataset.collate_padded, or batch_size=1"
                )
        return _stacked(batch)

    @staticmethod
    def collate_padded(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """As collate, for items of any size: zeros fill what is right of and below the smaller ones.

        "mask", bool (B, rows, columns), is true where a picture is.
        """
        rows, columns = (max(np.shape(item["tokens"])[axis] for item in batch) for axis in (1, 2))
        padded = []
        for item in batch:
            tokens = np.asarray(item["tokens"])
            _, height, width = tokens.shape
            space = (0, rows - height), (0, columns - width)
            mask = np.pad(np.ones((height, width), bool), space)
            padded.append({**item, "tokens": np.pad(tokens, ((0, 0), *space)), "mask": mask})
        return _stacked(padded)


class IterableTokenDataset(_Cutting, IterableDataset):
    """Tokens one after the other, shard by shard: for more shards than one wants to open at the start.

    source, crop, random_crop, transform, strict and items: as of TokenDataset; a damaged sample is left out with a
    warning, or with `strict` raises FormatError.

    shuffle: how many samples are mixed, after the order of the shards is; 0 keeps the order of the files. The order
    depends on seed and epoch alone: call set_epoch before each. DataLoader's workers share the work, and so do the
    ranks of torch.distributed, if it is set up, or `rank` of `ranks`: shards are dealt out, or single samples where
    shards are fewer. Ranks get numbers of samples that may differ.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        shuffle: int = 0,
        seed: int = 0,
        rank: int | None = None,
        ranks: int | None = None,
        crop: tuple[int, int] | None = None,
        random_crop: bool = False,
        transform: Callable[[np.ndarray], Any] | None = None,
        strict: bool = False,
    ):
        super().__init__(source, crop, random_crop, transform, strict)
        if (rank is None) != (ranks is None) or not 0 <= (rank or 0) < (ranks or 1):
            raise UsageError(f"rank {rank} of {ranks} is not possible; give both, the rank from 0 on, or neither")
        self.shuffle, self.seed, self.epoch, self.rank, self.ranks = shuffle, seed, 0, rank, ranks

    def set_epoch(self, epoch: int) -> None:
        """Another order, the same in all processes. To be called before DataLoader starts its workers."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        mine, count = _consumer(self.rank, self.ranks)
        order = random.Random(f"{self.seed} {self.epoch}")
        paths = order.sample(self.paths, len(self.paths)) if self.shuffle else self.paths
        by_shard = len(paths) >= count
        places = self._places(paths[mine::count] if by_shard else paths)
        if not by_shard:
            places = (place for number, place in enumerate(places) if number % count == mine)
        spoilt = set[Path]()
        for shard, index in _mixed(places, self.shuffle, order):
            try:
                sample = shard.sample(index)
            except FormatError as error:
                if self.strict:
                    raise
                if shard.path not in spoilt:
                    _warn(f"{error}; it is left out, and others of this shard that are damaged")
                spoilt.add(shard.path)
                continue
            yield self._item(sample, shard)

    def _places(self, paths: Sequence[Path]) -> Iterator[tuple[Shard, int]]:
        for shard in self._opened(paths):
            for index in range(len(shard)):
                yield shard, index


def _mixed(places: Iterable[Any], size: int, order: random.Random) -> Iterator[Any]:
    """In an order that is random within a buffer of so many."""
    waiting: list[Any] = []
    for place in places:
        waiting.append(place)
        if len(waiting) > size:
            last = order.randrange(len(waiting))
            waiting[last], waiting[-1] = waiting[-1], waiting[last]
            yield waiting.pop()
    if size:
        order.shuffle(waiting)
    yield from waiting


def _consumer(rank: int | None, ranks: int | None) -> tuple[int, int]:
    """Which of how many processes this is, that share the samples: DataLoader's workers of all ranks."""
    try:
        from torch import distributed
        from torch.utils.data import get_worker_info
    except ImportError:
        return rank or 0, ranks or 1
    if rank is None or ranks is None:
        several = distributed.is_available() and distributed.is_initialized()
        rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if several else (0, 1)
    info = get_worker_info()
    workers, worker = (info.num_workers, info.id) if info else (1, 0)
    return rank * workers + worker, ranks * workers


def _cropped(tokens: np.ndarray, crop: tuple[int, int], anywhere: bool, name: str) -> np.ndarray:
    rest = [have - want for have, want in zip(tokens.shape[1:], crop, strict=True)]
    if min(rest) < 0:
        raise InputError(
            f"{name} has {_sites(tokens)} sites, fewer than crop {crop[0]}x{crop[1]}; "
            "give a smaller crop, or leave small pictures out"
        )
    top, left = (random.randint(0, n) if anywhere else n // 2 for n in rest)
    return tokens[:, top : top + crop[0], left : left + crop[1]]


def _sites(tokens: Any) -> str:
    return "x".join(map(str, np.shape(tokens)[1:]))


def _stacked(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
    from torch.utils.data import default_collate

    common = set.intersection(*(set(item) for item in batch))
    return default_collate([{key: value for key, value in item.items() if key in common} for item in batch])


def _others(paths: Sequence[Path]) -> str:
    return f", nor of {len(paths) - 1} others" if len(paths) > 1 else ""


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)


def _teach_loader() -> None:
    """Tell torch's default_collate how to make batches of items, so that mixed sizes get an error that helps."""
    try:
        from torch.utils.data._utils.collate import default_collate_fn_map
    except ImportError:
        return
    default_collate_fn_map[Item] = lambda batch, *, collate_fn_map=None: TokenDataset.collate(batch)


_teach_loader()
