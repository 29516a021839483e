"""A model of integers as a folder: integers in model.safetensors, ONNX graphs beside them. No torch.

model.safetensors holds all that a decoder needs, so that its hash is what files state. The graphs are made from it;
that of the analysis, in floating point, is the encoder's alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..adaptive_filter import SIZES, THRESHOLD_LIMIT, WEIGHT_LIMIT, FilterNumbers, no_filters
from ..coding.maps import LookUp
from ..coding.tables import CodingTables
from ..context.config import ContextConfig
from ..dequantiser import LOG_LIMIT, Dequantiser
from ..errors import WeightsError
from ..integer import check
from ..integer.catalogue import Network, synthesis_networks
from ..integer.context import context_networks
from ..integer.layers import Layers, from_tensors, to_tensors, under
from ..integer.synthesis import SynthesisShape
from .config import tupled

SYNTHESIS, CONTEXT = "synthesis", "context"  # prefixes of layers
QUALITY_COUNT = 100


@dataclass(frozen=True)
class CodingNumbers:
    """What entropy coding needs beside networks."""

    features: np.ndarray  # (100, 16) uint8, the context model's input, by quality
    base_scales: np.ndarray  # (100, 5, 9) int16, where log scales start
    thresholds: np.ndarray  # (255,) int32, of look-ups
    narrow: np.ndarray  # probability tables, uint16
    wide: np.ndarray
    flags: np.ndarray

    def tables(self) -> CodingTables:
        return CodingTables(self.narrow, self.wide, self.flags)

    def look_up(self) -> LookUp:
        return LookUp(self.thresholds)


@dataclass(frozen=True)
class EncoderNumbers:
    """What the encoder needs beside the analysis."""

    gains: np.ndarray  # (100, 5, 9) float32, its factor on each band
    steps: np.ndarray  # (100,) float32, 8-bit levels
    positions: np.ndarray  # (100,) float32, the analysis' input for the quality


@dataclass(frozen=True)
class ContextNumbers:
    """What entropy coding needs: every model has it."""

    context: Layers
    context_config: ContextConfig
    coding: CodingNumbers

    def networks(self) -> dict[str, Network]:
        """Every network of integers, by name."""
        return {check.NAME: check.network(), **context_networks(self.context)}


@dataclass(frozen=True)
class IntegerModel(ContextNumbers):
    """All numbers of a model whose transforms are integers too."""

    synthesis: Layers
    shape: SynthesisShape
    dequantiser: Dequantiser
    encoder: EncoderNumbers
    filter: FilterNumbers = field(default_factory=no_filters)

    def networks(self) -> dict[str, Network]:
        """Every network of integers, by name."""
        return super().networks() | synthesis_networks(self.synthesis, self.shape)


FILTER = "filter"
_GROUPS: dict[str, Any] = {"dequantiser": Dequantiser, "encoder": EncoderNumbers, FILTER: FilterNumbers}
CODING = "coding"


def to_bytes(model: IntegerModel) -> bytes:
    """model.safetensors; what else config.json has to say of it: shape_settings."""
    tensors = context_tensors(model)
    tensors |= {f"{SYNTHESIS}.{name}": t for name, t in to_tensors(model.synthesis).items()}
    for group in _GROUPS:
        tensors |= _tensors(group, getattr(model, group))
    return save(tensors)


def context_tensors(model: ContextNumbers) -> dict[str, np.ndarray]:
    """The tensors that entropy coding needs."""
    layers = {f"{CONTEXT}.{name}": t for name, t in to_tensors(model.context).items()}
    return layers | _tensors(CODING, model.coding)


def _tensors(group: str, numbers: Any) -> dict[str, np.ndarray]:
    return {f"{group}.{name}": np.ascontiguousarray(t) for name, t in vars(numbers).items()}


def context_numbers(tensors: Mapping[str, np.ndarray], context: ContextConfig) -> ContextNumbers:
    """The inverse of context_tensors. Every layer is checked. Raises KeyError, ValueError."""
    layers = from_tensors({k: v for k, v in tensors.items() if k.split(".")[0] == CONTEXT})
    coding: CodingNumbers = _numbers(CODING, CodingNumbers, tensors)
    bands = (QUALITY_COUNT, 5, 9)
    _check_sizes(
        (coding.features, (QUALITY_COUNT, coding.features.shape[-1])),
        (coding.base_scales, bands),
        (coding.thresholds, (255,)),
    )
    return ContextNumbers(under(layers, CONTEXT), context, coding)


def _numbers(group: str, kind: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    return kind(**{f.name: tensors[f"{group}.{f.name}"] for f in fields(kind)})


def shape_settings(shape: SynthesisShape) -> dict[str, Any]:
    """The synthesis' shape as config.json holds it."""
    return asdict(shape)


def load(path: Path, shape: Mapping[str, Any], context: ContextConfig) -> IntegerModel:
    """path: model.safetensors; shape: as shape_settings. Every layer is checked. Raises WeightsError."""
    try:
        tensors = load_file(path)
        layers = from_tensors({k: v for k, v in tensors.items() if k.split(".")[0] == SYNTHESIS})
        # a model may do without filters
        present = [group for group in _GROUPS if group != FILTER or any(name.startswith("filter.") for name in tensors)]
        groups = {group: _numbers(group, _GROUPS[group], tensors) for group in present}
        model = IntegerModel(
            **vars(context_numbers(tensors, context)),
            synthesis=under(layers, SYNTHESIS),
            shape=SynthesisShape(**tupled(shape)),
            **groups,
        )
        numbers, bands, decoder, encoder = (QUALITY_COUNT,), (QUALITY_COUNT, 5, 9), model.dequantiser, model.encoder
        _check_sizes(
            (decoder.gains, bands),
            (decoder.steps, numbers),
            (decoder.positions, numbers),
            (decoder.logs, (LOG_LIMIT,)),
            (encoder.gains, bands),
            (encoder.steps, numbers),
            (encoder.positions, numbers),
            (model.filter.thresholds, numbers),
            (model.filter.weights, (QUALITY_COUNT, sum(SIZES))),
        )
        if decoder.steps.min() < 1:
            raise ValueError("a quantisation step is zero")
        if not 1 <= model.filter.thresholds.min() <= model.filter.thresholds.max() <= THRESHOLD_LIMIT:
            raise ValueError("a threshold of the filters is out of range")
        if model.filter.weights.min() < -WEIGHT_LIMIT:
            raise ValueError("a weight of the filters is out of range")
    except (OSError, KeyError, ValueError, TypeError, SafetensorError) as error:
        raise unfit(path, error) from error
    return model


def unfit(path: Path, error: Exception) -> WeightsError:
    """That the weights of a model and its config.json do not fit together."""
    summary = str(error).splitlines()[0]
    return WeightsError(f"{path}: it and config.json do not fit together ({summary}); reinstall the weights")


def _check_sizes(*sizes: tuple[np.ndarray, tuple[int, ...]]) -> None:
    """Raises ValueError where a table has not the size that code relies on."""
    for array, size in sizes:
        if array.shape != size:
            raise ValueError(f"a table of {array.shape} has to be {size}")
