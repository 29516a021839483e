"""A folder of crops with the tokens that the encoder chose for them once: what --tokens trains on.

NNNN.npz and val.npz hold `images`, (N, S, S, 3) uint8; `steps`, (N,) float32 in 8-bit levels; and `low`, `level1` to
`level4`, the tokens as int16. val.npz has validation crops: all of them at one step, then all at the next, and so on.
`dev/token_cache.py` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..subbands import LEVELS, Subbands
from .samples import Samples

VALIDATION = "val.npz"


def write_shard(path: Path, samples: Samples) -> None:
    """One file, which is there at once or not at all. samples: with tokens."""
    assert samples.tokens is not None
    arrays = dict(zip(_names(), (t.to(torch.int16).cpu().numpy() for t in samples.tokens), strict=True))
    temporary = path.with_suffix(".partial.npz")
    np.savez_compressed(
        temporary,
        images=samples.image.byte().cpu().numpy(),
        steps=samples.step.float().cpu().numpy(),
        **arrays,
    )
    temporary.replace(path)


def read_shards(paths: Sequence[Path]) -> Samples:
    """What files hold, as one batch: uint8 images, int16 tokens. Raises InputError for what are no such files."""
    parts = []
    for path in paths:
        try:
            with np.load(path) as file:
                parts.append({name: file[name] for name in ("images", "steps", *_names())})
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: cannot be read as crops with tokens ({error}); take it out") from error

    def joined(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([part.pop(name) for part in parts]))

    low, *details = map(joined, _names())
    return Samples(joined("images"), joined("steps"), Subbands(low, tuple(details)))


def _names() -> list[str]:
    return ["low", *(f"level{k}" for k in range(1, LEVELS + 1))]


class Cached:
    """A source of batches out of a folder, a crop of each stratum of the steps that it holds.

    The first crop of a batch has one of the finest steps. `rng` is of the CPU. Raises InputError where the folder has
    no shards.
    """

    def __init__(self, folder: Path, count: int, seed: int, device: torch.device | str = "cpu"):
        paths = sorted(p for p in folder.glob("*.npz") if p.stem.isdigit())
        if not paths:
            raise InputError(f"{folder}: has no crops with tokens; dev/token_cache.py writes them")
        self.samples, self.count, self.device = read_shards(paths), count, device
        self.order = torch.argsort(self.samples.step)
        self.rng = torch.Generator().manual_seed(seed)

    def __call__(self) -> Samples:
        strata = (torch.arange(self.count) + torch.rand(self.count, generator=self.rng)) / self.count
        return self.samples.chosen(self.order[(strata * len(self.order)).long()]).on(self.device)


def validation_samples(folder: Path, count: int) -> list[Samples]:
    """The first `count` crops of the folder's val.npz: a batch for each step. Raises InputError."""
    if not (folder / VALIDATION).exists():
        raise InputError(f"{folder}: has no {VALIDATION}, the crops to validate on; dev/token_cache.py writes it")
    samples = read_shards([folder / VALIDATION])
    each = samples.step.unique_consecutive(return_counts=True)[1].tolist()
    if len(set(each)) != 1:
        raise InputError(f"{folder / VALIDATION}: not all steps have the same crops; write it anew")
    starts = range(0, len(samples.step), each[0])
    return [samples.chosen(torch.arange(start, start + min(count, each[0]))).on("cpu") for start in starts]
