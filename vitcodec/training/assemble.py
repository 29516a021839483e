"""A model of integers out of trained parts: integers, graphs and config.json in a folder."""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import files
from ..analysis import step_position
from ..dequantiser import GAIN_BITS, STEP_FACTOR_BITS, Dequantiser, log_table
from ..engines.onnx import GRAPHS, graphs_to_bytes
from ..errors import UsageError
from ..integer.catalogue import Network
from ..models.autoencoder import Autoencoder
from ..models.blocks import ConvBlock, RMSNorm, WindowBlock
from ..options import QUALITIES
from ..pretrained.config import CONFIG, SEARCH, PretrainedConfig, part_names
from ..pretrained.integer_model import EncoderNumbers, IntegerModel, shape_settings, to_bytes
from ..quality import step_of
from ..search.adjoint import NETWORK as ADJOINT
from ..search.proposals import NETWORK as PROPOSALS
from ..subbands import LEVELS, Subbands
from .adjoint import adjoint_graph
from .rounding import MIDDLE_POSITION, POSITION

ANALYSIS = "analysis"  # the name of its graph
NARROW, STRIPS = 96, 4  # maps of so few channels, at stride 4, are the largest: the graph widens them strip by strip
BANDS = ("low", *(f"details{level}" for level in range(1, LEVELS + 1)))


def check_onnx() -> None:
    """Raises UsageError without onnx, which writing a model of integers needs, and nothing else."""
    if find_spec("onnx") is None:
        raise UsageError("exporting a model with a decoder of integers needs onnx: pip install 'vitcodec[train]'")


def integer_graphs(networks: Mapping[str, Network]) -> dict[str, bytes]:
    """The ONNX graph of every network of integers. Raises UsageError without onnx."""
    check_onnx()
    from ..integer.onnx_ops import graph_of

    return {name: graph_of(network) for name, network in networks.items()}


@torch.no_grad()
def dequantiser(autoencoder: Autoencoder) -> Dequantiser:
    """What the decoder needs of each quality."""
    steps = torch.tensor([step_of(q) for q in QUALITIES])
    gains = torch.round(autoencoder.error_gains(steps) * (1 << GAIN_BITS)).int().numpy()
    positions = np.array([step_position(s) for s in steps.tolist()])
    places = np.clip(np.rint((positions - MIDDLE_POSITION) / POSITION), -128, 127) + 128
    fixed = np.rint(steps.double().numpy() * (1 << STEP_FACTOR_BITS)).astype(np.int32)
    return Dequantiser(gains, fixed, places.astype(np.uint8), log_table())


@torch.no_grad()
def encoder_numbers(autoencoder: Autoencoder) -> EncoderNumbers:
    """What the encoder needs of each quality."""
    steps = torch.tensor([step_of(q) for q in QUALITIES])
    positions = np.array([step_position(s) for s in steps.tolist()], np.float32)
    return EncoderNumbers(autoencoder.encoder_gains(steps).numpy(), steps.numpy(), positions)


class _Analysis(nn.Module):
    """The analysis as the graph computes it: bands and position in, bands out."""

    def __init__(self, analysis: nn.Module):
        super().__init__()
        self.analysis = analysis

    def forward(self, low: Tensor, d1: Tensor, d2: Tensor, d3: Tensor, d4: Tensor, position: Tensor) -> tuple:
        return tuple(self.analysis(Subbands(low, (d1, d2, d3, d4)), position))


def in_8_bits(graph: bytes) -> bytes:
    """A graph with the matrix products in 8 bits, inputs scaled as they come: a third faster without VNNI.

    For the encoder alone. Latents change by about 0.01 steps (root mean square), where rounding changes them by 0.3.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "8-bit.onnx"
        before.write_bytes(graph)
        logging.disable(logging.WARNING)  # it recommends a step that changes nothing here
        try:
            quantize_dynamic(
                before, after, ["MatMul"], per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
            )
        finally:
            logging.disable(logging.NOTSET)
        return after.read_bytes()


def analysis_graph(analysis: nn.Module) -> bytes:
    """The analysis as an ONNX graph in float32, for pictures of any size."""
    sample = Subbands(torch.zeros(1, 16, 24, 3), tuple(torch.zeros(1, 256 >> l, 384 >> l, 9) for l in range(1, 5)))
    out = io.BytesIO()
    with (
        warnings.catch_warnings(),
        patch.object(RMSNorm, "forward", _normalised),
        patch.object(ConvBlock, "_mlp", _gated),
        torch.enable_grad(),  # without a gradient, layers.by_rows takes maps apart
    ):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Analysis(_with_norms_in_layers(analysis)).eval(),
            (*sample, torch.zeros(1)),
            out,
            input_names=[*BANDS, "position"],
            output_names=[f"out_{name}" for name in BANDS],
            dynamic_axes={name: {1: f"h_{name}", 2: f"w_{name}"} for name in BANDS},
            opset_version=17,
            dynamo=False,
        )
    return out.getvalue()


@torch.no_grad()
def _with_norms_in_layers(analysis: nn.Module) -> nn.Module:
    """A copy in which the layers after normalisations have their weights: a pass less over every map."""
    analysis = copy.deepcopy(analysis)
    for block in analysis.modules():
        if isinstance(block, ConvBlock):
            block.mix.weight *= block.norm.weight[:, None, None, None]
        elif isinstance(block, WindowBlock):
            block.qkv.weight *= block.norm1.weight
            block.up.weight *= block.norm2.weight
    return analysis


def _normalised(norm: RMSNorm, x: Tensor) -> Tensor:
    """RMSNorm.forward without weights."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def _gated(block: ConvBlock, x: Tensor, y: Tensor) -> Tensor:
    """ConvBlock._mlp with two products in place of one that is then taken apart: that copies the largest maps."""
    if y.shape[-1] > NARROW:
        return _gated_rows(block, x, y)
    height = x.shape[1]
    bounds = [(height * k // STRIPS, height * (k + 1) // STRIPS) for k in range(STRIPS)]
    return torch.cat([_gated_rows(block, x[:, a:b], y[:, a:b]) for a, b in bounds], 1)


def _gated_rows(block: ConvBlock, x: Tensor, y: Tensor) -> Tensor:
    (gate, value), (b, c) = block.up.weight.chunk(2), block.up.bias.chunk(2)
    return x + block.down(F.gelu(F.linear(y, gate, b)) * F.linear(y, value, c))


def write_folder(
    config: PretrainedConfig, model: IntegerModel, analysis: bytes | None, proposals: bytes | None = None
) -> None:
    """Write config.folder: model.safetensors, the graphs and config.json, whose other fields `config` has.

    analysis, proposals: graphs of the encoder's networks.
    """
    folder, data = config.folder, to_bytes(model)
    graphs = integer_graphs(model.networks())
    graphs |= {name: graph for name, graph in ((ANALYSIS, analysis), (PROPOSALS, proposals)) if graph}
    identity = hashlib.sha256(data).hexdigest()
    # enhancements belong to the weights that they were trained for
    config = replace(config, sha256=identity, parts=1, synthesis=shape_settings(model.shape), enhancements=())
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomic(folder / part_names(1)[0], data, overwrite=True)
    search = {ADJOINT: adjoint_graph(model.synthesis, model.shape)}
    _write_config(replace(config, graphs=_written(folder / GRAPHS, graphs), search=_written(folder / SEARCH, search)))


def write_graphs(folder: Path, graphs: Mapping[str, bytes]) -> None:
    """Replace a model folder's graphs."""
    _write_config(replace(PretrainedConfig.read(folder), graphs=_written(folder / GRAPHS, graphs)))


def write_search(folder: Path, graphs: Mapping[str, bytes]) -> None:
    """Replace the graphs that the search alone runs."""
    _write_config(replace(PretrainedConfig.read(folder), search=_written(folder / SEARCH, graphs)))


def _written(path: Path, graphs: Mapping[str, bytes]) -> str:
    """Graphs into a file: its hash, which config.json states: an engine that runs others is never asked."""
    data = graphs_to_bytes(graphs)
    files.write_atomic(path, data, overwrite=True)
    return hashlib.sha256(data).hexdigest()


def _write_config(config: PretrainedConfig) -> None:
    files.write_atomic(config.folder / CONFIG, config.to_json().encode(), overwrite=True)
