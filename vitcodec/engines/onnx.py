"""ONNX Runtime on CPUs: the engine of the light installation. Graphs lie beside a model's weights.

Sessions share one pool of threads: with a pool of its own for each of a hundred sessions, they wait for one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..errors import WeightsError

GRAPHS = "graphs.safetensors"  # in a model folder: each network's graph, as bytes, under its name
_QUIET = 3  # errors alone
_started: list[int] = []  # the size of the pool of threads, once there is one


def _start_pool(threads: int) -> None:
    """Make the pool of the process; the first call alone has an effect."""
    if not _started:
        onnxruntime.set_default_logger_severity(_QUIET)
        onnxruntime.set_global_thread_pool_sizes(threads, 1)
        _started.append(threads)


class OnnxEngine:
    """graphs: of each network, as integer.onnx_ops.build makes them.

    threads: of all engines of the process; the first engine's count.
    """

    def __init__(self, graphs: Mapping[str, bytes], threads: int = 1):
        _start_pool(threads)
        self.graphs = graphs
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(self, network: str, *maps: np.ndarray) -> list[np.ndarray]:
        """As Engine.run. Raises WeightsError for a graph that is missing or none."""
        session = self._sessions.get(network) or self._session(network)
        names = (node.name for node in session.get_inputs())
        return session.run(None, dict(zip(names, maps, strict=True)))

    def _session(self, network: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.use_per_session_threads = False
        options.log_severity_level = _QUIET
        try:
            graph = self.graphs[network]
            session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no class of its own for graphs that it cannot read
            summary = str(error).splitlines()[0]
            raise WeightsError(f"the graph of {network} cannot be run ({summary}); reinstall the weights") from error
        self._sessions[network] = session
        return session


def graphs_to_bytes(graphs: Mapping[str, bytes]) -> bytes:
    """Graphs as a safetensors file."""
    return save({name: np.frombuffer(graph, np.uint8) for name, graph in graphs.items()})


def read_graphs(path: Path) -> dict[str, bytes]:
    """The inverse of graphs_to_bytes. Raises WeightsError."""
    try:
        return {name: graph.tobytes() for name, graph in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); reinstall the weights") from error
