"""The layer-and-neuron table of a model, as `vitcodec models show` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..context.arithmetic import FloatArithmetic
from ..context.config import CURRENT, ContextConfig
from ..context.groups import CodingGroup, FlagGroup
from ..context.heads import Dense
from ..context.model import ContextModel
from ..integer.enhancement import layer_names
from ..integer.layers import Layers
from ..pretrained import registry
from ..pretrained.enhancements import read_enhancement
from ..pretrained.presets import PRESETS
from ..subbands import LEVELS, Subbands
from . import build_autoencoder
from .autoencoder import Autoencoder
from .blocks import RMSNorm, WindowBlock
from .tokens import TransformerBlock

LIFTING_MULTIPLICATIONS = 6  # a sample and level: two axes of two lifting steps and a scaling each


@dataclass(frozen=True)
class Row:
    """A layer of a model."""

    layer: str  # its name in the modules
    kind: str
    output: tuple[int, ...]  # (rows, columns, channels), or, of layers that work on areas, (areas, tokens, channels)
    width: int  # output neurons a site
    heads: int | None  # of attention
    parameters: int
    macs_per_pixel: float  # multiplications with accumulation, by pixels of the image


class _Recorder:
    """Records every layer as it is called; the products of queries, keys and values of an attention are a row too.

    pixels: of the image, by which multiplications are divided.
    """

    def __init__(self, pixels: int):
        self.pixels, self.rows = pixels, dict[str, Row]()

    def watch(self, module: nn.Module, prefix: str) -> None:
        for name, child in module.named_modules():
            path = f"{prefix}.{name}" if name else prefix
            if isinstance(child, nn.Linear | nn.Conv2d | RMSNorm | nn.LayerNorm):
                child.register_forward_hook(lambda m, _, out, path=path: self.layer(path, m, out))
            elif isinstance(child, WindowBlock | TransformerBlock) or hasattr(child, "num_heads"):
                child.register_forward_hook(lambda m, inputs, out, path=path: self.attention(path, m, inputs, out))

    def layer(self, path: str, module: nn.Module, out: Tensor) -> None:
        shape = out.shape[2:] + out.shape[1:2] if isinstance(module, nn.Conv2d) else out.shape[1:]
        if isinstance(module, nn.Linear):
            kind, macs = "dense + ReLU" if isinstance(module, Dense) else "dense", module.in_features
        elif isinstance(module, nn.Conv2d):
            kind, macs = (
                f"depthwise conv {module.kernel_size[0]}x{module.kernel_size[1]}",
                module.kernel_size[0] * module.kernel_size[1],
            )
        else:
            kind, macs = "RMS norm" if isinstance(module, RMSNorm) else "layer norm", 0
        self.add(path, kind, shape, None, sum(p.numel() for p in module.parameters()), macs * out.numel(), len(out))

    def attention(self, path: str, module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        parameters = sum(p.numel() for p in module.parameters(recurse=False))
        if isinstance(module, WindowBlock):
            kind = f"window attention {module.window}x{module.window}{', shifted' if module.shift else ''}"
            keys = module.window**2
        elif isinstance(module, TransformerBlock):
            crossing = len(inputs) > 1 and inputs[1] is not None
            kind, keys = "cross-attention" if crossing else "attention", inputs[crossing].shape[1]
        else:  # timm's
            windows = type(module).__name__ == "WindowAttention"
            kind = f"window attention {module.window_size[0]}x{module.window_size[1]}" if windows else "attention"
            keys = out.shape[1]
        heads = module.heads if isinstance(module, WindowBlock | TransformerBlock) else module.num_heads
        self.add(f"{path}.attention", kind, out.shape[1:], heads, parameters, 2 * keys * out.numel(), len(out))

    def add(
        self, path: str, kind: str, shape: torch.Size, heads: int | None, parameters: int, macs: int, areas: int
    ) -> None:
        per_pixel = round(macs / self.pixels, 2)
        if path in self.rows:  # called again, for the areas at the right or the lower edge
            row = self.rows[path]
            self.rows[path] = replace(row, macs_per_pixel=round(row.macs_per_pixel + per_pixel, 2))
        else:
            output = (areas, *shape) if areas > 1 else tuple(shape)
            self.rows[path] = Row(path, kind, output, shape[-1], heads, parameters, per_pixel)

    def rest(self, module: nn.Module, prefix: str) -> None:
        """Rows for the parameters that belong to no layer: positions, mask tokens, biases of attention."""
        for name, child in module.named_modules():
            path = f"{prefix}.{name}" if name else prefix
            if path not in self.rows and f"{path}.attention" not in self.rows:
                for parameter, value in child.named_parameters(recurse=False):
                    self.rows[f"{path}.{parameter}"] = Row(
                        f"{path}.{parameter}", "learned", tuple(value.shape), value.shape[-1], None, value.numel(), 0.0
                    )


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
        recorder.rest(module, part)
        rows.append(list(recorder.rows.values()))
        recorder.rows = {}
    return rows[0], rows[1]


def _context_rows(context: ContextModel, height: int, width: int) -> list[Row]:
    recorder = _Recorder(height * width)
    recorder.watch(context, "context")

    def coder(group: CodingGroup | FlagGroup, parameters: Tensor) -> Tensor:
        return parameters[..., : 2 if isinstance(group, FlagGroup) else parameters.shape[-1] // 3]

    with torch.device("meta"):
        features = context.step_features(torch.empty(1))
        context.autoregressive_pass(FloatArithmetic(), features, height >> LEVELS, width >> LEVELS, coder)
    return list(recorder.rows.values())


def layer_table(name: str | None = None, image_size: tuple[int, int] = (768, 512)) -> list[Row]:
    """Every layer in the order of the data. Nothing is computed.

    name: as `registry.find` takes it, or that of an untrained family or preset. image_size: (width, height) in pixels,
    rounded up to multiples of 32. The context model is the decoder's as well as the encoder's: both run it once. Raises
    WeightsError.
    """
    width, height = (-(-n // 32) * 32 for n in image_size)
    if registry.is_preset(name):
        preset = PRESETS[registry.chosen(name)]
        return table_of(preset.family, preset.config, CURRENT, width, height)
    config = registry.find(name)
    rows = table_of(config.family, config.transform, config.context, width, height)
    if not config.enhancements:
        return rows
    layers = read_enhancement(config, len(config.enhancements)).layers
    return [*rows[:-1], *_enhancement_rows(layers, height, width), rows[-1]]


def _enhancement_rows(layers: Layers, height: int, width: int) -> list[Row]:
    """Of sites of 2x2 pixels."""
    rows = []
    for name in layer_names(layers):
        outputs, size = layers[name].weight.shape[:2]
        weights = layers[name].weight.size
        kind = f"conv {size}x{size}{'' if layers[name].signed_output else ' + ReLU'}"
        shape = (height // 2, width // 2, outputs)
        rows.append(Row(f"enhancement.{name}", kind, shape, outputs, None, weights + outputs, weights / 4))
    return rows


def up_to_depth(rows: list[Row], depth: int) -> list[Row]:
    """Rows whose names agree in their first `depth` parts, as one: with the last one's output, the rest added up."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(".".join(row.layer.split(".")[:depth]), []).append(row)
    return [own[0] if len(own) == 1 else _together(name, own) for name, own in groups.items()]


def _together(name: str, rows: list[Row]) -> Row:
    last = next((row for row in reversed(rows) if row.kind != "learned"), rows[-1])
    parameters, macs = sum(r.parameters for r in rows), round(sum(r.macs_per_pixel for r in rows), 2)
    return Row(name, f"{len(rows)} layers", last.output, last.width, None, parameters, macs)


def kmac_per_pixel(family: str, transform: Mapping[str, Any], context: ContextConfig) -> float:
    """Thousands of multiplications per pixel of decoding, for a picture of 768x512 pixels."""
    return float(totals(table_of(family, transform, context, 768, 512))["decode_kmac_per_pixel"])


def table_of(
    family: str, transform: Mapping[str, Any], context_config: ContextConfig, width: int, height: int
) -> list[Row]:
    """The table of a model by its settings, without weights.

    transform: of the family's config dataclass. width, height: of the image in pixels, multiples of 32.
    """
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
    inverse_gains = Row(
        "inverse_gain",
        "factor for each band and quality",
        (*sites, 768),
        768,
        None,
        autoencoder.inverse_gain.numel(),
        3,
    )
    analysis, synthesis = _transform_rows(autoencoder, height, width)
    return [*before, *analysis, gains, *_context_rows(context, height, width), inverse_gains, *synthesis, *after]


def totals(rows: list[Row]) -> dict[str, Any]:
    """Parameters, and thousands of multiplications per pixel of encoding and decoding."""
    names = ("analysis", "context", "synthesis", "enhancement")
    parts = {part: [r for r in rows if r.layer.startswith(part)] for part in names}
    decoder = parts["synthesis"] + parts["enhancement"]
    shared = (
        sum(r.macs_per_pixel for r in parts["context"])
        + 9
        + next(r.macs_per_pixel for r in rows if r.layer == "wavelet")
    )
    return {
        "parameters": sum(r.parameters for r in rows),
        "encode_kmac_per_pixel": round((shared + sum(r.macs_per_pixel for r in parts["analysis"])) / 1000, 2),
        "decode_kmac_per_pixel": round((shared + sum(r.macs_per_pixel for r in decoder)) / 1000, 2),
    }
