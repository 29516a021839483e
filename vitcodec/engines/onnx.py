"""ONNX Runtime on CPUs: the engine of the light installation. Graphs lie beside a model's weights.

Networks of rows, a hundred in a model, run in the thread that calls them; many rows are shared among threads here. A
pool of threads for each of so many sessions crawls, and one pool for all waits busily: on a busy machine that doubled
the time of two threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..errors import WeightsError
from ..integer.context import treats_rows

GRAPHS = "graphs.safetensors"  # in a model folder: each network's graph, as bytes, under its name
LEAST_ROWS = 1024  # that a thread takes
_QUIET = 3  # errors alone


class OnnxEngine:
    """graphs: of each network, as integer.onnx_ops.graph_of makes them. threads: at most so many for one call."""

    def __init__(self, graphs: Mapping[str, bytes], threads: int = 1):
        self.graphs, self.threads = graphs, threads
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._others = ThreadPoolExecutor(threads - 1, "networks") if threads > 1 else None

    def run(self, network: str, *maps: np.ndarray) -> list[np.ndarray]:
        """As Engine.run. Raises WeightsError for a graph that is missing, none, or another network's."""
        session = self._sessions.get(network) or self._session(network)
        try:
            feeds = {node.name: x for node, x in zip(session.get_inputs(), maps, strict=True)}
            if self._others is not None and treats_rows(network):
                ((name, rows),) = feeds.items()
                return self._run_rows(session, name, rows)
            return session.run(None, feeds)
        except MemoryError:
            raise
        except Exception as error:  # ONNX Runtime has no class of its own for it
            raise _unusable(network, error) from error

    def _run_rows(self, session: onnxruntime.InferenceSession, name: str, rows: np.ndarray) -> list[np.ndarray]:
        count = rows.shape[2]
        parts = min(self.threads, count // LEAST_ROWS)
        if parts < 2 or self._others is None:
            return session.run(None, {name: rows})
        first, *rest = (rows[:, :, count * k // parts : count * (k + 1) // parts] for k in range(parts))
        waiting = [self._others.submit(session.run, None, {name: part}) for part in rest]
        results = [session.run(None, {name: first}), *(w.result() for w in waiting)]
        return [np.concatenate(outputs, 2) for outputs in zip(*results, strict=True)]

    def _session(self, network: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1 if treats_rows(network) else self.threads
        # a session's idle threads would wait busily, beside the next session's work
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            graph = self.graphs[network]
            session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no class of its own for graphs that it cannot read
            raise _unusable(network, error) from error
        self._sessions[network] = session
        return session


def _unusable(network: str, error: Exception) -> WeightsError:
    summary = str(error).splitlines()[0]
    return WeightsError(f"the graph of {network} cannot be run ({summary}); reinstall the weights")


def graphs_to_bytes(graphs: Mapping[str, bytes]) -> bytes:
    """Graphs as a safetensors file."""
    return save({name: np.frombuffer(graph, np.uint8) for name, graph in graphs.items()})


def read_graphs(path: Path) -> dict[str, bytes]:
    """The inverse of graphs_to_bytes. Raises WeightsError."""
    try:
        return {name: graph.tobytes() for name, graph in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); reinstall the weights") from error
