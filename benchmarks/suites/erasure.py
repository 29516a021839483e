"""PSNR with tokens erased at random: the low band filled with its mean, interpolated, and corrected by a model.

Mean filling and interpolation are followed by the inverse wavelet alone. Interpolation is what every family starts
from.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vitcodec.images import read_image
from vitcodec.metrics import psnr
from vitcodec.models import erasure
from vitcodec.models.autoencoder import Autoencoder
from vitcodec.options import EncodeOptions
from vitcodec.pretrained import loading, registry
from vitcodec.subbands import Subbands
from vitcodec.tiles import PAD, SITE

from ..harness import one
from ..images import image_files
from ..store import Results

MODELS = ("beit",)
SHARES = 0.0, 0.1, 0.3, 0.5


class MeanFilling(Autoencoder):
    """Mean filling in place of everything else."""

    def restore(self, latents: Subbands, step: Tensor, erased: Tensor | None = None) -> Subbands:
        bands = super().restore(latents, step)
        return bands if erased is None else erasure.fill(bands, erased, erasure.mean)


@torch.no_grad()
def run(arguments: argparse.Namespace) -> Results:
    name = one(arguments.models, "", "model")
    quality = one(arguments.qualities, EncodeOptions.quality, "quality")
    model, _ = loading.load_floats(registry.find(name))
    plain, mean = Autoencoder(), MeanFilling()
    for copy in (plain, mean):
        copy.load_state_dict({"gain": model.gain, "inverse_gain": model.inverse_gain})
    methods: dict[str, Callable[..., Tensor]] = {
        "mean filling": mean.decode,
        "interpolation": plain.decode,
        name: model.decode,
    }
    step = model.steps[quality - 1 : quality]
    sums = np.zeros((len(SHARES), len(methods)))
    with image_files(arguments) as files:
        for n, path in enumerate(files):
            rgb = read_image(path).rgb
            height, width = (side // PAD * PAD for side in rgb.shape[:2])
            rgb = rgb[:height, :width]
            latents = model.encode(torch.from_numpy(rgb.copy()).float()[None], step).map(torch.round)
            for i, share in enumerate(SHARES):
                generator = torch.Generator().manual_seed(n)
                erased = erasure.random_erasure(1, height // SITE, width // SITE, share, generator)
                for j, decode in enumerate(methods.values()):
                    image = decode(latents, step, erased if share else None)[0]
                    sums[i, j] += psnr(rgb, image.round().clamp(0, 255).to(torch.uint8).numpy())
    rows = [
        {"erased": share} | {method: round(total / len(files), 2) for method, total in zip(methods, row, strict=True)}
        for share, row in zip(SHARES, sums.tolist(), strict=True)
    ]
    print(*rows, sep="\n")
    return {"images": len(files), "quality": quality, "model": name, "rows": rows}
