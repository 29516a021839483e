"""A part of one picture, original and as each family decodes it at the same size: docs/families.jpg and its figures."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from vitcodec import target
from vitcodec.codec import Codec
from vitcodec.images import read_image
from vitcodec.metrics import psnr
from vitcodec.options import EncodeOptions

from ..harness import one
from ..images import EXAMPLES, SMALL, one_image
from ..store import Results
from .families import MODELS as MODELS

IMAGE = "astronaut.png"
CROP = (130, 20, 220, 220)  # x, y, width and height of what is shown
RATE = 0.3  # bits per pixel
DOCS = Path(__file__).parent.parent.parent / "docs"


def run(arguments: argparse.Namespace) -> Results:
    file = one_image(arguments, EXAMPLES / (SMALL if arguments.quick else IMAGE))
    options = EncodeOptions(effort=one(arguments.effort, 1, "effort"))
    picture = read_image(file)
    pixels = picture.rgb[..., 0].size
    parts, rows = [picture.rgb], []
    for model in arguments.models[: 1 if arguments.quick else None]:
        codec = Codec.from_pretrained(model, arguments.device, arguments.threads)
        result = target.encode(codec, picture, target.Target(size=RATE * pixels / 8), options)
        parts.append(codec.decode(result.data).rgb)
        bpp = 8 * len(result.data) / pixels
        rows.append({"model": model, "bpp": round(bpp, 4), "psnr": round(psnr(picture.rgb, parts[-1]), 2)})
        print(rows[-1], flush=True)
    x, y, width, height = CROP
    cut = [np.pad(p[y : y + height, x : x + width], ((0, 0), (0, 4), (0, 0)), constant_values=255) for p in parts]
    folder = arguments.store.folder if arguments.quick else DOCS
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(cut, 1)).save(folder / "families.jpg", quality=93, subsampling=0)
    return {"image": file.name, "bits_per_pixel": RATE, "rows": rows}
