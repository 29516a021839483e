"""Write a run's averaged weights that join the encoder and context model of one model to the decoder of another.

    python dev/join.py runs/joined --encoder swin-ms-ssim --decoder swin --tune ms-ssim
    vitcodec train DATA... --init run:runs/joined --tune ms-ssim --decoder-only --lr 8e-4 --time-limit 44m

made `swin-ms-ssim-2`. Both are models of one family. The encoder grows to what the other has, by blocks
without effect, whose other weights are random.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from vitcodec.pretrained import registry
from vitcodec.training.config import PARTS, TrainingConfig
from vitcodec.training.package import load_training_model
from vitcodec.training.parts import write_average
from vitcodec.training.start import grown, starting_point

GROWN = "blocks", "convolutions"  # settings of the U-Net
TAKEN = (*PARTS["analysis"], *PARTS["gains"], *PARTS["entropy"])  # beginnings of names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", required=True, help="a model, whose encoder and context model are taken")
    parser.add_argument("--decoder", required=True, help="a model, whose decoder is taken")
    parser.add_argument("--tune", default=TrainingConfig.tune, help="what it will be trained for")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    start = starting_point(arguments.decoder, None, {}, [], 0)
    settings = start.model.description["transform"]
    encoder = load_training_model(registry.find(arguments.encoder))
    own = grown(encoder, {"transform": {name: settings[name] for name in GROWN}}).state_dict()
    weights = {k: own[k] if k.startswith(TAKEN) else v for k, v in start.model.state_dict().items()}
    counters = {"steps": 0, "seconds": 0.0, "pixels": 0, "reserve": 0.0}
    config = TrainingConfig(start=f"{arguments.encoder}, decoder of {arguments.decoder}", tune=arguments.tune)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    metadata = {**counters, "config": asdict(config), "model": start.model.description}
    write_average(arguments.folder, weights, start.gauge.largest, metadata)


if __name__ == "__main__":
    main()
