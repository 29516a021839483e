"""What the integer export costs: bits of the payloads against the float model's estimate for the same integers.

python benchmarks/export.py swin val.tar
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from vitcodec import Codec
from vitcodec.context.density import RateMeter
from vitcodec.context.model import FloatArithmetic
from vitcodec.pretrained import registry
from vitcodec.rdo import DEFAULT_EFFORT, ROUNDS, RDOSearch, rounded
from vitcodec.training.data import read_images, validation_crops
from vitcodec.training.package import load_training_model


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped model's name or local-dir:PATH, with its context-float.safetensors")
    parser.add_argument("data", type=Path, help="a folder or tar of images")
    parser.add_argument("--qualities", type=int, nargs="+", default=[5, 20, 35, 50, 65, 80, 95])
    parser.add_argument("--count", type=int, default=6, help="of crops of 256x256 pixels")
    parser.add_argument(
        "--effort", type=int, default=DEFAULT_EFFORT, help="what chooses the integers; tables are fitted to the default"
    )
    arguments = parser.parse_args()

    codec = Codec.load(arguments.model, "cpu")
    context = load_training_model(registry.find(arguments.model)).context
    crops = validation_crops(read_images([arguments.data]), 256, arguments.count)
    totals = [0.0, 0.0]
    for quality in arguments.qualities:
        step = codec.autoencoder.steps[quality - 1 : quality]
        estimated = coded = 0.0
        for crop in crops.split(1):
            # what is skipped comes back as zero, so both are counted for the integers that were coded
            latents = rounded(codec.autoencoder.encode(crop, step), codec.card.config["dead_zone"])
            if rounds := ROUNDS[arguments.effort]:
                latents = RDOSearch(codec.autoencoder, codec.entropy, quality)(crop, latents, rounds)
            payloads, integers = codec.entropy.encode(
                latents, quality, fitted=False
            )  # scale offsets are no part of the export
            values = integers.map(Tensor.float)
            meter = RateMeter(values, values, context.base, step)
            context.autoregressive_pass(FloatArithmetic(), context.step_features(step), *values.low.shape[1:3], meter)
            estimated += meter.bits().item()
            coded += 8 * sum(map(len, payloads.values()))
        print(
            f"quality {quality}: {estimated:,.0f} bits estimated, {coded:,.0f} coded, {100 * (coded / estimated - 1):+.2f} %",
            flush=True,
        )
        totals = [totals[0] + estimated, totals[1] + coded]
    print(f"all: {100 * (totals[1] / totals[0] - 1):+.2f} %")


if __name__ == "__main__":
    main()
