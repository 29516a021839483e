"""Encode and decode time of one image in this process: vitcodec, Pillow's codecs at the same size, and CompressAI's models if it is installed.

    python benchmarks/speed.py IMAGE [-q 50] [--threads 1 2] [--reps 9]

Times are medians after a warm-up, from array to bytes and back, without reading or writing files or loading a model. Pillow's codecs run on one
thread, each at the setting whose file is nearest in size to vitcodec's. CompressAI (pip install compressai; it needs numpy below 2) gives models
of the same class, autoregressive ones with and without attention, built with random weights: their time depends little on the weights, their rate
and quality mean nothing and are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vitcodec.codec import DEFAULT_QUALITY, Codec
from vitcodec.evaluation.baselines import BASELINES, OPTIONAL
from vitcodec.evaluation.engine import ImageCodec, Row, colours_of, measure
from vitcodec.evaluation.matching import match_size
from vitcodec.evaluation.provenance import provenance
from vitcodec.images import Picture, read_image

MODELS = (
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-attn",
)  # hyperprior alone; autoregressive; autoregressive with attention
STRIDE = 64  # to multiples of which CompressAI's models want sides padded


class CompressAI:
    """A model of CompressAI's zoo with random weights, in the shape of vitcodec's Codec. It decodes what it encoded last."""

    def __init__(self, name: str, quality: int, device: torch.device):
        from compressai.zoo import image_models

        torch.manual_seed(0)
        self.name, self.device = f"CompressAI {name}, quality {quality}, random weights", device
        self.model = image_models[name](quality=quality, pretrained=False).to(device).eval()
        self.model.update(force=True)
        self.coded: dict[str, Any] = {}

    @torch.no_grad()
    def encode(self, picture: Picture, quality: float) -> bytes:
        image = torch.from_numpy(picture.rgb).to(self.device).permute(2, 0, 1)[None].float() / 255
        height, width = image.shape[2:]
        self.coded = self.model.compress(F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate"))
        self.size = height, width
        return b"".join(text for group in self.coded["strings"] for text in _flat(group))

    @torch.no_grad()
    def decode(self, data: bytes) -> Picture:
        image = self.model.decompress(self.coded["strings"], self.coded["shape"])["x_hat"][
            0, :, : self.size[0], : self.size[1]
        ]
        return Picture(
            (image.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy().astype(np.uint8)
        )


def _flat(group: Any) -> list[bytes]:
    return [group] if isinstance(group, bytes) else [text for part in group for text in _flat(part)]


def timed(codec: ImageCodec, image: Path, picture: Picture, setting: float, reps: int) -> Row:
    codec.decode(codec.encode(picture, setting))
    with tempfile.TemporaryDirectory() as folder:
        return measure(codec, image, picture, setting, Path(folder), reps)


def say(name: str, row: Row, meaningful: bool = True) -> None:
    rates = (f"{row.bpp:.4f}", f"{row.psnr:.2f}") if meaningful else ("-", "-")
    speeds = (
        f"{row.encode_seconds:.3g}",
        f"{row.decode_seconds:.3g}",
        f"{row.encode_mps:.2f}",
        f"{row.decode_mps:.2f}",
    )
    print(f"| {' | '.join([name, *rates, *speeds])} |", flush=True)


def learned(
    models: Sequence[str], quality: int, image: Path, picture: Picture, device: torch.device, reps: int
) -> None:
    if importlib.util.find_spec("compressai") is None:
        print("\nCompressAI is not installed here: its models were left out.")
        return
    for name in models:
        model = CompressAI(name, quality, device)
        say(model.name, timed(model, image, picture, quality, reps), meaningful=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("-q", "--quality", type=int, default=DEFAULT_QUALITY)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--reps", type=int, default=9)
    parser.add_argument("--model")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--compressai", nargs="*", default=MODELS, metavar="NAME", help="models of its zoo; none to leave them out"
    )
    parser.add_argument("--compressai-quality", type=int, default=4)
    arguments = parser.parse_args()

    picture = colours_of(read_image(arguments.image))
    height, width = picture.rgb.shape[:2]
    print(f"{arguments.image.name}: {width}x{height}, median of {arguments.reps} runs\n")
    print("| codec | bits per pixel | PSNR (dB) | encode (s) | decode (s) | encode (MP/s) | decode (MP/s) |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for threads in arguments.threads:
        codec = Codec.load(arguments.model, arguments.device, threads)
        row = timed(codec, arguments.image, picture, arguments.quality, arguments.reps)
        say(f"vitcodec {codec.name}, quality {arguments.quality}, threads: {threads}", row)
    for baseline in (b for b in (*BASELINES, *OPTIONAL) if b.available()):
        setting = match_size(baseline, picture, row.bytes or 1)
        say(f"{baseline.name}, {setting:g}", timed(baseline, arguments.image, picture, setting, arguments.reps))
    if arguments.compressai:
        learned(
            arguments.compressai, arguments.compressai_quality, arguments.image, picture, codec.device, arguments.reps
        )
    print()
    for key, value in provenance(codec, shlex.join(["python", *sys.argv])).items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
