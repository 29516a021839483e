"""Engines give the same numbers for every network, and say what is wrong with graphs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from small_context import rounded
from test_integer import small_synthesis

from vitcodec.engines.onnx import OnnxEngine, graphs_to_bytes, read_graphs
from vitcodec.engines.reference import ReferenceEngine
from vitcodec.engines.torch import TorchEngine
from vitcodec.errors import WeightsError
from vitcodec.integer.catalogue import synthesis_networks
from vitcodec.integer.onnx_ops import graph_of


def graphs(networks):
    return {name: graph_of(network) for name, network in networks.items()}


def check(networks, height, width):
    """Every network, on random maps of its sizes; those at strides 4 and 8 of the synthesis are larger."""
    rng = np.random.default_rng(0)
    made = graphs(networks)
    engines = [TorchEngine(networks), OnnxEngine(made), OnnxEngine(made, threads=3)]
    reference = ReferenceEngine(networks)
    for name, network in networks.items():
        maps = []
        for key, (channels, _) in network.inputs.items():
            larger = 16 // int(key[1:]) if key[1:] else 1
            maps.append(rng.integers(0, 256, (1, height * larger, width * larger, channels)).astype(np.uint8))
        wanted = reference.run(name, *maps)
        assert len(wanted) == len(network.outputs)
        for engine in engines:
            for got, expected in zip(engine.run(name, *maps), wanted, strict=True):
                assert got.dtype == expected.dtype
                np.testing.assert_array_equal(got, expected, err_msg=name)


def test_networks_of_the_context_model_are_the_same_everywhere(monkeypatch):
    monkeypatch.setattr("vitcodec.engines.onnx.LEAST_ROWS", 9)  # shared among threads
    networks, _ = rounded()
    assert {"low.luma.1.3", "level4.chroma.2.condition.1", "level2.flags.0", "level1.features"} < set(networks)
    check(networks, 1, 50)


def test_networks_of_the_synthesis_are_the_same_everywhere():
    check(synthesis_networks(*small_synthesis(np.random.default_rng(2))), 3, 4)


def test_graphs_are_stored(tmp_path):
    networks, _ = rounded()
    made = graphs({"level4.up": networks["level4.up"]})
    path = tmp_path / "graphs.safetensors"
    path.write_bytes(graphs_to_bytes(made))
    assert read_graphs(path) == made
    path.write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match=r"graphs\.safetensors"):
        read_graphs(path)
    with pytest.raises(WeightsError, match="missing"):
        read_graphs(tmp_path / "missing")


def test_graphs_that_are_missing_or_damaged_are_named():
    rows = np.zeros((1, 1, 1, 8), np.uint8)
    for stored in ({}, {"level4.up": b"no graph"}):
        with pytest.raises(WeightsError, match=r"level4\.up"):
            OnnxEngine(stored).run("level4.up", rows)


def test_no_torch_is_needed():
    program = (
        "import sys; sys.modules['torch'] = None;"
        "import vitcodec.coding.entropy, vitcodec.engines.onnx, vitcodec.engines.reference, vitcodec.integer.context"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
