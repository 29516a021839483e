"""A cache of fixed tokens of the shipped `swin` model, which context models are trained on: the `cache` command of
train_context.py.

Shards of SHARD crops, NNNN.npz, hold int16 subbands of a batch and `steps`, the step of each crop; val.npz holds the
central crops of validation pictures, all of them at each of STEPS.
"""

from __future__ import annotations

import argparse
import math
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitcodec import Codec
from vitcodec.options import QUALITIES
from vitcodec.picture import Picture
from vitcodec.quality import step_of
from vitcodec.subbands import LEVELS, Subbands
from vitcodec.training.data import Crops, read_images, validation_crops

MODEL = "swin"
STEPS = 120.0, 64.0, 32.0, 12.0  # quantisation steps in 8-bit levels that are validated
CROP = 256  # pixels along a side
SHARD, PAIR = 40, 2  # crops in a file; crops that are searched at once
KINDS = 1, 1, 2, 3  # efforts of a shard's pairs, equally often
VALIDATION, VALIDATION_CROPS, VALIDATION_EFFORT = "val.npz", 16, 2


def save_tokens(path: Path, tokens: list[Subbands], steps: list[float]) -> None:
    """Tokens of batches, and the step of each crop, into one file; it is there at once or not at all."""
    bands = {"low": [t.low for t in tokens]} | {f"level{k}": [t[k] for t in tokens] for k in range(1, LEVELS + 1)}
    arrays = {k: torch.cat(v).to(torch.int16).cpu().numpy() for k, v in bands.items()}
    temporary = path.with_suffix(".partial.npz")
    np.savez_compressed(temporary, steps=np.array(steps, np.float32), **arrays)
    temporary.replace(path)


def load_tokens(paths: list[Path]) -> tuple[Subbands, Tensor]:
    """The crops of files: int16 tokens of one batch, steps (N,) in 8-bit levels."""
    parts = [dict(np.load(path)) for path in paths]

    def joined(key: str) -> Tensor:
        return torch.from_numpy(np.concatenate([part[key] for part in parts]))

    return Subbands(joined("low"), tuple(joined(f"level{k}") for k in range(1, LEVELS + 1))), joined("steps")


class Tokeniser:
    """What the shipped encoder makes of crops."""

    def __init__(self, device: str):
        self.codec = Codec.from_pretrained(MODEL, device=device)

    def __call__(self, images: Tensor, quality: int, effort: int) -> Subbands:
        """Images (B, H, W, 3) in 0..255 -> int32 tokens as `effort` chooses them."""
        pictures = (Picture(image) for image in images.byte().cpu().numpy())
        found = (self.codec.encode_tokens(p, quality=quality, effort=effort).bands for p in pictures)
        first, *rest = (tokens.map(torch.as_tensor) for tokens in found)
        return first.combine(lambda *parts: torch.cat(parts), *rest)


def cache(arguments: argparse.Namespace) -> None:
    """Add shards to the folder until it holds `count` crops."""
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenise = Tokeniser(arguments.device)
    if not (folder / VALIDATION).exists():
        images = validation_crops(read_images([arguments.val]), CROP, VALIDATION_CROPS).to(arguments.device)
        tokens, steps = [], []
        for step in STEPS:
            quality = min(QUALITIES, key=lambda q: abs(math.log(step_of(q) / step)))
            for pair in images.split(PAIR):
                tokens.append(tokenise(pair, quality, VALIDATION_EFFORT))
                steps += [step_of(quality)] * len(pair)
        save_tokens(folder / VALIDATION, tokens, steps)
    images = list(read_images(arguments.data))
    for number in range(-(-arguments.count // SHARD)):
        path = folder / f"{number:04}.npz"
        if path.exists():
            continue
        start, rng, crops = time.time(), np.random.default_rng(number), Crops(images, number, arguments.device)
        pairs, tokens, steps = SHARD // PAIR, [], []
        kinds = rng.permutation(np.resize(KINDS, pairs))
        for k, effort in enumerate(kinds):  # a stratum of the qualities for each pair
            quality = QUALITIES[int((k + rng.random()) * len(QUALITIES) / pairs)]
            tokens.append(tokenise(crops.batch(PAIR, CROP), quality, int(effort)))
            steps += [step_of(quality)] * PAIR
        save_tokens(path, tokens, steps)
        print(f"{datetime.now():%H:%M:%S} {path.name}: {SHARD} crops in {time.time() - start:.0f} s", flush=True)
