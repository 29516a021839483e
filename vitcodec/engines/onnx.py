"""ONNX Runtime on CPUs: the engine of the light installation. Graphs lie beside a model's weights.

Networks of rows, a hundred in a model, run in the thread that calls them; many rows are shared among threads here. A
pool of threads for each of so many sessions crawls, and one pool for all waits busily: on a busy machine that doubled
the time of two threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np
import onnxruntime
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from ..errors import WeightsError
from ..integer.context import treats_rows
from ..pretrained.config import GRAPHS as GRAPHS

FLOAT = {"analysis", "proposals", "adjoint", "rates"}  # networks in floating point
LEAST_ROWS = 1024  # that a thread takes
MOST_ROWS = 4096  # at a time: as fast as more, and their inputs take no memory to speak of
LARGE = 4 << 20  # bytes of inputs from which on the memory of a run is given back at its end: it takes some time
_QUIET = 3  # errors alone


class OnnxEngine:
    """graphs: of each network, as integer.onnx_ops.graph_of makes them. threads: at most so many for one call."""

    def __init__(self, graphs: Mapping[str, bytes], threads: int = 1):
        self.graphs, self.threads = graphs, threads
        self._weights: dict[str, Callable[[], Mapping[str, np.ndarray]]] = {}
        self._values: list[onnxruntime.OrtValue] = []  # sessions refer to them
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._making = Lock()
        self._pool = ThreadPoolExecutor(threads, "networks") if threads > 1 else None

    def prepare(self) -> None:
        """Make the sessions of the integers' networks beside other work, in the order in which a decoder needs them."""
        if self._pool:
            names = sorted(set(self.graphs) - FLOAT, key=_when_needed)
            self._pool.submit(lambda: [self._session(name) for name in names])

    def supply(self, network: str, weights: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Say where a graph without weights has them from, by their names. They are asked for once, if at all."""
        self._weights[network] = weights

    def run(self, network: str, *maps: np.ndarray) -> list[np.ndarray]:
        """As Engine.run. Raises WeightsError for a graph that is missing, none, or another network's."""
        session = self._sessions.get(network) or self._session(network)
        try:
            inputs = {node.name: x for node, x in zip(session.get_inputs(), maps, strict=True)}
            return session.run(None, inputs, _giving_back() if sum(x.nbytes for x in maps) > LARGE else None)
        except MemoryError:
            raise
        except Exception as error:  # ONNX Runtime has no class of its own for it
            raise _unusable(network, error) from error

    def run_rows(self, network: str, count: int, rows: Callable[[slice], np.ndarray]) -> list[np.ndarray]:
        """As Engine.run_rows. Raises as `run` does."""
        sharing = max(min(self.threads, count // LEAST_ROWS), 1)
        parts = sharing * -(-count // (sharing * MOST_ROWS))

        def run(k: int) -> list[np.ndarray]:
            part = rows(slice(count * k // parts, count * (k + 1) // parts))
            return [y[0, 0] for y in self.run(network, part[None, None])]

        if parts < 2:
            return run(0)
        results = (self._pool.map if self._pool else map)(run, range(parts))
        return [np.concatenate(outputs) for outputs in zip(*results, strict=True)]

    def _session(self, network: str) -> onnxruntime.InferenceSession:
        with self._making:
            return self._sessions.get(network) or self._make(network)

    def _make(self, network: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1 if treats_rows(network) else self.threads
        if treats_rows(network):
            options.enable_cpu_mem_arena = False  # each would keep the memory that it once needed
        else:
            _share_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
            options.enable_mem_pattern = False  # a plan for each size of maps, in memory beside that of the first run
        if network not in FLOAT:  # nothing to gain for integers, and a hundred graphs load in half the time
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if network in self._weights:
            values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(v) for k, v in self._weights[network]().items()}
            options.add_external_initializers(list(values), list(values.values()))
            self._values += values.values()
        # a session's idle threads would wait busily, beside the next session's work
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            graph = self.graphs[network]
            session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no class of its own for graphs that it cannot read
            raise _unusable(network, error) from error
        self._sessions[network] = session
        return session


def _when_needed(network: str) -> tuple[int, str]:
    """A key that sorts networks: the low band's, those of levels 4 to 1, the synthesis."""
    part = network.split(".")[0]
    return ("low", "level4", "level3", "level2", "level1").index(part) if treats_rows(network) else 5, network


@cache
def _giving_back() -> onnxruntime.RunOptions:
    """Options of a run after which the store of memory has none that is not in use."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = _QUIET
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


@cache
def _share_memory() -> None:
    """One store of memory for all large networks of the process, that grows by no more than is needed."""
    kind = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    same_as_requested = 1
    onnxruntime.create_and_register_allocator(kind, onnxruntime.OrtArenaCfg(0, same_as_requested, -1, -1))


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
        raise _unreadable(path, error) from error


class _GraphFile(Mapping[str, bytes]):
    """Graphs that are read when they are asked for: a decoder never asks for a third of the bytes."""

    def __init__(self, path: Path):
        self._file = safe_open(path, "np")
        self._names = dict.fromkeys(self._file.keys())

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name).tobytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_graphs(path: Path, sha256: str) -> Mapping[str, bytes]:
    """As read_graphs, but each is read when it is asked for.

    sha256: what config.json states of the file. Raises WeightsError, also where its SHA-256 is another.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            stated = f"says {sha256[:12]}..." if sha256 else "states none"
            raise WeightsError(
                f"{path}: SHA-256 is {found[:12]}..., config.json {stated}: not the graphs of these weights; "
                "reinstall the weights"
            )
        return _GraphFile(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WeightsError:
    summary = getattr(error, "strerror", None) or str(error)
    return WeightsError(f"{path}: cannot be read ({summary}); reinstall the weights")
