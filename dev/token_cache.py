"""Write the folder that `vitcodec train --tokens` trains on: crops with the tokens that a model's encoder chooses.

    python dev/token_cache.py runs/tokens shared/data/train/train-0*.tar --val shared/data/train/val.tar --count 6000

A shard, NNNN.npz, holds SHARD random crops, each at a random quality of its own stratum; four in five are searched at
the default effort, the others rounded. Shards are added until there are that many crops; a stopped run goes on with the
next. Several processes write one folder if each has a --first of its own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitcodec import Codec
from vitcodec.options import QUALITIES, EncodeOptions
from vitcodec.picture import Picture
from vitcodec.quality import step_of
from vitcodec.subbands import Subbands
from vitcodec.training.data import Crops, read_images, validation_crops
from vitcodec.training.samples import Samples
from vitcodec.training.token_cache import VALIDATION, write_shard
from vitcodec.training.validation import CODED_QUALITIES

CROP = 256  # pixels along a side
SHARD = 40  # crops in a file
DEFAULT_EFFORT = EncodeOptions().effort
SEARCHED = 0.8  # share of the crops that are searched
VALIDATION_CROPS = 24


def chosen(codec: Codec, images: np.ndarray, qualities: list[int], efforts: list[int]) -> Samples:
    """Crops (N, H, W, 3) uint8 with the tokens that the encoder chooses for them."""
    found: list[Subbands] = []
    for image, quality, effort in zip(images, qualities, efforts, strict=True):
        tokens = codec.encode_tokens(Picture(image), quality=quality, effort=effort).bands
        found.append(tokens.map(torch.as_tensor))
    first, *rest = found
    joined = first.combine(lambda *parts: torch.cat(parts), *rest)
    return Samples(torch.from_numpy(images), torch.tensor([step_of(q) for q in qualities]), joined)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the crops go")
    parser.add_argument("data", type=Path, nargs="+", help="tars or folders of images")
    parser.add_argument("--val", type=Path, required=True, help="a tar or folder of images to validate on")
    parser.add_argument("--count", type=int, default=6000, help="crops of this process, with those that are there")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--model", default="swin", help="whose encoder chooses")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    codec = Codec.from_pretrained(arguments.model, device="cpu", threads=arguments.threads)

    def write(path: Path, crops: Tensor, qualities: list[int], efforts: list[int]) -> None:
        start = time.monotonic()
        write_shard(path, chosen(codec, crops.byte().numpy(), qualities, efforts))
        print(f"{path}: {len(crops)} crops in {time.monotonic() - start:.0f} s", flush=True)

    if not (arguments.folder / VALIDATION).exists():
        held = validation_crops(read_images([arguments.val]), CROP, VALIDATION_CROPS)
        qualities = [quality for quality in CODED_QUALITIES for _ in held]
        everything = held.repeat(len(CODED_QUALITIES), 1, 1, 1)
        write(arguments.folder / VALIDATION, everything, qualities, [DEFAULT_EFFORT] * len(qualities))
    images = list(read_images(arguments.data))
    for number in range(arguments.first, arguments.first - (-arguments.count // SHARD)):
        path = arguments.folder / f"{number:04}.npz"
        if path.exists():
            continue
        rng, crops = np.random.default_rng(number), Crops(images, number)
        strata = (rng.permutation(SHARD) + rng.random(SHARD)) / SHARD
        qualities = [QUALITIES[int(stratum * len(QUALITIES))] for stratum in strata]
        efforts = [DEFAULT_EFFORT if rng.random() < SEARCHED else 1 for _ in qualities]
        write(path, crops.batch(SHARD, CROP), qualities, efforts)


if __name__ == "__main__":
    main()
