"""Whether it pays to entropy-decode tiles at the same time, and to put small pictures of equal size through the model together.

    python benchmarks/parallel.py IMAGE [--threads 2] [--repeat 5]

IMAGE: cut into tiles of 512 pixels, at most four. Times are medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vitcodec import codec as codec_module
from vitcodec.codec import Codec
from vitcodec.images import Picture, read_image


def compare(ways: dict[str, Callable[[], object]], repeat: int) -> None:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(repeat + 1):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            if number:  # the first is a warm-up
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    for name, values in seconds.items():
        print(
            f"  {name}: {statistics.median(v[0] for v in values):.3f} s ({statistics.median(v[1] for v in values):.3f} s of CPU)",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()

    codec = Codec.load(device="cpu", threads=arguments.threads)
    codec.autoencoder.tile = 512
    rgb = read_image(arguments.image).rgb[:1024, :1024]
    data = codec.encode(Picture(np.ascontiguousarray(rgb)), 50)

    def tokens(workers: int) -> Callable[[], object]:
        def way() -> object:
            codec_module.WORKERS = workers
            return codec.tokens(data)

        return way

    print(f"tokens of {rgb.shape[1]}x{rgb.shape[0]} pixels in tiles of 512, {arguments.threads} threads")
    compare(
        {"one tile at a time": tokens(1), f"{arguments.threads} tiles at a time": tokens(arguments.threads)},
        arguments.repeat,
    )

    for side in (64, 128, 256):
        batch = torch.from_numpy(np.stack([rgb[:side, k : k + side] for k in range(8)])).float()
        step = codec.autoencoder.steps[49:50]

        def together(batch: torch.Tensor = batch, step: torch.Tensor = step) -> None:
            with torch.no_grad():
                codec.autoencoder.decode(
                    codec.autoencoder.encode(batch, step.expand(len(batch))), step.expand(len(batch))
                )

        def each(batch: torch.Tensor = batch, step: torch.Tensor = step) -> None:
            with torch.no_grad():
                for one in batch:
                    codec.autoencoder.decode(codec.autoencoder.encode(one[None], step), step)

        def whole(batch: torch.Tensor = batch) -> None:
            for one in batch:
                codec.decode(codec.encode(Picture(one.numpy().astype(np.uint8)), 50))

        print(
            f"8 pictures of {side}x{side}: analysis and synthesis, and for comparison everything from pixels to pixels"
        )
        compare({"one by one": each, "together": together, "everything, one by one": whole}, arguments.repeat)


if __name__ == "__main__":
    main()
