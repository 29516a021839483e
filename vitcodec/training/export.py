"""From a trained float context model to the integer one that codes: calibration of activations, rounding of layers.

A layer of the integer model computes floor((x W^T + b) 2^-shift) with whole numbers x of at most 255
(context/integer.py). In this module the `scale`
of a number is what one unit of it stands for: a real value is the whole number times its scale. Each channel has a
scale of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SCALE_LOW, SHAPE_UNIT, Tables
from ..context.arithmetic import FloatArithmetic
from ..context.coding import EntropyModel
from ..context.density import RateEstimator
from ..context.heads import ChannelConditionalHead, Dense, FourPhaseContext, Head, Residual
from ..context.integer import (
    ACTIVATION_LIMIT,
    EXACT,
    LOG_UNIT,
    WEIGHT_LIMIT,
    IntegerArithmetic,
    IntegerDense,
    IntegerLinear,
    IntegerResidual,
    check,
    log_thresholds,
    skeleton,
)
from ..context.model import ContextModel
from ..distortion import Distortion
from ..models.autoencoder import Autoencoder
from ..options import QUALITIES
from ..quality import round_tokens, step_of
from .tables import fit_tables, uniform_tables

Largest = dict[str, Tensor]  # layer -> the largest output of each channel, (o,)


@torch.no_grad()
def calibrate(
    autoencoder: Autoencoder, context: ContextModel, samples: Iterator[tuple[Tensor, Tensor]], dead_zone: float
) -> Largest:
    """The largest output of each channel of each Dense and Residual layer of the context model, by the layer's name.

    samples: (images (B, H, W, 3) in 0..255, steps (B,) in 8-bit levels). dead_zone: of the rounding.
    """
    largest: Largest = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if not output.numel():  # no block of the sample is flagged
                return
            top = output.flatten(0, -2).amax(0)
            largest[name] = torch.maximum(largest[name], top) if name in largest else top

        return hook

    hooks = [m.register_forward_hook(watch(n)) for n, m in context.named_modules() if isinstance(m, Dense | Residual)]
    for image, step in samples:
        latents = autoencoder.encode(image, step)
        tokens = round_tokens(latents, dead_zone).map(Tensor.float)
        coder = RateEstimator(tokens, latents, context.base, step)
        context.autoregressive_pass(FloatArithmetic(image.device), context.step_features(step), *tokens.grid, coder)
    for hook in hooks:
        hook.remove()
    return largest


def round_dense(dense: nn.Linear, layer: IntegerLinear, scale: Tensor, largest: Tensor) -> Tensor:
    """Fill an integer layer so that its outputs use all of 0..255; returns their scales, (o,).

    scale (i,): of the inputs. largest (o,): of the float layer's outputs.
    """
    weight, bias = dense.weight.double() * scale, dense.bias.double()
    need = largest.double() / ACTIVATION_LIMIT  # the finest output scale without clipping
    unit = torch.maximum(_finest_unit(weight, bias), need.clamp_min(1e-6) * 2.0**-20)
    shift = torch.ceil(torch.log2(need.clamp_min(1e-9) / unit)).clamp(0, 24)
    _fill(layer, weight, bias, unit, shift)
    return unit * 2.0**shift


def round_to(dense: nn.Linear, layer: IntegerLinear, scale: Tensor, out: Tensor) -> None:
    """Fill an integer layer whose output scales, out (o,), are given. scale (i,): of the inputs.

    Raises ValueError where the weights are too large for those output scales.
    """
    weight, bias = dense.weight.double() * scale, dense.bias.double()
    unit = torch.maximum(_finest_unit(weight, bias), out * 2.0**-20)
    shift = torch.floor(torch.log2(out / unit))
    if (shift < 0).any():
        raise ValueError("a layer's weights are too large for its output scale")
    _fill(layer, weight, bias, out * 2.0**-shift, shift)


def round_residual(block: Residual, layer: IntegerResidual, scale: Tensor, largest: Largest, name: str) -> Tensor:
    """Fill an integer residual block; returns the scales of its outputs, (c,). scale (c,): of its inputs."""
    hidden = round_dense(block.expand, layer.expand, scale, largest[f"{name}.expand"])
    weight, bias = block.reduce.weight.double() * hidden, block.reduce.bias.double()
    need = largest[name].double() / ACTIVATION_LIMIT
    finest = torch.maximum(_finest_unit(weight, bias, EXACT * 0.3), scale * 2.0**-12)
    layer.identity = torch.floor(scale / finest).clamp_min(1).float()
    unit = scale / layer.identity.double()
    shift = torch.ceil(torch.log2(torch.maximum(need, unit) / unit)).clamp(0, 24)
    _fill(layer.reduce, weight, bias, unit, shift)
    return unit * 2.0**shift


def round_extra(blocks: nn.Sequential, layers: nn.Sequential, scale: Tensor, largest: Largest, name: str) -> Tensor:
    """Fill residual blocks in a row; returns the scales of the last one's outputs."""
    for k, (block, layer) in enumerate(zip(blocks, layers, strict=True)):
        scale = round_residual(block, layer, scale, largest, f"{name}.{k}")  # type: ignore[arg-type]
    return scale


def round_head(head: Head, layer: Head, scale: Tensor, largest: Largest, name: str) -> None:
    """Fill an integer head. scale: of its first inputs; the others are look-ups of decoded values."""
    assert isinstance(layer.enter, IntegerDense)
    assert isinstance(layer.body, IntegerResidual)
    assert isinstance(layer.leave, IntegerLinear)
    inner = round_dense(head.enter, layer.enter, _with_look_ups(scale, head.enter), largest[f"{name}.enter"])
    inner = round_residual(head.body, layer.body, inner, largest, f"{name}.body")
    inner = round_extra(head.extra, layer.extra, inner, largest, f"{name}.extra")
    round_to(head.leave, layer.leave, inner, _parameter_units(head.leave))
    if isinstance(head, ChannelConditionalHead) and isinstance(layer, ChannelConditionalHead):
        for k, (a, b) in enumerate(zip(head.conditionals, layer.conditionals, strict=True)):
            inputs, top = _with_look_ups(inner, a.enter), largest[f"{name}.conditionals.{k}.enter"]
            round_to(a.leave, b.leave, round_dense(a.enter, b.enter, inputs, top), _parameter_units(a.leave))


def round_phases(
    phases: FourPhaseContext, layers: FourPhaseContext, scale: Tensor, largest: Largest, name: str
) -> None:
    """Fill the integer heads of a four-phase context. scale: of the level's features."""
    for k, (head, layer) in enumerate(zip(phases.heads, layers.heads, strict=True)):
        round_head(head, layer, scale, largest, f"{name}.heads.{k}")  # type: ignore[arg-type]


@torch.no_grad()
def round_context(context: ContextModel, largest: Largest) -> tuple[ContextModel, Tensor]:
    """The integer model of a float context model, and its input for each quality: whole numbers 0..255, (100, 16).

    largest: from `calibrate`. Raises ValueError where weights are too large, WeightsError where a layer would not be
    exact.
    """
    model = skeleton(context.config)
    steps = torch.tensor([step_of(q) for q in QUALITIES])
    features = context.step_features(steps).double()
    scale = features.amax(0).clamp_min(1e-6) / ACTIVATION_LIMIT
    rounded_features = torch.round(features / scale).clamp(0, ACTIVATION_LIMIT).float()
    for part in ("luma", "chroma"):
        for s, (a, b) in enumerate(zip(getattr(context.low, part), getattr(model.low, part), strict=True)):
            for k, (x, y) in enumerate(zip(a, b, strict=True)):
                round_head(x, y, scale, largest, f"low.{part}.{s}.{k}")
    for i, (a, b) in enumerate(zip(context.levels, model.levels, strict=True)):
        name = f"levels.{i}"
        scale = round_dense(a.enter, b.enter, _with_look_ups(scale, a.enter), largest[f"{name}.enter"])
        scale = round_residual(a.body, b.body, scale, largest, f"{name}.body")
        scale = round_extra(a.extra, b.extra, scale, largest, f"{name}.extra")
        round_phases(a.luma, b.luma, scale, largest, f"{name}.luma")
        if isinstance(a.chroma, FourPhaseContext):
            round_phases(a.chroma, b.chroma, scale, largest, f"{name}.chroma")
        else:
            round_head(a.chroma, b.chroma, scale, largest, f"{name}.chroma")
        if a.up is not None:
            # a site becomes four of the next level, which share a channel's scale
            top = largest[f"{name}.up"].double().view(4, -1).amax(0)
            finest = _finest_unit(a.up.weight.double() * scale, a.up.bias.double()).view(4, -1).amax(0)
            out = torch.maximum(top / ACTIVATION_LIMIT, finest)
            round_to(a.up, b.up, scale, out.repeat(4))
            scale = out
    check(model)
    return model, rounded_features


def base_scales(context: ContextModel) -> np.ndarray:
    """Where log scales start, by quality, level and channel: (100, 5, 9) int16, in quarters of a scale index."""
    logs = context.base[None] - torch.tensor([math.log(step_of(q)) for q in QUALITIES])[:, None, None]
    return torch.round((logs - SCALE_LOW) / LOG_SCALE_UNIT).clamp(-(2**14), 2**14).short().numpy()


def build_entropy_model(
    autoencoder: Autoencoder,
    context: ContextModel,
    calibration: Iterator[tuple[Tensor, Tensor]],
    counting: Iterator[tuple[Tensor, int]],
    dead_zone: float,
    distortion: Distortion,
) -> tuple[EntropyModel, np.ndarray, np.ndarray]:
    """The integer entropy model of a trained pair, and its narrow and wide tables.

    calibration: samples for `calibrate`. counting: samples for tables.fit_tables. dead_zone: of the encoder's rounding.
    """
    largest = calibrate(autoencoder, context, calibration, dead_zone)
    integer, features = round_context(context, largest)
    arithmetic, scales = IntegerArithmetic(log_thresholds()), base_scales(context)
    model = EntropyModel(integer, arithmetic, features, scales, uniform_tables())
    narrow, wide = fit_tables(autoencoder.requires_grad_(False), model, counting, dead_zone, distortion)
    return EntropyModel(integer, arithmetic, features, scales, Tables(narrow, wide)), narrow, wide


def _fill(layer: IntegerLinear, weight: Tensor, bias: Tensor, unit: Tensor, shift: Tensor) -> None:
    """Round weight (o, i) and bias (o,) to multiples of unit (o,), the scale of the sums before they are shifted."""
    layer.weight = torch.round(weight / unit[:, None]).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).float()
    layer.bias = torch.round(bias / unit + torch.where(shift > 0, 2.0 ** (shift - 1), 0.0)).float()
    layer.scale = (2.0**-shift).float()


def _finest_unit(weight: Tensor, bias: Tensor, reserve: float = 0.0) -> Tensor:
    """The finest unit of each row that keeps weights within 127 and all sums within 2^24, less a reserve."""
    by_weight = weight.abs().amax(1) / WEIGHT_LIMIT
    by_sum = (ACTIVATION_LIMIT * weight.abs().sum(1) + bias.abs()) / (EXACT * 0.9 - reserve)
    return torch.maximum(by_weight, by_sum)


def _with_look_ups(scale: Tensor, layer: nn.Linear) -> Tensor:
    """The scales of all of a layer's inputs: those given for the first, then those of look-ups."""
    look_ups = torch.full((layer.in_features - len(scale),), 1 / LOG_UNIT, dtype=torch.float64)
    return torch.cat((scale, look_ups))


def _parameter_units(layer: nn.Linear) -> Tensor:
    """The output scales of a head's last layer: of all means, all log scales and all mixture logits."""
    units = torch.tensor([1 / MEAN_UNIT, LOG_SCALE_UNIT, SHAPE_UNIT], dtype=torch.float64)
    return units.repeat_interleave(layer.out_features // 3)
