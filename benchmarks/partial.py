"""What decoding a part costs: bytes read and time of every reduction and of a region, the model loaded.

python benchmarks/partial.py IMAGE [-q 60] [--threads 2] [--repeat 3]
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path

from vitcodec.codec import Codec
from vitcodec.images import read_image
from vitcodec.tiles import Region


class Counting(io.BytesIO):
    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("-q", "--quality", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()

    codec = Codec.load(device="cpu", threads=arguments.threads)
    picture = read_image(arguments.image)
    height, width = picture.rgb.shape[:2]
    data = codec.encode(picture, arguments.quality)
    print(
        f"{arguments.image.name}: {width}x{height}, quality {arguments.quality}, {len(data):,} bytes, median of {arguments.repeat}"
    )
    parts: list[tuple[str, int, Region | None]] = [(f"--reduce {n}", n, None) for n in range(5)]
    parts.append(("--region of 256x256", 0, Region(width // 4, height // 4, 256, 256)))
    whole = None
    for what, reduce, region in parts:
        seconds = []
        for _ in range(arguments.repeat):
            stream = Counting(data)
            start, cpu = time.perf_counter(), time.process_time()
            codec.decode(stream, reduce, region)
            seconds.append((time.perf_counter() - start, time.process_time() - cpu))
        wall, cpu = (statistics.median(s) for s in zip(*seconds, strict=True))
        whole = whole or (wall, cpu)
        faster = f"{whole[0] / wall:.1f} times as fast ({whole[1] / cpu:.1f} in CPU)"
        print(f"{what}: {stream.total:,} bytes read, {wall:.2f} s ({cpu:.2f} s of CPU), {faster}", flush=True)


if __name__ == "__main__":
    main()
