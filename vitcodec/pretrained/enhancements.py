"""The enhancements of a model: a file for each, with the layers and their ONNX graph. No torch.

They come after the weights, which stay as they are, and are numbered from 1; config.json states their hashes. One that
was released never changes, as files say which one their pixels are made with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .. import files
from ..enhancement import MOST_REACH
from ..errors import WeightsError
from ..integer.enhancement import enhancement_network, fits, reach
from ..integer.layers import Layer, Layers, from_tensors, to_tensors
from .config import CONFIG, PretrainedConfig

GRAPH = "graph"
N = TypeVar("N", int, float)


@dataclass(frozen=True)
class EnhancementNumbers:
    """What a file holds. graph: the network for ONNX Runtime."""

    layers: Layers
    graph: bytes


def read_enhancement(config: PretrainedConfig, number: int) -> EnhancementNumbers:
    """Raises WeightsError where the file is missing, damaged, or not the one that config.json states."""
    path, stated = config.enhancement(number), config.enhancements[number - 1]
    try:
        data = path.read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != stated:
            raise WeightsError(
                f"{path}: SHA-256 is {found[:12]}..., config.json says {str(stated)[:12]}...; reinstall the weights"
            )
        tensors = load(data)
        graph = tensors.pop(GRAPH).tobytes()
        layers = from_tensors(tensors)
        if not fits(layers) or reach(layers) > MOST_REACH:
            raise ValueError("its layers are of another network")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        summary = str(error).splitlines()[0]
        raise WeightsError(f"{path}: cannot be used ({summary}); reinstall the weights") from error
    return EnhancementNumbers(layers, graph)


def add_enhancement(folder: Path, layers: Mapping[str, Layer]) -> int:
    """Add one to a model folder and return its number. Needs onnx."""
    from ..integer.onnx_ops import graph_of

    config = PretrainedConfig.read(folder)
    graph = np.frombuffer(graph_of(enhancement_network(layers)), np.uint8)
    data, number = save({**to_tensors(layers), GRAPH: graph}), len(config.enhancements) + 1
    files.write_atomic(config.enhancement(number), data)
    hashes = (*config.enhancements, hashlib.sha256(data).hexdigest())
    before = read_enhancement(config, number - 1).layers if number > 1 else {}
    config = replace(
        config,
        enhancements=hashes,
        parameters=_changed(config.parameters, _count(layers) - _count(before)),
        kmac_per_pixel=_changed(config.kmac_per_pixel, _kmac(layers) - _kmac(before)),
    )
    files.write_atomic(folder / CONFIG, config.to_json().encode(), overwrite=True)
    return number


def _count(layers: Layers) -> int:
    """Parameters."""
    return sum(layer.weight.size + layer.bias.size for layer in layers.values())


def _kmac(layers: Layers) -> float:
    """Thousands of multiplications a pixel; a site is four of them."""
    return sum(layer.weight.size for layer in layers.values()) / 4000


def _changed(before: N | None, by: N) -> N | None:
    return None if before is None else round(before + by, 2)
