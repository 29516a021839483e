"""What --effort buys: BD-rate and time of every effort against effort 1, on crops of held-out images, by the sizes of real files.

python benchmarks/effort.py val.tar --efforts 1 2 3 5 9
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from vitcodec import Codec
from vitcodec.evaluation.bdrate import bd_rate
from vitcodec.images import Picture
from vitcodec.metrics import psnr
from vitcodec.training.data import read_images, validation_crops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder or tar of images")
    parser.add_argument("--efforts", type=int, nargs="+", default=[1, 2, 3, 5, 7, 9])
    parser.add_argument("--qualities", type=int, nargs="+", default=[10, 30, 50, 70])
    parser.add_argument("--count", type=int, default=8, help="of crops")
    parser.add_argument("--size", type=int, default=256, help="of a crop in pixels")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()

    codec = Codec.load(arguments.model, "cpu", arguments.threads)
    images = [i for i in read_images([arguments.data]) if min(i.shape[:2]) >= arguments.size]
    crops = validation_crops(iter(images[:: max(1, len(images) // arguments.count)]), arguments.size, arguments.count)
    pictures = [Picture(crop.numpy().astype(np.uint8), None, False, None, None, None, []) for crop in crops]
    curves, seconds = {}, {}
    for effort in arguments.efforts:
        curves[effort], spent = [], 0.0
        for quality in arguments.qualities:
            points = []
            for picture in pictures:
                began = time.process_time()
                data = codec.encode(picture, quality, effort)
                spent += time.process_time() - began
                points.append((8 * len(data) / arguments.size**2, psnr(picture.rgb, codec.decode(data).rgb)))
            curves[effort].append(tuple(np.mean(points, 0).tolist()))
        seconds[effort] = spent / (len(pictures) * len(arguments.qualities) * arguments.size**2 / 1e6)
        change = bd_rate(curves[arguments.efforts[0]], curves[effort])
        points = "; ".join(f"{bpp:.4f} bpp {db:.2f} dB" for bpp, db in curves[effort])
        print(f"| {effort} | {change:+.2f} | {seconds[effort]:.1f} | {points} |", flush=True)


if __name__ == "__main__":
    main()
