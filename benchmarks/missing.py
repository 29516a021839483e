"""PSNR with tokens missing: mean filling, interpolation alone, and a model.

    python benchmarks/missing.py PATH/TO/images -m beit -q 50

The mean filling and the interpolation are followed by the inverse wavelet alone. `interpolation` is what every family starts from.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitcodec.codec import Codec
from vitcodec.images import read_image
from vitcodec.metrics import psnr
from vitcodec.models import erasure, untrained
from vitcodec.models.autoencoder import Autoencoder
from vitcodec.pretrained import registry
from vitcodec.wavelet import Subbands

SHARES = 0.0, 0.1, 0.3, 0.5


class Filled(Autoencoder):
    """Mean filling in place of everything else."""

    def restore(self, latents: Subbands, step: Tensor, gone: Tensor | None = None) -> Subbands:
        bands = super().restore(latents, step)
        return bands if gone is None else erasure.fill(bands, gone, erasure.mean)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-m", "--model", default="beit", help="a model, or an untrained family or preset")
    parser.add_argument("-q", "--quality", type=int, default=50)
    arguments = parser.parse_args()

    # an untrained family takes its latents from the flagship's gains of the wavelet: none
    model = (
        untrained(arguments.model)
        if registry.is_preset(arguments.model)
        else Codec.load(arguments.model, "cpu").autoencoder
    )
    plain, mean = Autoencoder(), Filled()
    for copy in (plain, mean):
        copy.load_state_dict({"gain": model.gain, "inverse_gain": model.inverse_gain})
    methods: dict[str, Callable[..., Tensor]] = {
        "mean filling": mean.decode,
        "interpolation": plain.decode,
        arguments.model: model.decode,
    }

    sums = np.zeros((len(SHARES), len(methods)))
    paths = sorted(arguments.folder.glob("*.png"))
    step = model.steps[arguments.quality - 1 : arguments.quality]
    for n, path in enumerate(paths):
        rgb = read_image(path).rgb
        height, width = (side // 32 * 32 for side in rgb.shape[:2])
        rgb = rgb[:height, :width]
        latents = model.encode(torch.from_numpy(rgb.copy()).float()[None], step).map(torch.round)
        for i, share in enumerate(SHARES):
            gone = erasure.random_erasure(1, height // 16, width // 16, share, torch.Generator().manual_seed(n))
            for j, decode in enumerate(methods.values()):
                image = decode(latents, step, gone if share else None)[0]
                sums[i, j] += psnr(rgb, image.round().clamp(0, 255).to(torch.uint8).numpy())
    print(f"{len(paths)} images, quality {arguments.quality}, mean PSNR in dB")
    print("| tokens missing |", " | ".join(methods), "|")
    print("|---|", "---|" * len(methods), sep="")
    for share, row in zip(SHARES, sums / len(paths), strict=True):
        print(f"| {share:.0%} |", " | ".join(f"{value:.2f}" for value in row), "|")


if __name__ == "__main__":
    main()
