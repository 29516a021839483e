"""Workers of Ray Data, which do one item after the other, and what becomes of those that are lost.

Items and results are dicts that JSON can hold. This module knows nothing of what the workers do.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..errors import ClusterError, UsageError, VitcodecError

Item = dict[str, Any]
Do = Callable[[Item], Item]

ATTEMPTS = 3  # at an item whose worker is lost each time
_TASKS = 20_000  # more would slow down Ray
_LARGEST_TASK = 16  # items, of which all are done again if their worker is lost
_STORE = 200_000_000  # bytes of Ray's object store on one machine: only names and figures pass through it


@dataclass(frozen=True)
class Cluster:
    address: str  # local, auto or HOST:PORT
    workers: int | None  # None: as many as there is room for
    cpus: float  # per worker
    gpus: float  # per worker

    def __post_init__(self) -> None:
        if "://" in self.address:
            raise UsageError(
                f"--address {self.address}: this command runs on a machine of the cluster; "
                "send it there with ray job submit, or give auto, local or HOST:PORT"
            )


@dataclass(frozen=True)
class Done:
    """What came back. result None: every worker that tried this item was lost."""

    index: int
    result: Item | None
    restarted: bool = False  # the worker is in the place of one that was lost
    host: str = ""


@dataclass(frozen=True)
class _Setup:
    begin: Callable[[], Do]
    folder: str  # the working folder, where the worker has it too
    environment: Mapping[str, str]
    attempts: Any  # an actor: _Attempts
    version: str = __version__


class _Attempts:
    """Counts how often each item was begun, so that one that ends its worker does not end all of them, for ever."""

    def __init__(self) -> None:
        self.begun = Counter[int]()

    def begin(self, index: int) -> int:
        self.begun[index] += 1
        return self.begun[index]


class _Worker:
    """An actor of Ray Data. It never raises: what fails is told in the result."""

    def __init__(self, setup: _Setup):
        self.attempts = setup.attempts
        self.stopped: Item | None = None
        self.host = socket.gethostname()
        try:
            os.environ.update(setup.environment)
            if os.path.isdir(setup.folder):
                os.chdir(setup.folder)
            if setup.version != __version__:
                raise ClusterError(
                    f"has vitcodec {__version__}, and this command is of {setup.version}; install the same everywhere"
                )
            self.do = setup.begin()
        except Exception as error:
            line = str(error) if isinstance(error, VitcodecError) else f"{type(error).__name__}: {error}"
            self.stopped = {"error": " ".join(line.split()), "usage": isinstance(error, UsageError)}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import ray

        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        answers = []
        for index, text in zip(batch["index"], batch["item"], strict=True):
            if self.stopped:
                answer: Item = {"stopped": self.stopped}
            elif ray.get(self.attempts.begin.remote(int(index))) > ATTEMPTS:
                answer = {"result": None}
            else:
                answer = {"result": self.do(json.loads(str(text)))}
            answers.append(json.dumps(answer | {"restarted": restarted, "host": self.host}))
        return {"index": batch["index"], "answer": answers}


def spread(cluster: Cluster, begin: Callable[[], Do], items: Sequence[Item]) -> Iterator[Done]:
    """Have workers do all items; yields what becomes of each, in any order.

    begin: called once in every worker, and again in one that takes the place of a lost one. What it raises ends the
    work. Raises ClusterError, UsageError.
    """
    waiting = set(range(len(items)))
    with connected(cluster) as ray:
        attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts).remote()
        setup = _Setup(begin, os.getcwd(), _environment(), attempts)
        for row in _rows(ray, cluster, setup, items):
            answer = json.loads(row["answer"])
            if answer.get("stopped"):
                raise _stopped(**answer["stopped"], host=answer["host"])
            if (index := int(row["index"])) in waiting:
                waiting.remove(index)
                yield Done(index, answer["result"], answer["restarted"], answer["host"])
    for index in sorted(waiting):
        yield Done(index, None, True)


def _rows(ray: Any, cluster: Cluster, setup: _Setup, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    workers = min(_workers(ray, cluster), len(items))
    size = min(_LARGEST_TASK, math.ceil(len(items) / _TASKS))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a task that is given up does not end the others
    context.target_max_block_size = 1  # every result is sent when it is there
    rows = [{"index": index, "item": json.dumps(item)} for index, item in enumerate(items)]
    results = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / size)).map_batches(
        _Worker,
        fn_constructor_args=(setup,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cluster.cpus,
        num_gpus=cluster.gpus or None,
    )
    try:
        yield from results.iter_rows()
    except ray.exceptions.RayError as error:
        raise ClusterError(f"the cluster gave up ({_first_line(error)}); run it again with --skip-existing") from error


def _workers(ray: Any, cluster: Cluster) -> int:
    if cluster.workers is not None:
        return cluster.workers
    there = ray.cluster_resources()
    room = [there.get("CPU", 0) / cluster.cpus] if cluster.cpus else []
    room += [there.get("GPU", 0) / cluster.gpus] if cluster.gpus else []
    if room and min(room) < 1:
        raise ClusterError(
            f"no worker of {cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs fits into the cluster, "
            f"which has {there.get('CPU', 0):g} and {there.get('GPU', 0):g}; if it grows when it is asked to, say "
            "--workers N"
        )
    return int(min(room)) if room else 1


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Ray, which is left as it was found: a program may have connected already. Raises ClusterError."""
    ray = _import()
    if ray.is_initialized():
        yield ray
        return
    debugging = os.environ.get("VITCODEC_DEBUG") == "1"
    options: dict[str, Any] = {"log_to_driver": debugging, "configure_logging": debugging}
    if cluster.address == "local":
        options |= {"include_dashboard": False, "object_store_memory": _STORE}
        if cluster.workers is not None:
            options["num_cpus"] = max(1, math.ceil(cluster.workers * cluster.cpus))
    try:
        _knock(cluster.address)
        with _silenced(not debugging):
            ray.init(address=cluster.address, **options)
    except (ConnectionError, ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
        remedy = "" if cluster.address == "local" else "; start one with ray start --head, or give --address local"
        raise ClusterError(f"no Ray cluster at '{cluster.address}' ({_first_line(error)}){remedy}") from error
    try:
        if not debugging:  # what is lost is told by the one who called
            ray._private.worker._worker_logs_enabled = False
        yield ray
    finally:
        with _silenced(not debugging):
            ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself would wait for minutes. Raises OSError where nobody answers."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _import() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would call home
    if os.environ.get("VITCODEC_DEBUG") != "1":
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError("this needs Ray Data; pip install 'vitcodec[ray]'") from error
    if os.environ.get("VITCODEC_DEBUG") != "1":
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


@contextmanager
def _silenced(silenced: bool) -> Iterator[None]:
    """Parts of Ray that are not in Python write where they like."""
    if not silenced:
        yield
        return
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("VITCODEC_", "HF_HUB_OFFLINE"))}


def _stopped(error: str, usage: bool, host: str) -> VitcodecError:
    if usage:
        return UsageError(error)
    return ClusterError(error if host == socket.gethostname() else f"a worker on {host}: {error}")


def _first_line(error: BaseException) -> str:
    return " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split()).rstrip(".")
