"""ONNX Runtime on CPUs: the engine of the light installation. Graphs lie beside a model's weights.

Networks of rows, a hundred in a model, run in the thread that calls them; many rows are shared among threads here. A
pool of threads for each of so many sessions crawls, and one pool for all waits busily: on a busy machine that doubled
the time of two threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..errors import WeightsError
from ..integer.context import treats_rows
from ..pretrained.config import GRAPHS as GRAPHS

FLOAT = {"analysis"}  # networks in floating point
LEAST_ROWS = 1024  # that a thread takes
MOST_ROWS = 16384  # at a time: every session keeps the memory that it once needed
_QUIET = 3  # errors alone


class OnnxEngine:
    """graphs: of each network, as integer.onnx_ops.graph_of makes them. threads: at most so many for one call."""

    def __init__(self, graphs: Mapping[str, bytes], threads: int = 1):
        self.graphs, self.threads = graphs, threads
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._making = Lock()
        self._pool = ThreadPoolExecutor(threads, "networks") if threads > 1 else None

    def prepare(self) -> None:
        """Make the sessions of the integers' networks beside other work, in the order in which a decoder needs them."""
        if self._pool:
            self._pool.submit(lambda: [self._session(name) for name in self.graphs if name not in FLOAT])

    def run(self, network: str, *maps: np.ndarray) -> list[np.ndarray]:
        """As Engine.run. Raises WeightsError for a graph that is missing, none, or another network's."""
        session = self._sessions.get(network) or self._session(network)
        try:
            feeds = {node.name: x for node, x in zip(session.get_inputs(), maps, strict=True)}
            if treats_rows(network):
                ((name, rows),) = feeds.items()
                return self._run_rows(session, name, rows)
            return session.run(None, feeds)
        except MemoryError:
            raise
        except Exception as error:  # ONNX Runtime has no class of its own for it
            raise _unusable(network, error) from error

    def _run_rows(self, session: onnxruntime.InferenceSession, name: str, rows: np.ndarray) -> list[np.ndarray]:
        count = rows.shape[2]
        parts = max(min(self.threads, count // LEAST_ROWS), -(-count // MOST_ROWS))
        if parts < 2:
            return session.run(None, {name: rows})

        def run(k: int) -> list[np.ndarray]:
            return session.run(None, {name: rows[:, :, count * k // parts : count * (k + 1) // parts]})

        results = (self._pool.map if self._pool else map)(run, range(parts))
        return [np.concatenate(outputs, 2) for outputs in zip(*results, strict=True)]

    def _session(self, network: str) -> onnxruntime.InferenceSession:
        with self._making:
            return self._sessions.get(network) or self._make(network)

    def _make(self, network: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1 if treats_rows(network) else self.threads
        if network not in FLOAT:  # nothing to gain for integers, and a hundred graphs load in half the time
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
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


def read_graphs(path: Path, sha256: str | None = None) -> dict[str, bytes]:
    """The inverse of graphs_to_bytes. Raises WeightsError, also where the file's SHA-256 is another than is given."""
    try:
        data = path.read_bytes()
        if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
            stated = f"says {sha256[:12]}..." if sha256 else "states none"
            raise WeightsError(
                f"{path}: SHA-256 is {found[:12]}..., config.json {stated}: not the graphs of these weights; "
                "reinstall the weights"
            )
        return {name: graph.tobytes() for name, graph in load(data).items()}
    except (OSError, SafetensorError) as error:
        summary = getattr(error, "strerror", None) or str(error)
        raise WeightsError(f"{path}: cannot be read ({summary}); reinstall the weights") from error
