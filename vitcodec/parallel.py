"""Work shared among threads. NumPy and ONNX Runtime let go of Python's lock while they compute."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """How many processor cores this process may use; OMP_NUM_THREADS lowers it."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(available, int(asked))) if asked.isdigit() else available


def may_have_gpu() -> bool:
    """Whether it is worth importing torch to look for a GPU: a driver's device, or Apple's processor."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    nvidia = os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg") or sys.platform == "win32"
    return (apple or nvidia) and importlib.util.find_spec("torch") is not None


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Kept, as every new thread would have memory of its own that the C library does not give back."""
    return ThreadPoolExecutor(threads, "each", _begin)


_local = threading.local()


def _begin() -> None:
    _local.shared = True


def each(function: Callable[[A], B], items: Iterable[A], threads: int) -> list[B]:
    """function of every item, in order, by so many threads at a time. Work that is shared is not shared again."""
    items = list(items)
    if min(threads, len(items)) < 2 or getattr(_local, "shared", False):
        return [function(item) for item in items]
    return list(_pool(threads).map(function, items))


def in_order(function: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """As `each`, but results come one by one, and no more work is begun than is waited for."""
    items = list(items)
    if min(threads, len(items)) < 2 or getattr(_local, "shared", False):
        yield from map(function, items)
        return
    waiting: deque[Future[B]] = deque()
    try:
        for item in items:
            waiting.append(_pool(threads).submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
