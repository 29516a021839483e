"""The layer-and-neuron table of a model: what `vitcodec models show` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..entropy.context import ContextConfig, ContextModel, FloatArithmetic, Site
from ..wavelet import LEVELS, Subbands
from ..weights import find
from . import build_autoencoder, tupled
from .autoencoder import Autoencoder
from .blocks import RMSNorm, WindowBlock

LIFTING_MULTIPLICATIONS = 6  # a sample and level: two axes of two lifting steps and a scaling each


@dataclass(frozen=True)
class Row:
    layer: str
    kind: str
    output: tuple[int, ...]  # without the batch: (rows, columns, channels)
    width: int  # output neurons a site
    heads: int | None  # of attention
    parameters: int
    macs_per_pixel: float  # multiplications with accumulation, by pixels of the image


class _Recorder:
    def __init__(self, pixels: int):
        self.pixels, self.rows = pixels, list[Row]()

    def watch(self, module: nn.Module, prefix: str) -> None:
        for name, child in module.named_modules():
            path = f"{prefix}.{name}" if name else prefix
            if isinstance(child, nn.Linear | nn.Conv2d | RMSNorm | WindowBlock):
                child.register_forward_hook(lambda m, _, out, path=path: self.record(path, m, out))

    def record(self, path: str, module: nn.Module, out: Tensor) -> None:
        shape = tuple(out.shape[2:] + out.shape[1:2]) if isinstance(module, nn.Conv2d) else tuple(out.shape[1:])
        sites, parameters = out.numel() / shape[-1], sum(p.numel() for p in module.parameters())
        kind, heads, macs = type(module).__name__, None, 0
        if isinstance(module, nn.Linear):
            kind, macs = "dense" if type(module) is nn.Linear else "dense + ReLU", module.in_features * module.out_features
        elif isinstance(module, nn.Conv2d):
            kind = f"depthwise conv {module.kernel_size[0]}x{module.kernel_size[1]}"
            macs = shape[-1] * module.kernel_size[0] * module.kernel_size[1]
        elif isinstance(module, WindowBlock):
            shift = ", shifted" if module.shift else ""
            kind, heads, parameters = f"window attention {module.window}x{module.window}{shift}", module.heads, module.bias.numel()
            macs = 2 * module.window**2 * shape[-1]
            path += ".attention"
        elif isinstance(module, RMSNorm):
            kind = "RMS norm"
        self.rows.append(Row(path, kind, shape, shape[-1], heads, parameters, round(macs * sites / self.pixels, 2)))


def _transform_rows(model: Autoencoder, height: int, width: int) -> tuple[list[Row], list[Row]]:
    recorder = _Recorder(height * width)
    step = torch.tensor([10.0], device="meta")
    rows = []
    for part in ("analysis", "synthesis"):
        module = getattr(model, part)
        bands = Subbands(
            torch.empty(1, height >> LEVELS, width >> LEVELS, 3, device="meta"),
            tuple(torch.empty(1, height >> l, width >> l, 9, device="meta") for l in range(1, LEVELS + 1)),
        )
        recorder.watch(module, part)
        module(bands, step)
        rows.append(recorder.rows)
        recorder.rows = []
    return rows[0], rows[1]


def _context_rows(context: ContextModel, height: int, width: int) -> list[Row]:
    recorder = _Recorder(height * width)
    recorder.watch(context, "entropy")

    def visit(site: Site, parameters: Tensor) -> Tensor:
        return parameters[..., : parameters.shape[-1] // 3]

    with torch.device("meta"):
        rate = context.rate_features(torch.empty(1))
        context.walk(FloatArithmetic(), rate, height >> LEVELS, width >> LEVELS, visit)
    return recorder.rows


def layer_table(name: str | None = None, image_size: tuple[int, int] = (768, 512)) -> list[Row]:
    """Every layer in the order of the data, for an image of (width, height) pixels, rounded up to multiples of 32. Nothing is computed.

    The entropy networks are the decoder's as well as the encoder's: both run them once.
    """
    width, height = (-(-n // 32) * 32 for n in image_size)
    card = find(name)
    return _table(card.family, card.config["transform"], ContextConfig(**tupled(card.config["context"])), width, height)


def kmac_per_pixel(family: str, transform: dict[str, Any], context: ContextConfig) -> float:
    """Thousands of multiplications per pixel of decoding, for a picture of 768x512 pixels."""
    return float(totals(_table(family, transform, context, 768, 512))["decode_kmac_per_pixel"])


def _table(family: str, transform: dict[str, Any], context_config: ContextConfig, width: int, height: int) -> list[Row]:
    with torch.device("meta"):
        autoencoder = build_autoencoder(family, transform)
        context = ContextModel(context_config)
    lifting = round(3 * LIFTING_MULTIPLICATIONS * sum(4.0**-l for l in range(LEVELS)), 2)
    sites = (height >> LEVELS, width >> LEVELS)
    before = [
        Row("colour", "orthonormal 3x3", (height, width, 3), 3, None, 0, 9),
        Row("wavelet", "CDF 9/7 lifting, 4 levels", (*sites, 768), 768, None, 0, lifting),
    ]
    after = [
        Row("inverse wavelet", "CDF 9/7 lifting, 4 levels", (height, width, 3), 3, None, 0, lifting),
        Row("inverse colour", "orthonormal 3x3", (height, width, 3), 3, None, 0, 9),
    ]
    gains = Row("gain", "factor for each band and quality", (*sites, 768), 768, None, autoencoder.gain.numel(), 3)
    ungains = Row("ungain", "factor for each band and quality", (*sites, 768), 768, None, autoencoder.ungain.numel(), 3)
    analysis, synthesis = _transform_rows(autoencoder, height, width)
    return [*before, *analysis, gains, *_context_rows(context, height, width), ungains, *synthesis, *after]


def totals(rows: list[Row]) -> dict[str, Any]:
    """Parameters, and thousands of multiplications per pixel of encoding and decoding."""
    parts = {part: [r for r in rows if r.layer.startswith(part)] for part in ("analysis", "entropy", "synthesis")}
    shared = sum(r.macs_per_pixel for r in parts["entropy"]) + 9 + next(r.macs_per_pixel for r in rows if r.layer == "wavelet")
    return {
        "parameters": sum(r.parameters for r in rows),
        "encode_kmac_per_pixel": round((shared + sum(r.macs_per_pixel for r in parts["analysis"])) / 1000, 2),
        "decode_kmac_per_pixel": round((shared + sum(r.macs_per_pixel for r in parts["synthesis"])) / 1000, 2),
    }
