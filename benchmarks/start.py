"""What the wavelet start alone does, before any training of a transform, with the entropy model and the gains of trained weights.

    python benchmarks/start.py PATH/TO/kodak -q 20,50,80 [-m swin-s]

Every family and preset starts here, as its corrections are zero. The rate is that of real files; PSNR is that of the real tokens decoded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vitcodec.codec import Codec
from vitcodec.images import read_image
from vitcodec.metrics import psnr
from vitcodec.pretrained import registry
from vitcodec.training.package import load_training_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-m", "--model", default="vit", help="a family or preset")
    parser.add_argument("-q", "--quality", default="20,50,80")
    arguments = parser.parse_args()

    codec = Codec.load("swin", "cpu")
    codec.autoencoder = load_training_model(registry.find("swin"), arguments.model).autoencoder.eval()
    pictures = [read_image(path) for path in sorted(arguments.folder.glob("*.png"))]
    print(f"{arguments.model}, {len(pictures)} images")
    for quality in map(int, arguments.quality.split(",")):
        points = []
        for picture in pictures:
            data = codec.encode(picture, quality)
            points.append((8 * len(data) / picture.rgb[..., 0].size, psnr(picture.rgb, codec.decode(data).rgb)))
        rate, quality_db = np.mean(points, 0)
        print(f"quality {quality}: {rate:.3f} bpp, {quality_db:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
