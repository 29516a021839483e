"""What tuning for MS-SSIM gives and costs: two models on the same images, BD-rates in both measures, by the sizes of real files.

    python benchmarks/tune.py PATH_TO_KODAK [--models swin swin-ms-ssim] [--efforts 1 1] [--threads 1]

Rate, PSNR and MS-SSIM are means over the images; MS-SSIM enters BD-rates as -10 log10(1 - MS-SSIM).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vitcodec import Codec
from vitcodec.evaluation.bdrate import bd_rate
from vitcodec.evaluation.report import markdown_table
from vitcodec.images import Picture
from vitcodec.metrics import ms_ssim, ms_ssim_decibels, psnr
from vitcodec.training.data import read_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder or tar of images")
    parser.add_argument("--models", nargs=2, default=["swin", "swin-ms-ssim"])
    parser.add_argument("--qualities", type=int, nargs="+", default=[5, 20, 40, 60, 80])
    parser.add_argument("--efforts", type=int, nargs=2, default=[1, 1], help="of the two models")
    parser.add_argument("--count", type=int, help="of images, default all")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()

    images = list(read_images([arguments.data]))[: arguments.count]
    curves, rows = [], []
    for model, effort in zip(arguments.models, arguments.efforts, strict=True):
        codec, curve = Codec.load(model, "cpu", arguments.threads), []
        for quality in arguments.qualities:
            points = []
            for image in images:
                data = codec.encode(Picture(image, None, False, None, None, None, []), quality, effort)
                decoded = codec.decode(data).rgb
                points.append((8 * len(data) / image[..., 0].size, psnr(image, decoded), ms_ssim(image, decoded)))
            bpp, db, similarity = np.mean(points, 0)
            curve.append((bpp, db, float(np.mean([ms_ssim_decibels(p[2]) for p in points]))))
            rows.append((model, str(effort), str(quality), f"{bpp:.4f}", f"{db:.2f}", f"{similarity:.4f}"))
            print(*rows[-1], flush=True)
        curves.append(curve)
    print("\n".join(markdown_table(("model", "effort", "quality", "bits per pixel", "PSNR (dB)", "MS-SSIM"), rows, 1)))
    for name, axis in (("PSNR", 1), ("MS-SSIM", 2)):
        change = bd_rate(*([(point[0], point[axis]) for point in curve] for curve in curves))
        print(f"{change:+.1f} % in {name}: the second against the first")


if __name__ == "__main__":
    main()
