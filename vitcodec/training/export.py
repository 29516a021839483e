"""From trained float models to weights that ship: integer networks, tables fitted to counts, the transforms in half precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..bitstream import tables as t
from ..context.coding import EntropyModel
from ..context.density import RateMeter, probability
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
from ..context.model import (
    ChannelConditionalHead,
    CodingGroup,
    ContextModel,
    Dense,
    FloatArithmetic,
    FourPhaseContext,
    Head,
    Residual,
)
from ..models.autoencoder import Autoencoder
from ..quality import QUALITIES, quantise, step_of
from ..rdo import DEFAULT_EFFORT, ROUNDS, RDOSearch
from ..wavelet import Subbands

PRIOR = 24.0  # counts that the parametric shape of a table is worth beside the counts measured
SHAPE_CENTRES = -2.0, 0.0, 2.0  # mixture logits typical of the three shape classes


def to_integers(bands: Subbands, dead_zone: float) -> Subbands:
    """Latents -> their integers, int32."""
    return Subbands(torch.round(bands.low).int(), tuple(quantise(d, dead_zone).int() for d in bands.details))


# ---- calibration: the largest activation of every channel


def calibrate(
    autoencoder: Autoencoder, context: ContextModel, samples: Iterator[tuple[Tensor, Tensor]], dead_zone: float
) -> dict[str, Tensor]:
    """samples: (images (B, H, W, 3), steps (B,)). Returns the largest output of each channel of each Dense and Residual layer, by name."""
    largest: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            top = output.flatten(0, -2).amax(0)
            largest[name] = torch.maximum(largest[name], top) if name in largest else top

        return hook

    hooks = [m.register_forward_hook(watch(n)) for n, m in context.named_modules() if isinstance(m, Dense | Residual)]
    with torch.no_grad():
        for image, step in samples:
            soft = autoencoder.encode(image, step)
            hard = to_integers(soft, dead_zone).map(Tensor.float)
            height, width = soft.low.shape[1:3]
            context.autoregressive_pass(
                FloatArithmetic(image.device),
                context.step_features(step),
                height,
                width,
                RateMeter(hard, soft, context.base, step),
            )
    for hook in hooks:
        hook.remove()
    return largest


# ---- rounding of layers; `scale` is always the real value of one integer unit


def _fill(layer: IntegerLinear, weight: Tensor, bias: Tensor, unit: Tensor, shift: Tensor) -> None:
    layer.weight = torch.round(weight / unit[:, None]).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).float()
    layer.bias = torch.round(bias / unit + torch.where(shift > 0, 2.0 ** (shift - 1), 0.0)).float()
    layer.scale = (2.0**-shift).float()


def _finest_unit(weight: Tensor, bias: Tensor, reserve: float = 0.0) -> Tensor:
    """The finest unit of each row that keeps weights within 127 and all sums within 2^24, less a reserve."""
    by_weight = weight.abs().amax(1) / WEIGHT_LIMIT
    by_sum = (ACTIVATION_LIMIT * weight.abs().sum(1) + bias.abs()) / (EXACT * 0.9 - reserve)
    return torch.maximum(by_weight, by_sum)


def round_dense(dense: nn.Linear, layer: IntegerLinear, scale: Tensor, largest: Tensor) -> Tensor:
    """Fill an integer layer whose outputs choose their own scales: returned, (o,)."""
    weight, bias = dense.weight.double() * scale, dense.bias.double()
    need = largest.double() / ACTIVATION_LIMIT  # the finest output scale without clipping
    unit = torch.maximum(_finest_unit(weight, bias), need.clamp_min(1e-6) * 2.0**-20)
    shift = torch.ceil(torch.log2(need.clamp_min(1e-9) / unit)).clamp(0, 24)
    _fill(layer, weight, bias, unit, shift)
    return unit * 2.0**shift


def round_to(dense: nn.Linear, layer: IntegerLinear, scale: Tensor, out: Tensor) -> None:
    """Fill an integer layer whose output scales (o,) are given."""
    weight, bias = dense.weight.double() * scale, dense.bias.double()
    unit = torch.maximum(_finest_unit(weight, bias), out * 2.0**-20)
    shift = torch.floor(torch.log2(out / unit))
    if (shift < 0).any():
        raise ValueError("a layer's weights are too large for its output scale")
    _fill(layer, weight, bias, out * 2.0**-shift, shift)


def round_residual(
    block: Residual, layer: IntegerResidual, scale: Tensor, largest: dict[str, Tensor], name: str
) -> Tensor:
    hidden = round_dense(block.expand, layer.expand, scale, largest[f"{name}.expand"])
    weight, bias = block.reduce.weight.double() * hidden, block.reduce.bias.double()
    need = largest[name].double() / ACTIVATION_LIMIT
    finest = torch.maximum(_finest_unit(weight, bias, EXACT * 0.3), scale * 2.0**-12)
    layer.identity = torch.floor(scale / finest).clamp_min(1).float()
    unit = scale / layer.identity.double()
    shift = torch.ceil(torch.log2(torch.maximum(need, unit) / unit)).clamp(0, 24)
    _fill(layer.reduce, weight, bias, unit, shift)
    return unit * 2.0**shift


def round_extra(
    blocks: nn.Sequential, layers: nn.Sequential, scale: Tensor, largest: dict[str, Tensor], name: str
) -> Tensor:
    for k, (block, layer) in enumerate(zip(blocks, layers, strict=True)):
        scale = round_residual(block, layer, scale, largest, f"{name}.{k}")  # type: ignore[arg-type]
    return scale


def round_head(head: Head, layer: Head, scale: Tensor, largest: dict[str, Tensor], name: str) -> None:
    """scale: of the first inputs; all others are look-ups."""
    scale = torch.cat((scale, torch.full((head.enter.in_features - len(scale),), 1 / LOG_UNIT, dtype=torch.float64)))
    assert (
        isinstance(layer.enter, IntegerDense)
        and isinstance(layer.body, IntegerResidual)
        and isinstance(layer.leave, IntegerLinear)
    )
    inner = round_dense(head.enter, layer.enter, scale, largest[f"{name}.enter"])
    inner = round_residual(head.body, layer.body, inner, largest, f"{name}.body")
    inner = round_extra(head.extra, layer.extra, inner, largest, f"{name}.extra")
    round_to(head.leave, layer.leave, inner, _parameter_units(head.leave))
    if isinstance(head, ChannelConditionalHead) and isinstance(layer, ChannelConditionalHead):
        for k, (a, b) in enumerate(zip(head.conditionals, layer.conditionals, strict=True)):
            look_ups = torch.full((a.enter.in_features - len(inner),), 1 / LOG_UNIT, dtype=torch.float64)
            hidden = round_dense(
                a.enter, b.enter, torch.cat((inner, look_ups)), largest[f"{name}.conditionals.{k}.enter"]
            )
            round_to(a.leave, b.leave, hidden, _parameter_units(a.leave))


def _parameter_units(layer: nn.Linear) -> Tensor:
    """Of all means, all log scales and all mixture logits."""
    units = torch.tensor([1 / t.MEAN_UNIT, t.LOG_SCALE_UNIT, t.SHAPE_UNIT], dtype=torch.float64)
    return units.repeat_interleave(layer.out_features // 3)


def round_context(context: ContextModel, largest: dict[str, Tensor]) -> tuple[ContextModel, Tensor]:
    """The integer twin of a float context model, and its (100, 16) rate features."""
    model = skeleton(context.config)
    steps = torch.tensor([step_of(q) for q in QUALITIES])
    features = context.step_features(steps).double()
    scale = features.amax(0).clamp_min(1e-6) / ACTIVATION_LIMIT
    rates = torch.round(features / scale).clamp(0, ACTIVATION_LIMIT).float()

    def round_steps(a: FourPhaseContext, b: FourPhaseContext, scale: Tensor, name: str) -> None:
        for k, (x, y) in enumerate(zip(a.heads, b.heads, strict=True)):
            round_head(x, y, scale, largest, f"{name}.heads.{k}")  # type: ignore[arg-type]

    for part in ("luma", "chroma"):
        for s, (a, b) in enumerate(zip(getattr(context.low, part), getattr(model.low, part), strict=True)):
            for k, (x, y) in enumerate(zip(a, b, strict=True)):
                round_head(x, y, scale, largest, f"low.{part}.{s}.{k}")
    for i, (a, b) in enumerate(zip(context.levels, model.levels, strict=True)):
        name = f"levels.{i}"
        look_ups = torch.full((a.enter.in_features - len(scale),), 1 / LOG_UNIT, dtype=torch.float64)
        scale = round_dense(a.enter, b.enter, torch.cat((scale, look_ups)), largest[f"{name}.enter"])
        scale = round_residual(a.body, b.body, scale, largest, f"{name}.body")
        scale = round_extra(a.extra, b.extra, scale, largest, f"{name}.extra")
        round_steps(a.luma, b.luma, scale, f"{name}.luma")
        if isinstance(a.chroma, FourPhaseContext):
            round_steps(a.chroma, b.chroma, scale, f"{name}.chroma")
        else:
            round_head(a.chroma, b.chroma, scale, largest, f"{name}.chroma")
        if a.up is not None:
            # the four sites that a site unfolds to share a channel's scale
            top = largest[f"{name}.up"].double().view(4, -1).amax(0)
            finest = _finest_unit(a.up.weight.double() * scale, a.up.bias.double()).view(4, -1).amax(0)
            out = torch.maximum(top / ACTIVATION_LIMIT, finest)
            round_to(a.up, b.up, scale, out.repeat(4))
            scale = out
    check(model)
    return model, rates


def bases(context: ContextModel) -> np.ndarray:
    """(100, 5, 9) int16: where the predicted scale of each band starts at each quality, in quarters of a scale index."""
    logs = context.base[None] - torch.tensor([math.log(step_of(q)) for q in QUALITIES])[:, None, None]
    return torch.round((logs - t.SCALE_LOW) / t.LOG_SCALE_UNIT).clamp(-(2**14), 2**14).short().numpy()


# ---- tables


class Counter:
    """The visitor that counts symbols by table."""

    def __init__(self) -> None:
        cells = t.SHAPES * t.MEANS
        self.narrow = np.zeros((cells * t.NARROW_SCALES, 2 * t.NARROW + 2))
        self.wide = np.zeros((cells * (t.SCALES - t.NARROW_SCALES), 2 * t.WIDE + 2))

    def add(self, choice: t.Choice, values: np.ndarray, all_tables: t.Tables) -> None:
        for counts, (place, _, rows, largest) in zip(
            (self.narrow, self.wide), all_tables.split(choice, 0), strict=True
        ):
            _, symbol = t.symbols(choice.select(place), values[place], largest)
            width = 2 * largest + 2
            counts += np.bincount(rows * width + symbol, minlength=counts.size).reshape(counts.shape)


def parametric(scales: range, largest: int) -> np.ndarray:
    """(SHAPES, MEANS, len(scales), 2 largest + 2): the float model's probabilities at the centre of each table's class."""
    index = torch.arange(scales.start, scales.stop)
    bits = torch.from_numpy(t._LOW_BITS[scales.start : scales.stop]).double()
    means = torch.arange(t.MEANS).double() / t.MEAN_UNIT
    means[t.NEAR :] -= 1
    unit = 2.0**bits
    logs = torch.from_numpy(t.LOG_SCALES)[index] - torch.log(unit)
    value = torch.arange(-largest, largest + 1).double()
    logits = torch.tensor(SHAPE_CENTRES).double()[:, None, None, None]
    p = probability(value, (means[:, None] / unit)[None, ..., None], logs[None, None, :, None], logits).clamp_min(1e-9)
    return torch.cat((p, (1 - p.sum(-1, keepdim=True)).clamp_min(1e-7)), -1).numpy()


def frequencies(probabilities: np.ndarray) -> np.ndarray:
    """(..., n) probabilities -> uint16 frequencies of at least 1 that sum to 2^16 - 1."""
    total = (1 << t.PRECISION) - 1
    n = probabilities.shape[-1]
    p = probabilities / probabilities.sum(-1, keepdims=True)
    f = np.floor(p * (total - n)).astype(np.int64) + 1
    top = f.argmax(-1)[..., None]
    np.put_along_axis(f, top, np.take_along_axis(f, top, -1) + total - f.sum(-1, keepdims=True), -1)
    return f.astype(np.uint16)


def fit(counts: np.ndarray, prior: np.ndarray) -> np.ndarray:
    p = prior / prior.sum(-1, keepdims=True)
    return frequencies(counts.reshape(p.shape) + PRIOR * p)


def fit_tables(
    autoencoder: Autoencoder,
    model: EntropyModel,
    samples: Iterator[tuple[Tensor, int]],
    dead_zone: float,
    rounds: int,
    tune: str,
) -> tuple[np.ndarray, np.ndarray]:
    """samples: (images (B, H, W, 3), quality); rounds: of the encoder's moves, as the tables are for what it writes.

    Returns the narrow and the wide tables.
    """
    counter = Counter()
    prior_narrow, prior_wide = (
        parametric(range(t.NARROW_SCALES), t.NARROW),
        parametric(range(t.NARROW_SCALES, t.SCALES), t.WIDE),
    )
    with torch.no_grad():
        for image, quality in samples:
            step = torch.full((len(image),), step_of(quality))
            latents = to_integers(autoencoder.encode(image, step), dead_zone)
            if rounds:
                latents = RDOSearch(autoencoder, model, quality, tune=tune)(image, latents, rounds)

            def visit(
                site: CodingGroup, parameters: Tensor, quality: int = quality, latents: Subbands = latents
            ) -> Tensor:
                q = site.gather(latents)
                choice = model.choice(quality, site, parameters)
                counter.add(choice, t.centred(choice, q.numpy().ravel()), model.tables)
                return q

            rate = model.rates[quality - 1 : quality].expand(len(image), -1)
            model.context.autoregressive_pass(model.arithmetic, rate, latents.low.shape[1], latents.low.shape[2], visit)
    return fit(counter.narrow, prior_narrow), fit(counter.wide, prior_wide)


def build_entropy_model(
    autoencoder: Autoencoder,
    context: ContextModel,
    calibration: Iterator[tuple[Tensor, Tensor]],
    counting: Iterator[tuple[Tensor, int]],
    dead_zone: float,
    tune: str = "psnr",
) -> tuple[EntropyModel, np.ndarray, np.ndarray]:
    """The integer entropy model of a trained pair, with its (narrow, wide) tables, which are fitted to files of the default effort."""
    largest = calibrate(autoencoder, context, calibration, dead_zone)
    with torch.no_grad():
        integer, rates = round_context(context, largest)
    # nothing is skipped while counting
    flat = [
        np.ones((t.SHAPES, t.MEANS, n, 2 * m + 2), np.uint16)
        for n, m in ((t.NARROW_SCALES, t.NARROW), (t.SCALES - t.NARROW_SCALES, t.WIDE))
    ]
    model = EntropyModel(integer, IntegerArithmetic(log_thresholds()), rates, bases(context), t.Tables(*flat))
    narrow, wide = fit_tables(
        autoencoder.requires_grad_(False), model, counting, dead_zone, ROUNDS[DEFAULT_EFFORT], tune
    )
    return EntropyModel(integer, model.arithmetic, rates, model.bases, t.Tables(narrow, wide)), narrow, wide
