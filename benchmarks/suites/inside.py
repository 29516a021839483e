"""What layers make of one photograph, from pixels to bytes and back: docs/inside-*.webp and their figures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vitcodec.analysis import COLOUR, forward, round_tokens
from vitcodec.codec import Codec
from vitcodec.coding.groups import FLAGGED_LEVELS, FlagGroup, Group
from vitcodec.coding.prediction import flag_logits
from vitcodec.coding.tables import flag_class
from vitcodec.images import read_image
from vitcodec.metrics import psnr
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.search.costs import BITS, CostCoder, StepCosts
from vitcodec.search.pixel_error import in_pixels
from vitcodec.subbands import CODING_ORDER, Subbands
from vitcodec.tokens import Tokens
from vitcodec.training.integers import load_float

from .. import drawing
from ..harness import one
from ..images import EXAMPLES, one_image
from ..store import Results

IMAGE = "astronaut.png"  # 512x512 pixels, as the pages say
DOCS = Path(__file__).parent.parent.parent / "docs"
STAGES = {4: "encoder.0", 8: "encoder.1", 16: "encoder.2"}  # of the analysis: the last features of the way down
CHANNELS = 6  # shown of each
NEURONS, SHOWN = "decoder.0.0.mix", 4  # a convolution of the analysis, and how many of its neurons are shown
MAP = 128  # pixels along a side of a map's picture
HEAT = 384  # pixels along a side of what shows where the bits go
LOW_QUALITY = 20  # where the decoder's correction is easy to see
CROP = (130, 20, 220, 220)  # x, y, width and height of the part that shows it
DIFFERENCE = 6  # times as large as it is

Array = np.ndarray
Rows = list[list[Array]]


def run(arguments: argparse.Namespace) -> Results:
    file = one_image(arguments, EXAMPLES / IMAGE)
    codec = Codec.from_pretrained(arguments.models[0], "cpu", arguments.threads)
    options = EncodeOptions(effort=one(arguments.effort, EncodeOptions.effort, "effort"))
    picture = read_image(file)
    rgb, tokens = picture.rgb, codec.encode_tokens(picture, options)
    layers = Layers(codec.config, rgb, options.quality)
    channels, feature_rows = features(layers, rgb)
    neurons, neuron_rows = convolutions(layers)
    bits, coded = costs(codec, tokens)
    low, correction_row = corrected(codec, picture, EncodeOptions(LOW_QUALITY, options.effort))
    small = np.asarray(Image.fromarray(rgb).resize((HEAT, HEAT), Image.Resampling.LANCZOS))
    figures: dict[str, Rows] = {
        "wavelet": [[rgb, drawing.subband_square(forward(rgb))]],
        "features": feature_rows,
        "neurons": neuron_rows,
        "bits": [[small, drawing.enlarged(drawing.heat(bits), HEAT)]],
        "synthesis": [correction_row],
    }
    folder = arguments.store.folder if arguments.quick else DOCS
    for name, rows in figures.items():
        drawing.save(drawing.figure(rows), folder / f"inside-{name}.webp")
    return {
        "image": file.name,
        "width": rgb.shape[1],
        "height": rgb.shape[0],
        "quality": options.quality,
        "effort": options.effort,
        "bytes": len(codec.compress(tokens)),
        "psnr": round(psnr(rgb, codec.decode(tokens).rgb), 2),
        "changed": changed(codec, rgb, tokens),
        **coded,
        "features": {"channels": {str(stride): own for stride, own in channels.items()}},
        "neurons": {"layer": f"analysis.{NEURONS}", "channels": neurons},
        "correction": low,
    }


class Layers:
    """What layers of the analysis take in and give for a picture: arrays (h, w, channels), by the layers' names."""

    def __init__(self, config: PretrainedConfig, rgb: Array, quality: int):
        autoencoder = load_float(config)[0].autoencoder.eval()
        assert autoencoder.analysis is not None
        self.modules = dict(autoencoder.analysis.named_modules())
        self.inputs, self.outputs = dict[str, Array](), dict[str, Array]()
        for name in (*STAGES.values(), NEURONS):
            self.modules[name].register_forward_hook(lambda m, x, y, name=name: self._note(name, m, x[0], y))
        with torch.no_grad():
            autoencoder.encode(torch.from_numpy(rgb.copy())[None].float(), autoencoder.steps[quality - 1 : quality])

    def _note(self, name: str, module: nn.Module, x: Tensor, y: Tensor) -> None:
        order = (1, 2, 0) if isinstance(module, nn.Conv2d) else (0, 1, 2)
        self.inputs[name], self.outputs[name] = (t[0].permute(order).numpy() for t in (x, y))


def features(layers: Layers, rgb: Array) -> tuple[dict[int, list[int]], Rows]:
    """Channels at every stride, and a row for each: the picture at that resolution, then these channels' maps."""
    channels, rows = {}, []
    for stride, name in STAGES.items():
        maps = layers.outputs[name]
        channels[stride] = drawing.coherent(maps, CHANNELS)
        height, width = (n // stride for n in rgb.shape[:2])
        own = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BOX))
        shown = [own, *(drawing.signed(maps[..., channel]) for channel in channels[stride])]
        rows.append([drawing.enlarged(x, MAP) for x in shown])
    return channels, rows


def convolutions(layers: Layers) -> tuple[list[int], Rows]:
    """Neurons of a convolution, two a row: the map that each sees, its weights, the map that it makes."""
    before, after = layers.inputs[NEURONS], layers.outputs[NEURONS]
    kernels = layers.modules[NEURONS].weight.detach().numpy()[:, 0]  # type: ignore[operator, union-attr]
    channels = drawing.coherent(after, SHOWN)
    shown = []
    for c in channels:
        kernel = drawing.enlarged(drawing.weights(kernels[c]), MAP)
        edge = MAP - len(kernel)
        kernel = np.pad(kernel, ((edge // 2, edge - edge // 2),) * 2, constant_values=127)
        shown.append([drawing.enlarged(drawing.signed(before[..., c]), MAP), kernel])
        shown[-1].append(drawing.enlarged(drawing.signed(after[..., c]), MAP))
    space = np.zeros((MAP, 3 * drawing.GAP, 4), np.uint8)
    return channels, [[*shown[k], space, *shown[k + 1]] for k in range(0, SHOWN, 2)]


def changed(codec: Codec, rgb: Array, tokens: Tokens) -> Results:
    """How many integers the analysis makes differ from the rounded wavelet's, and the search from its latents'."""
    encoder, quality = codec._coder.encoder, tokens.quality
    whole = tokens.header.grid.whole
    latents, coefficients = encoder.analysis.with_coefficients(rgb, whole, whole, quality)
    plain, rounded = (round_tokens(bands, codec.config.dead_zone) for bands in (coefficients, latents))

    def differ(a: Subbands, b: Subbands) -> int:
        return sum(int((x != y).sum()) for x, y in a.zip(b))

    return {"by_analysis": differ(plain, rounded), "by_search": differ(rounded, tokens.bands)}


class Costs(CostCoder):
    """Beside what it notes itself, the bits of block flags and how many groups are coded.

    flag_bits: of each flagged level, of its blocks, (h * w,).
    """

    def __init__(self, *arguments: object):
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.groups, self.flag_bits = 0, dict[int, Array]()

    def values(self, group: Group, parameters: Array) -> Array:
        self.groups += 1
        return super().values(group, parameters)

    def flags(self, group: FlagGroup, logits: Array) -> Array:
        self.groups += 1
        flags = super().flags(group, logits)
        own = self.flag_bits.setdefault(group.level, np.zeros(len(self.flags_of[group.level])))
        for part, logit in enumerate(flag_logits(logits, flags[:, 0])):
            own[group.blocks] += self.costs.tables.flag_bits[flag_class(logit), flags[:, part].astype(int)]
        return flags


def costs(codec: Codec, tokens: Tokens) -> tuple[Array, Results]:
    """Bits of every token, (h, w), and what values of each level cost."""
    entropy, bands = codec._coder.encoder.entropy, tokens.bands
    point, (rows, columns) = entropy.point(tokens.quality), bands.grid
    coder = Costs(bands.map(np.ascontiguousarray), point.base_scales, StepCosts(entropy.tables))
    entropy.run(point, rows, columns, coder)
    sizes = codec.info(codec.compress(tokens)).level_bytes
    total, levels = np.zeros((rows, columns)), []

    def by_token(x: Array) -> Array:
        """(h, w) -> sums of each token, (rows, columns)."""
        return x.reshape(rows, len(x) // rows, columns, -1).sum((1, 3))

    for level in CODING_ORDER:
        values, bits = bands[level][0], coder.changes[level][0, ..., BITS].astype(np.float64)
        total += by_token(bits.sum(-1))
        flags = 0.0
        if level in FLAGGED_LEVELS:
            own = coder.flag_bits[level].reshape(values.shape[0] // 2, -1)
            total += by_token(own)
            flags = own.sum()
        zero = values == 0
        levels.append(
            {
                "level": level,
                "shape": list(values.shape),
                "zeros": int(zero.sum()),
                "bits_of_a_zero": round((bits[zero].sum() + flags) / max(zero.sum(), 1), 3),
                "bits_of_another": round(bits[~zero].mean(), 2),
                "largest": int(np.abs(values).max()),
                "bytes": sizes[level],
            }
        )
    summary = {"least": round(total.min()), "median": round(np.median(total)), "most": round(total.max())}
    return total, {"groups": coder.groups, "levels": levels, "bits_of_a_token": summary}


def corrected(codec: Codec, picture: Picture, options: EncodeOptions) -> tuple[Results, list[Array]]:
    """The same file decoded without the network's correction, with it, with the filter, and as it is, enhanced; and a
    part of the picture: original, without, with all, the difference that the network makes."""
    rgb, tokens = picture.rgb, codec.encode_tokens(picture, options)
    transform, quality = codec._coder.decoder.transform, options.quality
    step, gains = transform.step(quality), transform.gains(quality)
    low, *details = (t * gains[level, : t.shape[-1]] for level, t in enumerate(tokens.bands))
    plain = _pixels(Subbands(low, tuple(details)), step)
    network = _pixels(transform.corrected(tokens.bands, quality), step)
    whole = codec.decode(tokens).rgb
    filtered = codec.decode(replace(tokens, header=replace(tokens.header, enhancement=0))).rgb
    difference = np.clip(127.5 + DIFFERENCE * (network - plain), 0, 255).astype(np.uint8)
    plain, network = (np.rint(x.clip(0, 255)).astype(np.uint8) for x in (plain, network))
    x, y, width, height = CROP
    parts = [p[y : y + height, x : x + width] for p in (rgb, plain, whole, difference)]
    found = {
        "quality": quality,
        "bytes": len(codec.compress(tokens)),
        "psnr_without": round(psnr(rgb, plain), 2),
        "psnr_network": round(psnr(rgb, network), 2),
        "psnr_filtered": round(psnr(rgb, filtered), 2),
        "psnr": round(psnr(rgb, whole), 2),
    }
    return found, parts


def _pixels(bands: Subbands, step: float) -> Array:
    """Coefficients in steps -> pixels in 8-bit levels, (H, W, 3), neither rounded nor clipped."""
    planes = in_pixels(bands.map(lambda t: (t * step).astype(np.float32)))
    out: Array = planes.transpose(1, 2, 0) @ COLOUR + 128
    return out
