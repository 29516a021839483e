"""What tokens attend to in the analysis of each family, how much of a file's size that saves, and docs/attention.webp.

Figures of maps are means over tokens of the photographs in examples/, evenly spaced. Sizes are those of files with and
without what attention adds to the features of the analysis, as BD-rate in PSNR; the network was not trained to do
without. Both are made with the analysis in floating point.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from vitcodec.attention import AttentionMap
from vitcodec.bitstream import container
from vitcodec.codec import Codec
from vitcodec.evaluation.attention import AttentionView, ModelAttention, backdrop, heat
from vitcodec.evaluation.bdrate import bd_rate
from vitcodec.images import read_image
from vitcodec.metrics import psnr
from vitcodec.models.blocks import WindowBlock
from vitcodec.models.tokens import TransformerBlock
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.pipeline.floats import FloatTransform

from ..harness import one
from ..images import EXAMPLES, SMALL
from ..store import Results

MODELS = ("swin", "vit", "beit")
PHOTOS = ("astronaut.png", SMALL, "coffee.png")
QUALITIES = (20, 40, 60, 80)
GRID = 4  # tokens of a photograph whose maps are measured: GRID x GRID
TOKEN = (225, 100)  # of the first photograph, whose maps are drawn: an eye
DOCS = Path(__file__).parent.parent.parent / "docs"
GAP, LABEL = 6, 20  # pixels of the figure: between maps, and for the text above each


def run(arguments: argparse.Namespace) -> Results:
    effort = one(arguments.effort, 1, "effort")  # what is compared are transforms, not searches
    files = [EXAMPLES / name for name in ((SMALL,) if arguments.quick else PHOTOS)]
    pictures = [read_image(file) for file in files]
    models, drawn = {}, []
    for index, name in enumerate(arguments.models[: 1 if arguments.quick else None]):
        codec = Codec.from_pretrained(name, arguments.device, arguments.threads)
        maps = codec.attention_maps(pictures[0], TOKEN, EncodeOptions.quality)
        drawn.append(ModelAttention(codec.name, index, EncodeOptions.quality, maps))
        models[codec.name] = {
            "blocks": _blocks(codec, pictures, 1 if arguments.quick else GRID),
            "without_attention": _without(codec, pictures, arguments.qualities or QUALITIES, effort),
        }
        print(codec.name, models[codec.name], flush=True)
    folder = arguments.store.folder if arguments.quick else DOCS
    folder.mkdir(parents=True, exist_ok=True)
    picture = figure(AttentionView(pictures[0].rgb, *TOKEN, False, drawn))
    Image.fromarray(picture).save(folder / "attention.webp", quality=85, method=6)
    return {
        "images": [file.name for file in files],
        "drawn": files[0].name,
        "token": TOKEN,
        "quality": EncodeOptions.quality,
        "tokens": GRID**2 * len(files),
        "effort": effort,
        "models": models,
    }


def _blocks(codec: Codec, pictures: list[Picture], grid: int) -> list[dict[str, Any]]:
    """Means over tokens, of each block."""
    found = []
    for picture in pictures:
        height, width = picture.rgb.shape[:2]
        for k in range(grid**2):
            place = int((k % grid + 0.5) * width / grid), int((k // grid + 0.5) * height / grid)
            found.append(codec.attention_maps(picture, place, EncodeOptions.quality))
    return [
        {
            "layer": maps[0].layer,
            "kind": maps[0].kind,
            "distance": round(statistics.fmean(m.distance() for m in maps), 2),
            "even_distance": round(statistics.fmean(_even(m).distance() for m in maps), 2),
            "near": round(statistics.fmean(map(_near, maps)), 4),
            "largest": round(statistics.fmean(float(m.mean().max()) for m in maps), 4),
            "difference": round(statistics.fmean(m.difference() for m in maps), 4),
        }
        for maps in zip(*found, strict=True)
    ]


def _even(found: AttentionMap) -> AttentionMap:
    """The same with equal shares."""
    return replace(found, weights=np.full_like(found.weights, 1 / found.weights[0].size))


def _near(found: AttentionMap) -> float:
    """The share on the token itself and the eight around it."""
    side = found.token.width
    row, column = (found.token.y - found.region.y) // side, (found.token.x - found.region.x) // side
    return float(found.mean()[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].sum())


@torch.no_grad()
def _without(codec: Codec, pictures: list[Picture], qualities: tuple[int, ...], effort: int) -> float:
    """BD-rate of files whose analysis has no attention against those with it, the mean over the pictures."""
    autoencoder = codec._latents().autoencoder
    transform = FloatTransform(autoencoder)

    def curve(picture: Picture) -> list[tuple[float, float]]:
        encoder = replace(codec._coder.encoder, analysis=transform.analysis())
        points = []
        for quality in qualities:
            options = EncodeOptions(quality=quality, effort=effort, coding="tokens")
            data = container.pack(encoder.encode(Picture(picture.rgb), options))
            points.append((8 * len(data) / picture.rgb[..., 0].size, psnr(picture.rgb, codec.decode(data).rgb)))
        return points

    curves = [curve(picture) for picture in pictures]
    for block in autoencoder.analysis.modules():
        if isinstance(block, WindowBlock | TransformerBlock):
            block.proj.weight.zero_()
            block.proj.bias.zero_()
    rates = [bd_rate(known, curve(picture)) for known, picture in zip(curves, pictures, strict=True)]
    return round(statistics.fmean(rates), 2)


def figure(view: AttentionView) -> np.ndarray:
    """A row of maps for each model, (H, W, 3) uint8."""
    x, y, width, height = view.shown
    columns = max(len(model.maps) for model in view.models)
    size = columns * (width + GAP) - GAP, len(view.models) * (height + LABEL + GAP) - GAP
    sheet, font = Image.new("RGB", size, "white"), ImageFont.load_default(14)
    gray = Image.fromarray(backdrop(view.rgb[y : y + height, x : x + width])).convert("RGBA")
    for row, model in enumerate(view.models):
        for column, found in enumerate(model.maps):
            left, top = column * (width + GAP), row * (height + LABEL + GAP)
            tile = gray.copy()
            region = found.region
            overlay = Image.fromarray(heat(found.mean())).resize(region[2:], Image.Resampling.NEAREST)
            layer = Image.new("RGBA", tile.size)
            layer.paste(overlay, (region.x - x, region.y - y))
            tile = Image.alpha_composite(tile, layer)
            draw = ImageDraw.Draw(tile)
            for box in (region, found.token):
                a, b = box.x - x, box.y - y
                c, d = a + box.width - 1, b + box.height - 1
                draw.rectangle((a - 1, b - 1, c + 1, d + 1), outline="black")
                draw.rectangle((a, b, c, d), outline="white")
            ImageDraw.Draw(sheet).text((left, top), f"{model.name}, block {column + 1}: {found.kind}", "black", font)
            sheet.paste(tile.convert("RGB"), (left, top + LABEL))
    return np.asarray(sheet)
